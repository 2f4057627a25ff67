"""What a training leaves behind: its records, what they show, and how to look at them."""

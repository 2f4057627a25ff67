"""The records of a training, and their diagnosis."""

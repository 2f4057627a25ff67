"""Tables and targets to numbers and codes, and predictions back to labels and values."""

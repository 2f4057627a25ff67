"""`python -m sknn`."""

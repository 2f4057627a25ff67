"""The records of a training, their diagnosis, and their curves."""

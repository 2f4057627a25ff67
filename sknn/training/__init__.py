"""The training loop: members x batches, inside a skorch net."""

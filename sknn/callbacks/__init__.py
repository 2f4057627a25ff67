"""Training callbacks that skorch lacks."""

from sknn.callbacks.optuna_pruning import OptunaPruning

__all__ = ["OptunaPruning"]

"""Training callbacks that skorch lacks."""

from sknn.callbacks.optuna_pruning import OptunaPruning
from sknn.callbacks.time_budget import TimeBudget

__all__ = ["OptunaPruning", "TimeBudget"]

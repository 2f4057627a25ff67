"""Training callbacks that skorch lacks."""

from sknn._callbacks import StopTraining
from sknn.callbacks.mlflow_tracking import MLflowTracker
from sknn.callbacks.optuna_pruning import OptunaPruning
from sknn.callbacks.tensorboard_tracking import TensorBoardTracker
from sknn.callbacks.time_budget import TimeBudget
from sknn.callbacks.wandb_tracking import WandbTracker

__all__ = ["MLflowTracker", "OptunaPruning", "StopTraining", "TensorBoardTracker", "TimeBudget", "WandbTracker"]

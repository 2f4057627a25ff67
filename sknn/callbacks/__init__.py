"""Training callbacks in addition to those of skorch."""

from sknn.callbacks.pruning import OptunaPruning
from sknn.callbacks.time_budget import TimeBudget
from sknn.tracking.mlflow import MLflowTracker
from sknn.tracking.tensorboard import TensorBoardTracker
from sknn.tracking.wandb import WandbTracker
from sknn.training.callbacks import StopTraining

__all__ = ["MLflowTracker", "OptunaPruning", "StopTraining", "TensorBoardTracker", "TimeBudget", "WandbTracker"]

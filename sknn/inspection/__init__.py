"""Displays of trainings and networks."""

from sknn.inspection.training_curve import TrainingCurveDisplay

__all__ = ["TrainingCurveDisplay"]

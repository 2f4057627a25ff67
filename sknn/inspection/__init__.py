"""Displays of trainings and networks, and a table of a network's layers."""

from sknn.inspection.network_display import NetworkDisplay
from sknn.inspection.network_summary import NetworkSummary, summary
from sknn.inspection.training_curve import TrainingCurveDisplay

__all__ = ["NetworkDisplay", "NetworkSummary", "TrainingCurveDisplay", "summary"]

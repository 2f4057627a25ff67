"""Monitoring: whether the rows that a model gets, and its predictions, still look like those that it was trained on.

Nothing here imports torch, scikit-learn, scipy or pandas, so that it runs beside `OnnxPredictor`.
"""

from sknn.monitoring.drift_monitor import DriftMonitor
from sknn.monitoring.drift_report import ColumnDrift, DriftReport
from sknn.monitoring.html_report import html_report
from sknn.monitoring.reference import member_spread
from sknn.monitoring.rolling_monitor import RollingMonitor

__all__ = ["ColumnDrift", "DriftMonitor", "DriftReport", "RollingMonitor", "html_report", "member_spread"]

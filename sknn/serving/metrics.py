"""The numbers that Prometheus collects at /metrics."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sknn.serving.deployment import Deployment

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ROWS = (1, 10, 100, 1000, 10_000, 100_000, 1_000_000)
MAX_LATENCIES = 10_000
PREDICTIONS = ("/predict", "/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer")
CLIENT_LEFT = 499  # the status that nginx writes if the client has gone
KINDS = {
    400: "malformed",
    401: "unauthorized",
    404: "unknown_route",
    405: "unknown_route",
    408: "slow",
    413: "too_large",
    415: "media_type",
    422: "invalid",
    CLIENT_LEFT: "client_left",
    500: "internal",
    503: "busy",
}


class Metrics:
    """Counters of the requests, and a collector of what the service has seen of its model.

    Parameters
    ----------
    deployment : callable
        Returns the present deployment.
    """

    def __init__(self, deployment: Callable[[], Deployment]) -> None:
        self._registry = CollectorRegistry()  # not the global one, so that several services fit into one process
        self._registry.register(_DeploymentCollector(deployment))
        new: Any = {"registry": self._registry}
        self._requests = Counter("sknn_requests", "Requests that were answered", ["route", "status"], **new)
        self._seconds = Histogram("sknn_request_seconds", "Time to answer a request", ["route"], buckets=SECONDS, **new)
        self._errors = Counter("sknn_errors", "Requests that were refused or failed", ["kind"], **new)
        self.in_flight = Gauge("sknn_requests_in_flight", "Requests that are being answered", **new)
        self.reload_failed = Gauge("sknn_last_reload_failed", "1 if the last reload was refused", **new)
        self._rows = Histogram("sknn_batch_rows", "Rows of a request", buckets=ROWS, **new)
        self._latencies: deque[float] = deque(maxlen=MAX_LATENCIES)

    def count_rows(self, n_rows: int) -> None:
        """Count the rows of a request."""
        self._rows.observe(n_rows)

    def record_request(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)
        if status >= 400:
            self._errors.labels(KINDS.get(status, "other")).inc()
        elif route in PREDICTIONS:
            self._latencies.append(seconds)

    def latency(self) -> dict[str, float]:
        """Return the median and the 99th percentile of the last predictions' seconds; empty if there are none."""
        latencies = list(self._latencies)
        return dict(zip(("p50", "p99"), np.quantile(latencies, [0.5, 0.99]).tolist(), strict=True)) if latencies else {}

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _DeploymentCollector(Collector):
    """Asks the deployment when Prometheus does."""

    def __init__(self, deployment: Callable[[], Deployment]) -> None:
        self._deployment = deployment

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        deployment = self._deployment()
        model = deployment.model
        info = GaugeMetricFamily("sknn_model_info", "The model in service", labels=["model", "version", "digest"])
        info.add_metric([model.name, model.version, model.digest], 1)
        yield info
        yield from _monitor_metrics(deployment)
        yield CounterMetricFamily("sknn_feedback", "True labels that were reported", value=deployment.recent.n_labels)
        if model.classes is not None:
            n_correct = deployment.recent.n_correct
            yield CounterMetricFamily(
                "sknn_feedback_correct", "True labels that are the predicted ones", value=n_correct
            )
        for name, value in deployment.recent.scores().items():
            yield GaugeMetricFamily(f"sknn_live_{name}", "Over the labels that arrived within the window", value=value)


def _monitor_metrics(deployment: Deployment) -> Iterator[Metric]:
    total, report = deployment.monitor.total(), deployment.monitor.report()
    predictions = CounterMetricFamily("sknn_predictions", "Predicted rows, by class", labels=["prediction"])
    for label, count in deployment.monitor.count_by_class().items():
        predictions.add_metric([label], count)
    yield predictions
    if total is None or report is None:
        return
    cell: Any = {"labels": ["column", "cell"]}
    rows = CounterMetricFamily("sknn_column_rows", "Rows in each bin or level of a column", **cell)
    shares = GaugeMetricFamily("sknn_reference_share", "The share of the training rows in each bin or level", **cell)
    for family, table in ((rows, total.counts), (shares, total.reference_shares)):
        for column, cells in table.items():
            for name, value in cells.items():
                family.add_metric([column, name], value)
    psi = GaugeMetricFamily("sknn_drift_psi", "Population stability index of the window", labels=["column"])
    drifted = GaugeMetricFamily("sknn_drift_detected", "1 if a column of the window has drifted", labels=["column"])
    for drift in report.columns:
        psi.add_metric([drift.name], drift.psi)
        drifted.add_metric([drift.name], drift.drifted)
    yield from (rows, shares, psi, drifted)

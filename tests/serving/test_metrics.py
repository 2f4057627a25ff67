"""The metrics: in Prometheus' format, exact, and of the present model."""

import re

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.serving.common import RECORD
from tests.test_deploy_example import METRICS


@pytest.fixture
def metrics(client):
    def read():
        text = client.get("/metrics").text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return {(sample.name, *sorted(sample.labels.items())): sample.value for sample in samples}

    return read


def test_each_request_is_counted_by_route_and_status(client, metrics):
    for _ in range(3):
        client.post("/predict", json=[RECORD] * 2)
    client.post("/predict", json=[])
    values = metrics()
    assert values["sknn_requests_total", ("route", "/predict"), ("status", "200")] == 3
    assert values["sknn_requests_total", ("route", "/predict"), ("status", "422")] == 1
    assert values["sknn_errors_total", ("kind", "invalid")] == 1
    assert values["sknn_request_seconds_count", ("route", "/predict")] == 4
    assert values["sknn_batch_rows_sum",] == 6
    assert values["sknn_requests_in_flight",] == 1  # that of the metrics
    assert values["sknn_last_reload_failed",] == 0


def test_rows_are_counted_in_their_cells(client, metrics):
    records = [RECORD | {"city": city} for city in ("Oslo", "Oslo", "Paris", None)]
    client.post("/predict", json=records)
    values = metrics()
    cells = {
        key[1][1]: value for key, value in values.items() if key[0] == "sknn_column_rows_total" and key[2][1] == "city"
    }
    assert {cell: n for cell, n in cells.items() if n} == {"Oslo": 2, "unseen": 1, "missing": 1}
    shares = [value for key, value in values.items() if key[0] == "sknn_reference_share" and key[2][1] == "city"]
    assert sum(shares) == pytest.approx(1)
    ages = [value for key, value in values.items() if key[0] == "sknn_column_rows_total" and key[2][1] == "age"]
    assert sum(ages) == 4


def test_predictions_and_the_model_are_named(client, churn, metrics):
    labels = [row["prediction"] for row in client.post("/predict", json=[RECORD] * 5).json()["predictions"]]
    values, model = metrics(), churn.deployment.model
    assert values["sknn_predictions_total", ("prediction", labels[0])] == 5
    assert values["sknn_model_info", ("digest", model.digest), ("model", "churn"), ("version", model.version)] == 1


def test_every_class_is_counted_from_zero(metrics):
    values = metrics()
    assert values["sknn_predictions_total", ("prediction", "left")] == 0
    assert values["sknn_predictions_total", ("prediction", "stayed")] == 0
    assert values["sknn_feedback_total",] == 0


def test_the_alerts_and_the_dashboard_find_what_they_read(client, metrics):
    """examples/deploy has rules and panels for these names and labels."""
    row = client.post("/predict", json=[RECORD]).json()["predictions"][0]
    client.post("/predict", json=[])
    client.post("/feedback", json=[{"id": row["id"], "label": row["prediction"]}])
    found = {(name, *(label for label, _ in labels)) for name, *labels in metrics()}
    for name, example in METRICS.items():
        assert (name, *sorted(re.findall(r'(\w+)="', example))) in found


def test_drift_is_that_of_the_window(client, metrics):
    client.post("/predict", json=[RECORD | {"age": 99.0}] * 100)
    values = metrics()
    assert values["sknn_drift_detected", ("column", "age")] == 1
    assert values["sknn_drift_psi", ("column", "age")] > 1


def test_true_labels_give_live_scores(client, metrics):
    rows = client.post("/predict", json=[RECORD] * 4).json()["predictions"]
    other = "left" if rows[0]["prediction"] == "stayed" else "stayed"
    labels = [rows[0]["prediction"]] * 3 + [other]
    client.post("/feedback", json=[{"id": row["id"], "label": label} for row, label in zip(rows, labels, strict=True)])
    values = metrics()
    assert values["sknn_feedback_total",] == 4
    assert values["sknn_feedback_correct_total",] == 3
    assert values["sknn_live_accuracy",] == 0.75
    assert np.isfinite(values["sknn_live_log_loss",])
    assert 0 <= values["sknn_live_calibration_error",] <= 1


def test_values_of_a_regressor_are_not_counted_one_by_one(price_client):
    answer = price_client.post("/predict", json=[{"x0": 0.0, "x1": 0.0, "x2": 0.0}]).json()
    price_client.post("/feedback", json=[{"id": answer["predictions"][0]["id"], "label": 0.5}])
    text = price_client.get("/metrics").text
    assert "sknn_predictions_total{" not in text
    assert "sknn_live_mean_absolute_error" in text
    assert "sknn_feedback_correct" not in text

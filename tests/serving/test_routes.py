"""The routes of the service: the forms of a request and of its answer, and how each is refused."""

import io
import json

import numpy as np
import pandas as pd
import pytest

from sknn import OnnxPredictor
from sknn.serving.tables import CSV, PARQUET
from tests.serving.common import RECORD, customers

ROWS = customers(20, seed=3)[0]
RECORDS = json.loads(ROWS.to_json(orient="records"))
COLUMNS = {name: [record[name] for record in RECORDS] for name in ROWS}


def parquet():
    buffer = io.BytesIO()
    ROWS.to_parquet(buffer, index=False)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def expected(churn_file):
    predictor = OnnxPredictor(churn_file)
    return predictor.predict(ROWS), predictor.predict_proba(ROWS)


def test_records_are_answered_with_records(client, expected):
    answer = client.post("/predict", json=RECORDS).json()
    assert answer["model"] == "churn"
    labels, probabilities = expected
    assert [row["prediction"] for row in answer["predictions"]] == labels.tolist()
    p = [[row["probabilities"][name] for name in ("left", "stayed")] for row in answer["predictions"]]
    np.testing.assert_allclose(p, probabilities, rtol=1e-5)
    assert len({row["id"] for row in answer["predictions"]}) == len(ROWS)


def test_columns_are_answered_with_columns(client, expected):
    answer = client.post("/predict", json=COLUMNS).json()
    assert answer["prediction"] == expected[0].tolist()
    np.testing.assert_allclose(answer["probabilities"]["left"], expected[1][:, 0], rtol=1e-5)
    assert len(answer["id"]) == len(answer["spread"]) == len(ROWS)


@pytest.mark.parametrize(
    ("media_type", "body", "read"),
    [(CSV, ROWS.to_csv(index=False).encode(), pd.read_csv), (PARQUET, parquet(), pd.read_parquet)],
)
def test_a_file_is_answered_with_a_file(client, expected, media_type, body, read):
    response = client.post("/predict", content=body, headers={"Content-Type": media_type})
    assert response.headers["content-type"].startswith(media_type)
    frame = read(io.BytesIO(response.content))
    assert list(frame) == ["id", "prediction", "probability_left", "probability_stayed", "spread"]
    assert frame["prediction"].tolist() == expected[0].tolist()
    np.testing.assert_allclose(frame["probability_left"], expected[1][:, 0], rtol=1e-5)


def test_missing_values_are_the_same_in_each_route(client):
    """Null, NaN, "" and an empty cell give the prediction that the predictor gives for a missing value."""
    bodies = [
        (b'[{"age": null, "income": null, "city": null}]', "application/json"),
        (b'[{"age": NaN, "income": "", "city": ""}]', "application/json"),
        (b'[{"age": "", "income": null, "city": NaN}]', "application/json"),
        (b'{"age": [""], "income": [NaN], "city": [null]}', "application/json"),
        (b"age,income,city\n,,\n", CSV),
        (b'age,income,city\nNaN,"",""\n', CSV),
    ]
    shares = set()
    for body, media_type in bodies:
        response = client.post("/predict", content=body, headers={"Content-Type": media_type})
        assert response.status_code == 200, response.text
        if media_type == CSV:
            shares.add(round(float(pd.read_csv(io.BytesIO(response.content))["probability_left"][0]), 6))
        else:
            answer = response.json()
            p = answer.get("probabilities") or answer["predictions"][0]["probabilities"]
            shares.add(round(np.ravel(p["left"])[0], 6))
    for number, text in ((None, None), ("", ""), (None, ""), (float("nan"), float("nan"))):
        tensors = [
            {
                "name": name,
                "shape": [1, 1],
                "datatype": "BYTES" if name == "city" else "FP64",
                "data": [text if name == "city" else number],
            }
            for name in RECORD
        ]
        body = json.dumps({"inputs": tensors})  # the client's own encoder refuses NaN
        outputs = client.post("/v2/models/churn/infer", content=body).json()["outputs"]
        shares.add(round(next(output for output in outputs if output["name"] == "probabilities")["data"][0], 6))
    assert len(shares) == 1


def test_members_are_returned_if_asked_for(client, churn_file):
    row = client.post("/predict?members=true", json=RECORDS[:1]).json()["predictions"][0]
    members = OnnxPredictor(churn_file).predict_proba_members(ROWS[:1])[0]
    np.testing.assert_allclose([[m["left"], m["stayed"]] for m in row["members"]], members, rtol=1e-5)
    weights = client.get("/model").json()["member_weights"]
    mean = np.average(members, axis=0, weights=weights)
    assert row["probabilities"]["left"] == pytest.approx(mean[0], rel=1e-4)
    assert row["spread"] == pytest.approx(
        np.average((members - mean) ** 2, axis=0, weights=weights)[0] ** 0.5, rel=1e-4
    )
    assert "members" not in client.post("/predict", json=RECORDS[:1]).json()["predictions"][0]
    assert client.post("/predict?members=maybe", json=RECORDS[:1]).json()["field"] == "members"


def test_a_regressor_without_names_is_served(price_client, price_file):
    X = np.array([[0.5, -1.0, 2.0], [0.0, 0.0, 0.0]])
    records = [dict(zip(["x0", "x1", "x2"], row, strict=True)) for row in X.tolist()]
    answer = price_client.post("/predict?members=true", json=records).json()
    expected = OnnxPredictor(price_file).predict(X)
    np.testing.assert_allclose([row["prediction"] for row in answer["predictions"]], expected, rtol=1e-5)
    assert "probabilities" not in answer["predictions"][0]
    np.testing.assert_allclose(np.mean(answer["predictions"][0]["members"]), expected[0], rtol=1e-4)


@pytest.mark.parametrize(
    ("body", "media_type", "status", "field"),
    [
        (b"nope", "application/json", 400, None),
        (json.dumps([RECORD | {"age": "old"}]), "application/json", 422, "age"),
        (json.dumps([RECORD | {"color": 1}]), "application/json", 422, "color"),
        (b'[{"age": Infinity, "income": 1, "city": "Oslo"}]', "application/json", 422, "age"),
        (b'[{"age": 1e999, "income": 1, "city": "Oslo"}]', "application/json", 422, "age"),
        (json.dumps([RECORD] * 101), "application/json", 413, None),
        (b" " * 100_001, "application/json", 413, None),
        (b"age,income,city\n-inf,1,Oslo\n", CSV, 422, "age"),
        (b"age,income\n1,1\n", CSV, 422, "city"),
        (b"PAR1", PARQUET, 400, None),
        (b"a=1", "application/x-www-form-urlencoded", 415, None),
        (b"", "", 415, None),
        (b'[{"age": 1e300, "income": 1, "city": "Oslo"}', "application/json", 400, None),
    ],
)
def test_bad_input_is_refused_and_the_service_goes_on(client, body, media_type, status, field):
    response = client.post("/predict", content=body, headers={"Content-Type": media_type})
    assert response.status_code == status
    assert response.json().get("field") == field
    assert response.json()["error"]
    assert client.post("/predict", json=[RECORD]).status_code == 200


def test_unknown_routes_and_methods_are_refused_in_the_same_form(client):
    for response, status in ((client.get("/nope"), 404), (client.get("/predict"), 405), (client.post("/model"), 405)):
        assert response.status_code == status
        assert list(response.json()) == ["error"]
    assert client.get("/predict").headers["allow"] == "POST"


def test_labels_are_counted_and_scored(client):
    ids = [row["id"] for row in client.post("/predict", json=RECORDS[:3]).json()["predictions"]]
    labels = [{"id": ids[0], "label": "left"}, {"id": ids[1], "label": "stayed"}, {"id": "x", "label": "left"}]
    answer = client.post("/feedback", json=labels).json()
    assert answer == {"accepted": 2, "ignored": [{"id": "x", "reason": "unknown or too old"}]}
    assert set(client.get("/monitor").json()["scores"]) == {"accuracy", "log_loss", "calibration_error"}
    assert "sknn_feedback_total 2.0" in client.get("/metrics").text


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"nope", 400, None),
        (b"[]", 422, None),
        (b'[{"id": "x"}]', 422, "label"),
        (b'[{"id": 1, "label": "left"}]', 422, "id"),
        (b'[{"id": "x", "label": "left", "more": 1}]', 422, "more"),
        (b'[{"id": "x", "label": "maybe"}]', 422, "label"),
        (b'[{"id": "%b", "label": "left"}]' % (b"x" * 101), 422, "id"),
        (rb'[{"id": "\ud800", "label": "left"}]', 422, "id"),
        (rb'[{"id": "x", "label": "left", "\ud800": 1}]', 422, None),
    ],
)
def test_bad_labels_are_refused(client, body, status, field):
    response = client.post("/feedback", content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json().get("field")) == (status, field)


def test_labels_that_are_too_long_are_said_to_be_so(client):
    def chunks():
        yield b"[" + b" " * 200_000

    response = client.post("/feedback", content=chunks(), headers={"Content-Type": "application/json"})
    assert response.status_code == 413


def test_the_model_describes_itself(client, churn_file):
    model = client.get("/model").json()
    assert (model["name"], model["task"], model["classes"]) == ("churn", "binary", ["left", "stayed"])
    assert [field["name"] for field in model["fields"]] == list(RECORD)
    assert set(model["fields"][2]["levels"]) == {"Oslo", "Rome", "Bern"}
    assert client.post("/predict", json=[model["example"]]).status_code == 200
    assert model["has_members"]
    assert sum(model["member_weights"]) == pytest.approx(1)
    assert len(set(model["member_weights"])) == 2
    assert model["card"]["Kinds of members"].startswith("batch norm: 1 member, weight 0.")


def test_the_monitor_counts_rows_and_reports_drift(client):
    old = [record | {"age": 95.0} for record in RECORDS]
    for _ in range(20):
        client.post("/predict", json=old)
    monitor = client.get("/monitor").json()
    assert monitor["rows"] == 400
    drift = {column["name"]: column for column in monitor["drift"]["columns"]}
    assert drift["age"]["drifted"]
    assert drift["age"]["psi"] > 1
    assert 0 < monitor["latency"]["p50"] <= monitor["latency"]["p99"]


def test_the_page_loads_nothing_from_elsewhere(client):
    page = client.get("/")
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    for path in ("page/page.css", "page/page.js"):
        assert path in page.text
        assert client.get("/" + path).status_code == 200
    for text in (
        page.text,
        client.get("/page/page.js").text,
        client.get("/page/page.css").text,
        client.get("/docs").text,
    ):
        assert "https://" not in text.replace("https://fastapi.tiangolo.com/img/favicon.png", "")

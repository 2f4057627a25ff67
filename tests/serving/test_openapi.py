"""The OpenAPI document: of the model's own fields, and true, as schemathesis finds by trying it."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from sknn.serving.app import create_app
from sknn.serving.options import ServingOptions
from sknn.serving.service import PredictionService
from tests.serving.common import RECORD, client_of, export_churn


def test_the_document_has_the_fields_of_the_model(client):
    document = client.get("/openapi.json").json()
    record = document["components"]["schemas"]["Record"]
    assert list(record["properties"]) == list(RECORD)
    assert set(record["properties"]["city"]["examples"]) == {"Oslo", "Rome", "Bern"}
    body = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert list(body) == ["application/json", "text/csv", "application/vnd.apache.parquet"]
    assert client.post("/predict", json=[record["example"]]).status_code == 200


def test_the_document_follows_the_model(client, churn, tmp_path):
    before = client.get("/openapi.json").json()["info"]["version"]
    object.__setattr__(churn.options, "source", str(export_churn(tmp_path / "churn.onnx", seed=5)))
    assert churn.reload()
    assert client.get("/openapi.json").json()["info"]["version"] == churn.deployment.model.version != before


def test_a_token_is_declared(churn_file):
    client = client_of(PredictionService(ServingOptions(str(churn_file), token="correct-horse")))
    document = client.get("/openapi.json", headers={"Authorization": "Bearer correct-horse"}).json()
    assert document["paths"]["/predict"]["post"]["security"] == [{"token": []}]
    assert document["paths"]["/v2/health/live"]["get"]["security"] == []


OPERATIONS = [
    "POST /predict",
    "POST /feedback",
    "GET /model",
    "GET /monitor",
    "GET /metrics",
    "GET /v2",
    "GET /v2/health/live",
    "GET /v2/health/ready",
    "GET /v2/models/{name}",
    "GET /v2/models/{name}/ready",
    "GET /v2/models/{name}/versions/{version}",
    "GET /v2/models/{name}/versions/{version}/ready",
    "POST /v2/models/{name}/infer",
    "POST /v2/models/{name}/versions/{version}/infer",
]


@pytest.fixture(scope="module")
def api(churn_file):
    """The API as schemathesis reads it from the document."""
    app = create_app(PredictionService(ServingOptions(str(churn_file))))
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    return {operation.ok().label: operation.ok() for operation in schema.get_all_operations()}


def test_every_operation_is_tried(api):
    assert sorted(api) == sorted(OPERATIONS)


@pytest.mark.service
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_behaves_as_declared(api, operation):
    """No 5xx, declared statuses and content types, bodies of the declared schema, and valid data are accepted."""

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(case=api[operation].as_strategy())
    def try_it(case):
        # A schema can't say that columns have the same length, which inputs a graph has, and what is in a file.
        is_described = "infer" not in operation and (operation != "POST /predict" or isinstance(case.body, list))
        unknown = [] if is_described else [positive_data_acceptance]
        case.call_and_validate(excluded_checks=unknown)
        tried.append(case)

    tried = []
    try_it()
    assert tried


@pytest.mark.service
@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name.startswith("POST")])
def test_every_operation_refuses_what_is_not_declared(api, operation):
    """What the document does not allow is answered with a 4xx."""

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(case=api[operation].as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE))
    def try_it(case):
        case.call_and_validate()
        tried.append(case)

    tried = []
    try_it()
    assert tried

"""The routes of the Open Inference Protocol, against what its published OpenAPI document says."""

import numpy as np
import pytest
from jsonschema_rs import validate

import sknn
from sknn import OnnxPredictor
from tests.serving.common import RECORD

# The members that the protocol's document requires, and their types
# (specification/protocol/open_inference_rest.yaml of github.com/kserve/open-inference-protocol, version 2.0).
TEXT, TEXTS, NUMBERS = (
    {"type": "string"},
    {"type": "array", "items": {"type": "string"}},
    {"type": "array", "items": {"type": "integer"}},
)


def json_object(required, **properties):
    return {"type": "object", "properties": properties, "required": required}


def array(items):
    return {"type": "array", "items": items}


TENSOR = json_object(["name", "datatype", "shape"], name=TEXT, datatype=TEXT, shape=NUMBERS)
SERVER = json_object(["name", "version", "extensions"], name=TEXT, version=TEXT, extensions=TEXTS)
MODEL = json_object(
    ["name", "platform"], name=TEXT, versions=TEXTS, platform=TEXT, inputs=array(TENSOR), outputs=array(TENSOR)
)
DATA = array({"type": ["array", "number", "string", "boolean"]})
OUTPUT = json_object(["name", "shape", "datatype", "data"], name=TEXT, shape=NUMBERS, datatype=TEXT, data=DATA)
INFERENCE = json_object(["model_name", "outputs"], model_name=TEXT, model_version=TEXT, id=TEXT, outputs=array(OUTPUT))
ERROR = json_object(["error"], error=TEXT)


def request(record=RECORD, **changes):
    tensors = [
        {"name": name, "shape": [1, 1], "datatype": "FP64" if isinstance(value, float) else "BYTES", "data": [value]}
        for name, value in record.items()
    ]
    return {"inputs": tensors} | changes


def test_the_server_describes_itself(client):
    for path in ("/v2", "/v2/"):
        answer = client.get(path).json()
        validate(SERVER, answer)
    assert answer == {"name": "sknn", "version": sknn.__version__, "extensions": ["binary_tensor_data"]}


def test_health_and_readiness(client, churn):
    version = churn.deployment.model.version
    assert client.get("/v2/health/live").json() == {"live": True}
    for path in ("/v2/health/ready", "/v2/models/churn/ready", f"/v2/models/churn/versions/{version}/ready"):
        assert client.get(path).status_code == 200


def test_the_model_describes_its_tensors(client, churn):
    for path in ("/v2/models/churn", f"/v2/models/churn/versions/{churn.deployment.model.version}"):
        answer = client.get(path).json()
        validate(MODEL, answer)
    assert answer["inputs"][0] == {"name": "age", "datatype": "FP64", "shape": [-1, 1]}
    assert {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]} in answer["outputs"]
    assert {"name": "label", "datatype": "BYTES", "shape": [-1]} in answer["outputs"]


def test_inference_gives_the_graph_s_outputs(client, churn, churn_file):
    for path in ("/v2/models/churn/infer", f"/v2/models/churn/versions/{churn.deployment.model.version}/infer"):
        answer = client.post(path, json=request(id="7")).json()
        validate(INFERENCE, answer)
    assert answer["id"] == "7"
    outputs = {output["name"]: output for output in answer["outputs"]}
    expected = OnnxPredictor(churn_file).predict_proba([RECORD])
    np.testing.assert_allclose(outputs["probabilities"]["data"], expected[0], rtol=1e-5)
    assert outputs["member_probabilities"]["shape"] == [1, 2, 2]


def test_a_wide_input_without_names(price_client, price_file):
    tensor = {
        "name": price_client.get("/v2/models/price").json()["inputs"][0]["name"],
        "shape": [2, 3],
        "datatype": "FP64",
    }
    body = {"inputs": [tensor | {"data": [[1, 2, 3], [4, 5, 6]]}]}
    answer = price_client.post("/v2/models/price/infer", json=body).json()
    expected = OnnxPredictor(price_file).predict(np.arange(1.0, 7.0).reshape(2, 3))
    np.testing.assert_allclose(answer["outputs"][0]["data"], expected, rtol=1e-5)


@pytest.mark.parametrize("path", ["/v2/models/other", "/v2/models/churn/versions/9", "/v2/models/other/ready"])
def test_other_models_and_versions_are_not_found(client, path):
    response = client.get(path)
    assert response.status_code == 404
    validate(ERROR, response.json())


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 400), (request(RECORD | {"age": "x"}), 400), (request(outputs=[{"name": "x"}]), 400), (b"nope", 400)],
)
def test_a_bad_request_is_refused_with_an_error(client, body, status):
    content = {"content": body} if isinstance(body, bytes) else {"json": body}
    response = client.post("/v2/models/churn/infer", **content)
    assert response.status_code == status
    validate(ERROR, response.json())


def test_too_many_rows_are_refused(client):
    tensors = [tensor | {"shape": [101, 1], "data": tensor["data"] * 101} for tensor in request()["inputs"]]
    assert client.post("/v2/models/churn/infer", json={"inputs": tensors}).status_code == 413


def test_rows_of_the_protocol_are_monitored_too(client):
    client.post("/v2/models/churn/infer", json=request())
    assert client.get("/monitor").json()["rows"] == 1

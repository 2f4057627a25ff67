"""What is seen of a request: metrics and log lines, which never hold data, and an answer whatever goes wrong."""

import asyncio
import json
import logging

import pytest
from starlette.requests import ClientDisconnect

from sknn.serving.errors import RequestError
from sknn.serving.logs import JsonFormatter
from sknn.serving.metrics import Metrics
from sknn.serving.observation import Observation
from tests.serving.common import RECORD

SECRET = "Ludwig-van-B"


@pytest.fixture
def metrics(churn):
    return Metrics(lambda: churn.deployment)


def call(app, metrics):
    """Send a request to an application, and return the messages it answers with."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": f"/{SECRET}", "query_string": SECRET.encode(), "headers": []}
    asyncio.run(Observation(app, metrics)(scope, None, send))
    return sent


def failing(error):
    async def app(scope, receive, send):
        raise error

    return app


def lines(caplog):
    return [json.loads(JsonFormatter().format(record)) for record in caplog.records]


def test_a_refusal_is_answered_with_its_status_and_field(metrics, caplog):
    caplog.set_level("INFO", "sknn.serving")
    start, body = call(failing(RequestError(422, "wrong", "age", 3, {"retry-after": "1"})), metrics)
    assert start["status"] == 422
    assert (b"retry-after", b"1") in start["headers"]
    assert json.loads(body["body"]) == {"error": "wrong", "field": "age", "row": 3}
    assert b'sknn_errors_total{kind="invalid"} 1.0' in metrics.text()


def test_an_internal_error_is_logged_without_its_message(metrics, caplog):
    start, body = call(failing(KeyError(SECRET)), metrics)
    assert start["status"] == 500
    assert json.loads(body["body"]) == {"error": "The service has failed to answer; its log says where"}
    (line,) = [line for line in lines(caplog) if line["event"] == "internal error"]
    assert line["type"] == "KeyError"
    assert line["where"][-1].startswith(__file__)
    assert SECRET not in caplog.text + json.dumps(lines(caplog))
    assert b"sknn_requests_in_flight 0.0" in metrics.text()


def test_a_client_that_leaves_is_counted(metrics):
    assert call(failing(ClientDisconnect()), metrics) == []
    assert b'sknn_requests_total{route="other",status="499"} 1.0' in metrics.text()


def test_the_log_has_the_route_and_never_the_data(client, caplog):
    caplog.set_level("INFO", "sknn.serving")
    client.post(f"/predict?name={SECRET}", json=[RECORD | {"city": SECRET}])
    client.post("/predict", json=[RECORD | {SECRET: 1}])
    client.post("/predict", json=[RECORD | {"age": SECRET}])
    client.get(f"/{SECRET}")
    client.get(f"/v2/models/{SECRET}")
    written = lines(caplog)
    assert [(line["route"], line["status"]) for line in written if line["event"] == "request"] == [
        ("/predict", 200), ("/predict", 422), ("/predict", 422), ("other", 404), ("/v2/models/{name}", 404),
    ]  # fmt: skip
    assert SECRET not in json.dumps(written)
    assert SECRET not in client.get("/metrics").text


def test_a_line_of_the_log_is_json_with_a_time():
    record = logging.makeLogRecord({"msg": "new model", "levelname": "INFO", "version": "3"})
    line = json.loads(JsonFormatter().format(record))
    assert list(line) == ["time", "level", "event", "version"]
    assert line["time"].endswith("+00:00")


def test_an_exception_in_the_log_is_its_type_alone():
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": (type(error), error, error.__traceback__)})
    line = JsonFormatter().format(record)
    assert json.loads(line)["type"] == "ValueError"
    assert SECRET not in line

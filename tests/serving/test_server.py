"""The service as a process: signals, kills, slow clients, real clients, and an environment without torch."""

import contextlib
import itertools
import json
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx2
import numpy as np
import pytest
import tritonclient.http as triton

import sknn
from sknn import NeuralClassifier, OnnxPredictor
from sknn.registry import register
from tests.common import PATIENCE, SMALL, python, quietly
from tests.registry.models import MLFLOW_WARNINGS, new_store
from tests.serving.common import RECORD, customers, export_churn, serving, wait_until

pytestmark = [pytest.mark.service, *(pytest.mark.filterwarnings(warning) for warning in MLFLOW_WARNINGS)]


def connect(server):
    address = urlsplit(server.address)
    return socket.create_connection((address.hostname, address.port), timeout=PATIENCE)


@pytest.fixture
def folder(tmp_path, churn_file):
    (tmp_path / "churn.onnx").write_bytes(churn_file.read_bytes())
    return tmp_path


def test_tritonclient_is_a_client(folder):
    X, _ = customers(50, seed=2)
    with serving("churn.onnx", folder=folder) as server:
        client = triton.InferenceServerClient(urlsplit(server.address).netloc)
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("churn")
        assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
        metadata = client.get_model_metadata("churn")
        inputs = []
        for tensor in metadata["inputs"]:
            values = X[[tensor["name"]]].to_numpy(dtype=np.float64 if tensor["datatype"] == "FP64" else object)
            values = np.where(X[[tensor["name"]]].isna(), "", values) if values.dtype == object else values
            inputs.append(triton.InferInput(tensor["name"], list(values.shape), tensor["datatype"]))
            inputs[-1].set_data_from_numpy(values)
        result = client.infer("churn", inputs, request_id="7")
        assert result.get_response()["id"] == "7"
        expected = OnnxPredictor(folder / "churn.onnx").predict_proba(X)
        np.testing.assert_allclose(result.as_numpy("probabilities"), expected, rtol=1e-5)
        with pytest.raises(triton.InferenceServerException, match="no model 'other'"):
            client.infer("other", inputs)
        client.close()


def test_sigterm_lets_a_request_finish(folder):
    with serving("churn.onnx", folder=folder) as server, connect(server) as connection:
        body = json.dumps([RECORD]).encode()
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        connection.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body[:10]))
        wait_until(lambda: (server.metric("sknn_requests_in_flight") or 0) > 1)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not accepts(server))
        connection.sendall(body[10:])
        assert connection.recv(10_000).startswith(b"HTTP/1.1 200")
        assert server.process.wait(PATIENCE) == 0


def accepts(server):
    """Whether the server takes new connections."""
    try:
        connect(server).close()
    except ConnectionRefusedError:
        return False
    return True


def test_the_counts_survive_a_stop(folder):
    with serving("churn.onnx", folder=folder) as server:
        server.predict(*[RECORD] * 7)
        assert server.stop() == 0
    with serving("churn.onnx", folder=folder) as server:
        assert server.client.get("/monitor").json()["rows"] == 7


def test_a_kill_loses_ten_seconds_of_counts_at_most(folder):
    """Rows that were predicted ten seconds before the kill are counted by the next process."""
    with serving("churn.onnx", folder=folder) as server:
        early = 0
        start = time.monotonic()
        while time.monotonic() < start + 16:
            server.predict(*[RECORD] * 10)
            if time.monotonic() < start + 6:
                early += 10
            time.sleep(0.1)
        server.stop(signal.SIGKILL)
    with serving("churn.onnx", folder=folder) as server:
        assert server.client.get("/monitor").json()["rows"] >= early


def test_sighup_changes_the_model_without_a_failed_request(folder):
    with serving("churn.onnx", folder=folder) as server:
        stop, statuses, versions = threading.Event(), set(), []

        def ask():
            with httpx2.Client(base_url=server.address, timeout=30) as client:
                while not stop.is_set():
                    response = client.post("/predict", json=[RECORD])
                    statuses.add(response.status_code)
                    versions.append(response.json()["version"])

        with ThreadPoolExecutor(4) as pool:
            tasks = [pool.submit(ask) for _ in range(4)]
            for seed in (1, 2):
                before = server.client.get("/model").json()["version"]
                export_churn(folder / "churn.onnx", seed=seed)
                server.process.send_signal(signal.SIGHUP)
                wait_until(lambda before=before: server.client.get("/model").json()["version"] != before)
            time.sleep(0.2)
            stop.set()
            for task in tasks:
                task.result()
        assert statuses == {200}
        assert len(set(versions)) == 3
        (folder / "churn.onnx").write_bytes(b"damaged")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.metric("sknn_last_reload_failed") == 1)
        server.predict(RECORD)


def test_a_moved_alias_is_followed(folder):
    """A version that another process promotes comes into service by itself."""
    import mlflow

    store = new_store(folder)
    registry = mlflow.MlflowClient(tracking_uri=store, registry_uri=store)
    with contextlib.chdir(folder):
        for path in (folder / "churn.onnx", export_churn(folder / "second.onnx", seed=1)):
            register(path, "churn", data_digest="0" * 64, tracking_uri=store)
    registry.set_registered_model_alias("churn", "champion", "1")
    environment = os.environ | {"MLFLOW_TRACKING_URI": store}
    with serving("models:/churn@champion", "--poll", "0.5", folder=folder, environment=environment) as server:
        assert server.predict(RECORD)["version"] == "1"
        assert server.client.get("/model").json()["name"] == "churn"
        registry.set_registered_model_alias("churn", "champion", "2")
        wait_until(lambda: server.predict(RECORD)["version"] == "2")
        assert server.metric("sknn_last_reload_failed") == 0


def test_slow_clients_are_cut_off_and_others_are_served(folder):
    with (
        serving("churn.onnx", "--timeout", "1", folder=folder) as server,
        connect(server) as silent,
        connect(server) as slow,
    ):
        silent.sendall(b"POST /predict HTTP/1.1\r\nHost:")
        slow.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[")
        server.predict(RECORD)
        assert silent.recv(1000) == b""
        assert slow.recv(1000).startswith(b"HTTP/1.1 408")
        server.predict(RECORD)


def test_a_client_that_drips_bytes_between_requests_is_cut_off(folder):
    """An empty line, and the body of a request that is answered already, begin no new request."""
    heads = {b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n": b"\n"}
    for path in (b"/v2/health/live", b"/feedback", b"/unknown"):
        heads[b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n" % path] = b"x"
    with serving("churn.onnx", "--timeout", "1", folder=folder) as server, contextlib.ExitStack() as stack:
        for head, drip in heads.items():
            connection = stack.enter_context(connect(server))
            connection.sendall(head)
            wait_until(lambda connection=connection, drip=drip: is_cut_off(connection, drip))
        server.predict(RECORD)


def is_cut_off(connection, data):
    """Whether a connection takes no more data."""
    try:
        connection.sendall(data)
    except ConnectionError:
        return True
    return False


def test_an_endless_head_is_cut_off(folder):
    with serving("churn.onnx", folder=folder) as server, connect(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
        wait_until(lambda: is_cut_off(connection, b"x" * 10_000))
        server.predict(RECORD)


def test_clients_that_take_no_response_do_not_keep_others_out(folder):
    request = b"GET /static-offline-docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"
    options = ("--timeout", "1", "--max-requests", "4")
    with serving("churn.onnx", *options, folder=folder) as server, contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(connect(server)).sendall(request * 10)
        wait_until(lambda: server.client.get("/v2").status_code == 503)
        wait_until(lambda: server.client.get("/v2").status_code == 200)


def test_a_client_that_leaves_in_the_middle_does_no_harm(folder):
    with serving("churn.onnx", folder=folder) as server:
        for _ in range(20):
            with connect(server) as connection:
                connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[")
        wait_until(lambda: server.metric('sknn_requests_total{route="/predict",status="499"}') == 20)
        server.predict(RECORD)


def test_a_body_that_never_ends_is_refused(folder):
    with serving("churn.onnx", "--max-bytes", "100000", folder=folder) as server:
        chunks = itertools.repeat(b" " * 10_000)
        response = server.client.post("/predict", content=chunks, headers={"Content-Type": "application/json"})
        assert response.status_code == 413
        server.predict(RECORD)


def test_the_log_is_json_and_holds_no_data(folder):
    with serving("churn.onnx", folder=folder) as server:
        server.predict(RECORD | {"city": "Secretville"})
        server.client.get("/Secretville?x=Secretville")
        server.stop()
        assert [line["route"] for line in server.log() if line["event"] == "request"] == ["/predict", "other"]
        assert "Secretville" not in server.log_path.read_text()


def test_a_port_that_is_taken_is_said_in_one_line(folder):
    with serving("churn.onnx", folder=folder) as server:
        port = urlsplit(server.address).port
        failed = python("-m", "sknn", "serve", folder / "churn.onnx", "--port", str(port))
        assert failed.returncode == 2
        assert f"127.0.0.1:{port} can't be used" in failed.stderr
        assert "Traceback" not in failed.stderr


def test_a_saved_estimator_is_served(folder):
    X, y = customers(100)
    model = quietly(NeuralClassifier(**SMALL).fit, X, y)
    sknn.save(model, folder / "churn.sknn")
    with serving("churn.sknn", folder=folder) as server:
        row = server.predict(RECORD)["predictions"][0]
    expected = model.predict_proba(X[:1].assign(**RECORD))
    np.testing.assert_allclose([row["probabilities"][name] for name in model.classes_], expected[0], rtol=1e-4)


def test_an_onnx_file_needs_neither_torch_nor_scikit_learn(folder):
    """The service runs where they can't be imported, and no other process of it imports them."""
    blocker = folder / "site"
    blocker.mkdir()
    for package in ("torch", "sklearn", "skorch", "pandas", "onnx", "skl2onnx"):
        (blocker / f"{package}.py").write_text(f"raise ImportError('{package} is not installed')")
    path = os.pathsep.join([str(blocker), os.environ.get("PYTHONPATH", "")])
    with serving("churn.onnx", folder=folder, environment=os.environ | {"PYTHONPATH": path}) as server:
        rows = server.predict(*[RECORD] * 3)["predictions"]
        server.client.post("/feedback", json=[{"id": rows[0]["id"], "label": "left"}])
        csv = server.client.post(
            "/predict", content="age,income,city\n1,2,Oslo\n", headers={"Content-Type": "text/csv"}
        )
        assert csv.status_code == 200
        for route in ("/", "/model", "/monitor", "/metrics", "/docs", "/openapi.json", "/v2/models/churn"):
            assert server.client.get(route).status_code == 200, route
        assert server.stop() == 0

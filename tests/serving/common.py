"""Models, records and clients of the service's tests."""

import contextlib
import json
import signal
import subprocess
import sys
import time

import httpx2
import numpy as np
import pandas as pd
from starlette.testclient import TestClient

from sknn import NeuralClassifier, NeuralRegressor
from sknn.export import to_onnx
from sknn.serving.app import create_app
from tests.common import ALIKE, PATIENCE, SMALL, quietly

RECORD = {"age": 41.0, "income": 2000.0, "city": "Oslo"}


def customers(n=300, seed=0):
    """A table of customers, and whether each has left."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 10, n).round(1),
            "income": np.where(rng.random(n) < 0.1, np.nan, rng.lognormal(8, 0.5, n).round()),
            "city": rng.choice(["Oslo", "Rome", "Bern"], n, p=[0.5, 0.3, 0.2]),
        }
    )
    frame.loc[::20, "city"] = None
    return frame, np.where(frame["age"] + 10 * (frame["city"] == "Rome") > 42, "left", "stayed")


def export_churn(path, seed=0, **parameters):
    X, y = customers()
    settings = SMALL | dict.fromkeys(ALIKE, "auto") | parameters | {"random_state": seed}
    model = quietly(NeuralClassifier(**settings).fit, X, y)
    to_onnx(model, X, path=path, members=True)
    return path


def export_price(path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    model = quietly(NeuralRegressor(**SMALL).fit, X, X @ [1.0, 2.0, 3.0])
    to_onnx(model, X, path=path, members=True)
    return path


def client_of(service):
    return TestClient(create_app(service), raise_server_exceptions=False)


class Server:
    """A `sknn serve` in a process of its own, on a free port."""

    def __init__(self, *arguments, folder, python=sys.executable, environment=None):
        self.log_path = folder / "log.jsonl"
        command = [str(python), "-m", "sknn", "serve", *map(str, arguments), "--port", "0"]
        with self.log_path.open("a") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder, env=environment
            )
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line)
            if "metrics" in line:
                break
        assert any("http://" in line for line in self.lines), self.log_path.read_text()
        self.address = next(line.split()[-1] for line in self.lines if "page" in line).rstrip("/")
        self.client = httpx2.Client(base_url=self.address, timeout=30)

    def predict(self, *records, **settings):
        """Predict records, which must succeed."""
        response = self.client.post("/predict", json=list(records), **settings)
        assert response.status_code == 200, response.text
        return response.json()

    def metric(self, name):
        """The value of the first line of the metrics that begins with a name."""
        lines = self.client.get("/metrics").text.splitlines()
        return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)), None)

    def log(self):
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]

    def stop(self, sig=signal.SIGTERM):
        """Send a signal, and return the exit code."""
        self.process.send_signal(sig)
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def serving(*arguments, folder, **settings):
    """A server that is killed at the end, whatever happens."""
    server = Server(*arguments, folder=folder, **settings)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()
        server.process.stdout.close()
        server.client.close()


def wait_until(condition):
    """Wait for something that another process does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)

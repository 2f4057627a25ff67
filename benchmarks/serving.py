"""The service under load: sknn beside `mlflow models serve`, with the same graph, by wrk on one machine.

Both servers run all the time, one process and one thread each; the load goes to one of them after the other. wrk has a
core of its own if there are two.
"""

import contextlib
import io
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2
import numpy as np
import pandas as pd

from sknn import NeuralClassifier, OnnxPredictor
from sknn.export import to_onnx

CONNECTIONS, SECONDS, ROUNDS = 64, 6, 5
REQUESTS = 100_000  # without an error, and in constant memory
BATCH_ROWS = 100_000
WRK = re.compile(r"50%\s+(?P<p50>[\d.]+)(?P<u50>us|ms|s).*?99%\s+(?P<p99>[\d.]+)(?P<u99>us|ms|s)", re.DOTALL)
MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


def measure():
    """Return requests per second and latencies of both servers, and the rows per second of batches."""
    if shutil.which("wrk") is None:
        raise SystemExit("The benchmark of the service needs wrk (Debian's package wrk).")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        folder = Path(folder)
        X = customers()
        record = X.iloc[0].to_dict()
        wide, narrow = folder / "wide.onnx", folder / "narrow.onnx"
        export(X, wide)
        export(X, narrow, hidden_layer_sizes=(64, 32))
        ours = stack.enter_context(serve_sknn(wide, folder))
        peer = stack.enter_context(serve_mlflow(wide, folder))
        post = {
            "sknn": (ours, f"{ours.address}/predict", [record]),
            "mlflow": (peer, f"{peer.address}/invocations", {"inputs": {name: [[v]] for name, v in record.items()}}),
        }
        rounds = {name: [] for name in post}
        for _ in range(ROUNDS):
            for name, (server, url, body) in post.items():
                rounds[name].append(load(server, url, body, folder))
        single = {name: medians(results) for name, results in rounds.items()}
        endurance = endure(*post["sknn"], folder)
        batches = {path.stem: measure_batches(X, path, folder) for path in (wide, narrow)}
    return {"single": single, "endurance": endurance, "batches": batches}


def customers():
    """Return a table of 13 numbers and two categories."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(4000, 13)), columns=[f"x{j}" for j in range(13)])
    return X.assign(city=rng.choice(["Oslo", "Rome", "Bern"], len(X)), plan=rng.choice(["basic", "plus"], len(X)))


def export(X, path, **parameters):
    """Train a classifier for a few epochs, and export it with its members."""
    y = np.where(X["x0"] + (X["city"] == "Oslo") > 0, "yes", "no")
    clf = NeuralClassifier(max_iter=5, n_iter_no_change=5, random_state=0, **parameters).fit(X, y)
    to_onnx(clf, X, path=path, members=True)


class Server:
    """A server in a process of its own."""

    def __init__(self, command, address, folder, **environment):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # mlflow calls uvicorn
        self.address = address
        self.log = (folder / f"{Path(command[0]).name}.log").open("w")
        self.process = subprocess.Popen(
            command, stdout=self.log, stderr=self.log, env=os.environ | {"PATH": path} | environment, cwd=folder
        )

    def wait(self, route):
        """Wait until the server answers."""
        for _ in range(300):
            with contextlib.suppress(httpx2.TransportError):
                httpx2.get(self.address + route)
                return self
            time.sleep(0.2)
        raise SystemExit(f"{self.address} does not answer")

    def cpu_seconds(self):
        """Return the time of the process and its children."""
        return sum(_cpu_seconds(pid) for pid in self._processes())

    def memory_mb(self):
        """Return the resident memory."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024

    def _processes(self):
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [self.process.pid, *map(int, children.read_text().split())]


def _cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running(server, route):
    """A server that is stopped at the end."""
    try:
        yield server.wait(route)
    finally:
        server.process.terminate()
        server.process.wait()
        server.log.close()


def serve_sknn(path, folder, port=8471):
    command = [sys.executable, "-m", "sknn", "serve", str(path), "--port", str(port), "--log-level", "warning"]
    return running(Server(command, f"http://127.0.0.1:{port}", folder), "/v2/health/ready")


def serve_mlflow(path, folder, port=8472):
    import mlflow.onnx
    import onnx

    mlflow.onnx.save_model(onnx.load(path), folder / "mlflow_model", pip_requirements=["onnxruntime"])
    command = [
        "mlflow",
        "models",
        "serve",
        "-m",
        str(folder / "mlflow_model"),
        "--env-manager",
        "local",
        "-p",
        str(port),
    ]
    command[0] = str(Path(sys.executable).with_name("mlflow"))
    return running(Server(command, f"http://127.0.0.1:{port}", folder, MLFLOW_DISABLE_TELEMETRY="true"), "/ping")


def load(server, url, body, folder, seconds=SECONDS):
    """Return what wrk measures with one row a request."""
    script = folder / "post.lua"
    text = json.dumps(body)
    script.write_text(
        f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = [==[{text}]==]\n'
    )
    command = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds}s",
        "--timeout",
        "30s",
        "--latency",
        "-s",
        str(script),
        url,
    ]
    before = server.cpu_seconds()
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    n = int(re.search(r"(\d+) requests in", out)[1])
    found = WRK.search(out)
    return {
        "requests": n,
        "requests_per_second": float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]),
        "p50_ms": float(found["p50"]) * MILLISECONDS[found["u50"]],
        "p99_ms": float(found["p99"]) * MILLISECONDS[found["u99"]],
        "requests_per_cpu_second": n / (server.cpu_seconds() - before),
        "errors": int((re.search(r"Non-2xx or 3xx responses: (\d+)", out) or [0, 0])[1]) + _socket_errors(out),
    }


def _socket_errors(out):
    found = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    return sum(map(int, found.groups())) if found else 0


def medians(results):
    """Return the median of each figure over the rounds, and the sum of the errors."""
    merged = {name: statistics.median(result[name] for result in results) for name in results[0]}
    return merged | {"errors": sum(result["errors"] for result in results)}


def endure(server, url, body, folder):
    """Return the memory before and after 100,000 requests, and the errors."""
    before, n, errors = server.memory_mb(), 0, 0
    while n < REQUESTS:
        result = load(server, url, body, folder, seconds=10)
        n, errors = n + result["requests"], errors + result["errors"]
    return {"requests": n, "errors": errors, "before_mb": before, "after_mb": server.memory_mb()}


def measure_batches(X, path, folder):
    """Return the rows per second of large requests, and of the predictor alone."""
    table = pd.concat([X] * (BATCH_ROWS // len(X)), ignore_index=True)
    parquet = io.BytesIO()
    table.to_parquet(parquet, index=False)
    bodies = {
        "columns as JSON": (json.dumps(table.to_dict("list")).encode(), "application/json"),
        "records as JSON": (table.to_json(orient="records").encode(), "application/json"),
        "CSV": (table.to_csv(index=False).encode(), "text/csv"),
        "Parquet": (parquet.getvalue(), "application/vnd.apache.parquet"),
    }
    predictor, columns = OnnxPredictor(path), {name: table[name].to_numpy() for name in table}
    with serve_sknn(path, folder, port=8473) as server, httpx2.Client(timeout=600) as client:
        seconds = {name: [] for name in ("OnnxPredictor alone", *bodies)}
        for _ in range(3):
            seconds["OnnxPredictor alone"].append(timed(lambda: predictor.run(columns)))
            for name, (body, media_type) in bodies.items():
                headers = {"Content-Type": media_type}
                ask = lambda: client.post(f"{server.address}/predict", content=body, headers=headers)  # noqa: B023, E731
                seconds[name].append(timed(lambda: ask().raise_for_status()))  # noqa: B023
    return {name: len(table) / statistics.median(times) for name, times in seconds.items()}


def timed(function):
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start

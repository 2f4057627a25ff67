"""`sknn serve`: answer requests for predictions over HTTP."""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from sknn.cli.arguments import add_command
from sknn.serving.options import ServingOptions

DETAILS = """\
MODEL is an .onnx file, which needs neither torch nor scikit-learn, a .sknn
file, or models:/NAME@ALIAS of an MLflow registry, whose alias is followed.
A person opens the address in a browser. A program sends JSON, CSV or Parquet
to /predict, or tensors of the Open Inference Protocol to /v2. SIGHUP loads the
model again. SIGTERM stops the service after it has answered the requests that
have begun."""
EXAMPLES = """\
  sknn serve churn.onnx
  sknn serve churn.onnx --host 0.0.0.0 --token-file token.txt
  sknn serve models:/churn@champion --port 9000
  curl localhost:8080/predict --json '[{"age": 41, "city": "Oslo"}]'
"""
LEVELS = ("debug", "info", "warning", "error")


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "serve", run, "answer requests for predictions over HTTP", DETAILS, EXAMPLES)
    parser.set_defaults(**{field.name: field.default for field in fields(ServingOptions) if field.name != "source"})
    parser.add_argument("source", metavar="MODEL", help="an .onnx file, a .sknn file, or models:/NAME@ALIAS")
    parser.add_argument("--host", help="address to listen at; 0.0.0.0 for all (%(default)s)")
    parser.add_argument("--port", type=int, help="port to listen at; 0 for a free one (%(default)s)")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="a file with the token that clients send")
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="where the counts of the rows are kept over a restart; by default "
        "MODEL.monitor.json beside the file, or NAME.monitor.json in this folder",
    )
    counts = {
        "max-rows": "most rows of a request (%(default)s)",
        "max-bytes": "most bytes of a request (%(default)s, 64 MiB)",
        "max-requests": "most requests at one time; more are told to come again (%(default)s)",
    }
    for name, text in counts.items():
        parser.add_argument(f"--{name}", type=_positive, metavar="N", help=text)
    parser.add_argument(
        "--threads", dest="n_threads", type=_positive, metavar="N", help="threads of one prediction (%(default)s)"
    )
    times = {
        "timeout": "seconds in which a client has to send its request (%(default)g)",
        "window": "seconds over which drift and live scores are computed (%(default)g)",
        "poll": "seconds between two looks at the alias (%(default)g)",
    }
    for name, text in times.items():
        parser.add_argument(f"--{name}", type=_seconds, metavar="SECONDS", help=text)
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="info has a line per request (%(default)s)")


def run(options: argparse.Namespace) -> None:
    try:
        from sknn.serving.authorization import read_token
        from sknn.serving.logs import start_logging
        from sknn.serving.server import serve
    except ImportError as error:
        raise ImportError(f"sknn serve needs {error.name}; install it with: pip install 'sknn[serve]'") from error
    start_logging(options.log_level)
    if options.token_file is not None:
        options.token = read_token(options.token_file)
    options.state = options.state or _state_file(options.source)
    serve(ServingOptions(**{field.name: getattr(options, field.name) for field in fields(ServingOptions)}), _announce)


def _announce(address: str, service: Any) -> None:
    model = service.deployment.model
    rows = [
        f"{model.name}, version {model.version}",
        "",
        f"  page     {address}/",
        f"  API      {address}/docs",
        f"  metrics  {address}/metrics",
    ]
    print("\n".join(rows), flush=True)
    if service.options.token is None and service.options.host not in ("127.0.0.1", "::1", "localhost"):
        print("  Everyone who reaches this host can ask for predictions; --token-file restricts it.", flush=True)


def _state_file(model: str) -> Path | None:
    """Return the file of the counts: beside the model's file; in this folder for a registered model."""
    if model.startswith("models:/"):
        return Path(model.removeprefix("models:/").partition("@")[0].replace("/", "-") + ".monitor.json")
    return Path(f"{model}.monitor.json")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} has to be at least 1")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} has to be a number of seconds above 0")
    return value

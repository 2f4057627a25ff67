"""The command line: `sknn export`, or `python -m sknn export`.

A command consists of a function that adds its arguments to a parser, and a function that runs it. Exit codes: 0 for
success; 1 for a failed command, with one line on stderr; 2 for invalid arguments.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sknn

EPILOG = """\
examples:
  sknn export churn.sknn --to onnx --sample customers.parquet
  sknn export churn.sknn --to savedmodel --output serving/churn/1
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default the arguments of the process.

    Returns
    -------
    int
        The exit code: 0, or 1 if the command failed.

    Raises
    ------
    SystemExit
        With code 2 for invalid arguments, with code 0 after ``--help`` and ``--version``.
    """
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except Exception as error:  # print every error as one line without a traceback
        print(f"sknn {options.command}: error: {_format_error(error)}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("sknn", description="Neural networks that behave like scikit-learn estimators.")
    parser.add_argument("--version", action="version", version=f"sknn {sknn.__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="command")
    _add_export(commands)
    return parser


def _format_error(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


# --- sknn export --------------------------------------------------------------------------------------------------


def _add_export(commands: Any) -> None:
    parser = commands.add_parser(
        "export",
        help="write a saved model for another runtime",
        description="Write a saved model for another runtime.\nIts predictions are compared with the model's first.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, help="a file written by sknn.save")
    parser.add_argument(
        "--to",
        required=True,
        choices=list(FORMATS),
        help="onnx: a file for ONNX Runtime and sknn.OnnxPredictor; savedmodel: a folder for TensorFlow; pt2: a "
        "torch.export program (not for pipelines)",
    )
    parser.add_argument(
        "--sample",
        type=Path,
        metavar="FILE",
        help="rows of the training table, .csv or .parquet. The types of their columns become those of the inputs, and "
        "the exported model is checked with them. Required for a pipeline. Without it, a single estimator takes "
        "numbers as float64 and categories as strings",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="PATH",
        help="file or folder to write; by default beside the model, with another suffix",
    )
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> None:
    from sknn.persistence.files import as_path

    write, suffix = FORMATS[options.to]
    model = sknn.load(as_path(options.model), device="cpu")
    output = options.output or options.model.with_name(options.model.stem + suffix)
    if output.exists() and output.samefile(options.model):
        raise ValueError(f"--output {output} is the model file; use another path")
    if options.to != "savedmodel":
        as_path(output)  # raises an error for a folder
    sample = None if options.sample is None else _read_sample(options.sample, model)
    output.parent.mkdir(parents=True, exist_ok=True)
    write(model, sample, output)
    print(f"{output}: {type(model).__name__} with {model.n_features_in_} columns")


def _read_sample(path: Path, model: Any) -> Any:
    """Return the model's columns of a file, or an array for a model that was fitted without column names."""
    from sknn.export.onnx.steps import columns_of_fit

    if path.suffix not in READERS:
        raise ValueError(f"--sample {path}: the name of the file has to end in {' or '.join(READERS)}")
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("--sample needs pandas; install it with: pip install 'sknn[pandas]'") from error
    frame = getattr(pd, READERS[path.suffix])(path)
    return columns_of_fit(model, frame) if hasattr(model, "feature_names_in_") else frame.to_numpy()


def _to_onnx(model: Any, sample: Any, output: Path) -> None:
    from sknn.export import to_onnx

    to_onnx(model, sample, path=output)


def _to_saved_model(model: Any, sample: Any, output: Path) -> None:
    # Silence TensorFlow's messages about processors. Only the command line may do so, because it owns the process.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    from sknn.export import to_saved_model

    to_saved_model(model, sample, output)


def _to_torch_program(model: Any, sample: Any, output: Path) -> None:
    from sknn.export import to_torch_program

    to_torch_program(model, sample, output)


FORMATS: dict[str, tuple[Callable[[Any, Any, Path], None], str]] = {
    "onnx": (_to_onnx, ".onnx"),
    "savedmodel": (_to_saved_model, "_savedmodel"),
    "pt2": (_to_torch_program, ".pt2"),
}
READERS = {".csv": "read_csv", ".parquet": "read_parquet"}

"""`sknn export`: write a saved model for another runtime."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sknn
from sknn.cli.arguments import add_command, add_output, prepare_output
from sknn.cli.models import kinds_of_columns
from sknn.cli.tables import read_table

DETAILS = "Its predictions are compared with those of the model first."
EXAMPLES = """\
  sknn export churn.sknn --to onnx --sample customers.parquet
  sknn export churn.sknn --to triton -o repository
  sknn export churn.sknn --to savedmodel -o serving/churn/1
"""


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "export", run, "write a saved model for another runtime", DETAILS, EXAMPLES)
    parser.add_argument("model", type=Path, help="a file of sknn fit or sknn.save")
    parser.add_argument(
        "--to",
        required=True,
        choices=list(FORMATS),
        help="onnx: a file for ONNX Runtime and sknn.OnnxPredictor; triton: a model repository of the Triton Inference "
        "Server, where the model has the name of its file; savedmodel: a folder for TensorFlow; pt2: a torch.export "
        "program (not for pipelines)",
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
        "--members",
        action="store_true",
        help="also write each member's prediction, as an output of its own (onnx only)",
    )
    add_output(parser, "file or folder to write; by default beside the model, with another suffix")


def run(options: argparse.Namespace) -> None:
    from sknn.utils.files import as_path

    write, suffix = FORMATS[options.to]
    if options.members and options.to not in ("onnx", "triton"):
        raise ValueError(f"--members needs --to onnx or triton; --to {options.to} has no such output")
    model = sknn.load(as_path(options.model), device="cpu")
    output = options.output or options.model.with_name(options.model.stem + suffix)
    prepare_output(output, options.model, is_folder=options.to in FOLDERS)
    sample = None if options.sample is None else _read_sample(options.sample, model)
    written = write(model, sample, output, options)
    print(f"{written}: {type(model).__name__} with {model.n_features_in_} columns")


def _read_sample(path: Path, model: Any) -> Any:
    """Return the model's columns of a file, or an array for a model that was fitted without column names."""
    from sknn.export.onnx.steps import columns_of_fit

    frame = read_table(path, kinds_of_columns(model))
    return columns_of_fit(model, frame) if hasattr(model, "feature_names_in_") else frame.to_numpy()


def _to_onnx(model: Any, sample: Any, output: Path, options: argparse.Namespace) -> Path:
    from sknn.export import to_onnx

    to_onnx(model, sample, path=output, members=options.members)
    return output


def _to_triton(model: Any, sample: Any, output: Path, options: argparse.Namespace) -> Path:
    from sknn.export import to_triton

    return to_triton(model, sample, output, name=options.model.stem, members=options.members)


def _to_saved_model(model: Any, sample: Any, output: Path, options: argparse.Namespace) -> Path:
    # Silence TensorFlow's messages about processors. Only the command line may do so, because it owns the process.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    from sknn.export import to_saved_model

    to_saved_model(model, sample, output)
    return output


def _to_torch_program(model: Any, sample: Any, output: Path, options: argparse.Namespace) -> Path:
    from sknn.export import to_torch_program

    to_torch_program(model, sample, output)
    return output


# A function takes the model, its sample, the output and the command's options, and returns what it has written.
FORMATS: dict[str, tuple[Callable[[Any, Any, Path, argparse.Namespace], Path], str]] = {
    "onnx": (_to_onnx, ".onnx"),
    "triton": (_to_triton, "_triton"),
    "savedmodel": (_to_saved_model, "_savedmodel"),
    "pt2": (_to_torch_program, ".pt2"),
}
FOLDERS = ("triton", "savedmodel")

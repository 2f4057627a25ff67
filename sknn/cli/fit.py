"""`sknn fit`: train a network on a table, score it on held-out rows, and save it."""

import argparse
import contextlib
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import sknn
from sknn.cli.arguments import TABLE_HELP, add_command, add_output, fraction, parse_settings, prepare_output
from sknn.cli.models import kinds_of_columns
from sknn.cli.report import (
    column_lines,
    count,
    describe_column,
    format_size,
    indent,
    kinds_of_members,
    learning_curve_lines,
    score_lines,
    show,
)
from sknn.cli.scores import score_predictor
from sknn.cli.tables import read_table, require_column
from sknn.cli.training_data import (
    CLASSIFICATION,
    REGRESSION,
    Target,
    prepare_target,
    split_off_test_rows,
    warn_of_columns,
)

VALIDATION_SIZE = 0.15  # of all rows
DETAILS = """\
15 % of the rows are held out for the test, 15 % end the training in time, and
70 % train. The scores on the test rows are shown beside those of simple models.
Rows without a target are left out.

A target of text, categories, or True and False is classified, and so is one of
whole numbers with at most 10 different values that occur 5 times on average.
Other numbers are predicted as amounts (regression).
"""
EXAMPLES = """\
  sknn fit customers.csv --target churn -o churn.sknn
  sknn fit houses.parquet --target price --drop id --drop address
  sknn fit wine.csv --target quality --task regression --set dropout=0.3
"""


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "fit", run, "train a network on a table, and save it", DETAILS, EXAMPLES)
    parser.add_argument("table", type=Path, help=TABLE_HELP)
    parser.add_argument("--target", required=True, metavar="COLUMN", help="the column to predict")
    add_output(parser, "the model; by default beside the table, with the suffix .sknn")
    parser.add_argument("--task", choices=[CLASSIFICATION, REGRESSION], help="by default the target decides")
    parser.add_argument("--drop", action="append", default=[], metavar="COLUMN", help="leave out a column; repeatable")
    parser.add_argument(
        "--test-size", type=fraction, default=0.15, metavar="SHARE", help="of the rows; 0 for no test (default: 0.15)"
    )
    parser.add_argument(
        "--random-state",
        type=int,
        default=0,
        metavar="SEED",
        help="chooses the test rows and the initial weights; the same number gives the same model (default: 0)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of NeuralClassifier or NeuralRegressor; repeatable",
    )


def run(options: argparse.Namespace) -> None:
    from sknn.persistence.container import import_safetensors

    output = options.output or options.table.with_suffix(".sknn")
    if output.suffix != ".sknn":
        raise ValueError(f"--output {output}: the name of a model has to end in .sknn")
    frame = read_table(options.table)
    prepare_output(output, options.table)
    import_safetensors()  # raises its error before the training
    target = prepare_target(_target_column(frame, options), options.task)
    model = _make_model(options, target.task)
    X = frame.drop(columns=[options.target, *options.drop])[target.is_known]
    _show_data(options, frame, X, target)
    warn_of_columns(X)

    train, test = split_off_test_rows(target, options.test_size, options.random_state)
    _show_parts(model, len(train), len(test))
    _fit(model, X.iloc[train], target.values.iloc[train])
    sknn.save(model, output)

    _show_columns(model, X)
    show("", *learning_curve_lines(model))
    _show_kinds(model)
    if len(test):
        show("", *_score_lines(model, X, target, train, test))
    show("", f"saved {output} ({format_size(output.stat().st_size)})", *_next_commands(output, options.table))


def _target_column(frame: Any, options: argparse.Namespace) -> Any:
    """Return the target's column, after checking that `--target` and `--drop` name columns and leave others."""
    for name in [options.target, *options.drop]:
        require_column(options.table, list(frame.columns), name)
    if options.target in options.drop:
        raise ValueError(f"--drop {options.target} names the target")
    if set(frame.columns) == {options.target, *options.drop}:
        raise ValueError(f"{options.table} has no column besides {options.target!r} to predict it from")
    return frame[options.target]


def _make_model(options: argparse.Namespace, task: str) -> Any:
    estimators: dict[str, Any] = {CLASSIFICATION: sknn.NeuralClassifier, REGRESSION: sknn.NeuralRegressor}
    cls = estimators[task]
    parameters = {
        "random_state": options.random_state,
        "validation_fraction": round(min(0.5, VALIDATION_SIZE / (1 - options.test_size)), 4),  # of the rows left
        "verbose": 1 if sys.stderr.isatty() else 0,
    }
    settings = parse_settings(options.set, cls)
    if np.ndim(settings.get("quantile", 0.5)):
        raise ValueError("--set quantile takes one number; fit several quantiles in Python")
    model = cls(**parameters | settings)
    model._validate_params()
    return model


def _fit(model: Any, X: Any, y: Any) -> None:
    """Train a model, with its progress on stderr; the saved model prints nothing when it is fitted again."""
    with contextlib.redirect_stdout(sys.stderr):
        model.fit(X, y)
    model.set_params(verbose=False)


# --- What is printed ----------------------------------------------------------------------------------------------


def _show_data(options: argparse.Namespace, frame: Any, X: Any, target: Target) -> None:
    other = REGRESSION if target.task == CLASSIFICATION else CLASSIFICATION
    hint = "" if options.task else f" (--task {other} overrides this)"
    show(
        f"{options.table}: {count(len(frame), 'row')}, {count(frame.shape[1], 'column')}",
        f"target {options.target}: {target.task}, {target.reason}{hint}",
    )
    if len(X) < len(frame):
        show(f"left out: {count(len(frame) - len(X), 'row')} without a value of {options.target}")


def _show_parts(model: Any, n_train: int, n_test: int) -> None:
    from sknn.training.split import n_held_out

    holds_out = model.early_stopping and model.solver != "lbfgs"
    n_valid = n_held_out(n_train, model.validation_fraction) if holds_out else 0
    show(f"{count(n_train - n_valid, 'row')} to train, {n_valid:,} to validate, {n_test:,} to test")


def _show_columns(model: Any, X: Any) -> None:
    kinds = kinds_of_columns(model)
    columns = {name: describe_column(X[name], kinds[name]) for name in X.columns}
    show("", "columns", *indent(column_lines(columns)))


def _show_kinds(model: Any) -> None:
    """List the kinds of networks, if they differ."""
    if kinds := kinds_of_members(model):
        show("", "members of the ensemble, and their weight in the predictions", *indent(kinds))


def _score_lines(model: Any, X: Any, target: Target, train: np.ndarray, test: np.ndarray) -> list[str]:
    """Return the test scores of the network beside those of the baselines."""
    from sknn.cli.baselines import fit_baselines

    classes = model.classes_.tolist() if hasattr(model, "classes_") else None
    y = target.values
    models = fit_baselines(X.iloc[train], y.iloc[train], classes is not None) | {"network": model}
    with warnings.catch_warnings(action="ignore"):  # of levels that only the test rows hold
        scores = {name: score_predictor(each, classes, X.iloc[test], y.iloc[test]) for name, each in models.items()}
    return [f"scores on the {count(len(test), 'test row')}", *score_lines(scores)]


def _next_commands(output: Path, table: Path) -> list[str]:
    new = f"new{table.suffix}"
    return [
        "next:",
        f"  sknn predict {output} {new} -o predictions{table.suffix}",
        f"  sknn evaluate {output} {new}",
        f"  sknn info {output}",
        f"  sknn export {output} --to onnx",
    ]

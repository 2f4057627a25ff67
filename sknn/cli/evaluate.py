"""`sknn evaluate`: score a saved model on a table."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from sknn.cli.arguments import MODEL_HELP, TABLE_HELP, add_command
from sknn.cli.models import SavedModel, load_model
from sknn.cli.report import confusion_lines, count, quantile_lines, score_lines, shorten, show
from sknn.cli.scores import (
    classification_scores,
    confusion_counts,
    encode_labels,
    one_column,
    regression_scores,
    residual_quantiles,
)
from sknn.cli.tables import require_column

DETAILS = """\
For classes: accuracies, log loss, ROC AUC of two classes, the confusion matrix.
For numbers: R2, MAE, RMSE, quantiles of the errors.
Rows without a target are left out.
"""
EXAMPLES = """\
  sknn evaluate churn.sknn customers_2025.csv
  sknn evaluate churn.onnx customers_2025.parquet --json
"""


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "evaluate", run, "score a saved model on a table", DETAILS, EXAMPLES)
    parser.add_argument("model", type=Path, help=MODEL_HELP)
    parser.add_argument("table", type=Path, help=TABLE_HELP)
    parser.add_argument(
        "--target", metavar="COLUMN", help="the column with the true values; by default the one that the model knows"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> None:
    model = load_model(options.model)
    name = options.target or model.target
    if name is None:
        raise ValueError(f"{options.model} does not know the name of its target; name the column: --target COLUMN")
    frame = model.read(options.table, name)
    require_column(options.table, list(frame.columns), name)
    is_known = frame[name].notna().to_numpy()
    if not is_known.any():
        raise ValueError(f"column {name!r} of {options.table} is empty")
    rows = model.select(frame.drop(columns=name), options.table)[is_known]
    evaluate = _evaluate_values if model.classes is None else _evaluate_labels
    result, lines = evaluate(model, rows, frame[name][is_known])
    head = {"target": name, "rows": int(is_known.sum()), "rows_without_target": int((~is_known).sum())}
    show(*([json.dumps(head | result)] if options.json else [_title(options, head), "", *lines]))


def _evaluate_labels(model: SavedModel, X: Any, y: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the results for a classifier as an object of JSON, and as lines of text."""
    classes = model.classes or []
    labels = encode_labels(y, classes)
    if not labels.is_known.any():
        known, found = (", ".join(map(shorten, values)) for values in (classes, y.unique()[:5].tolist()))
        raise ValueError(f"column {y.name!r} holds no class of the model ({known}); it holds {found}")
    predicted = encode_labels(one_column(model.predictor.predict(X)), classes)
    scores = classification_scores(labels, predicted, model.predictor.predict_proba(X))
    n_unknown = int((~labels.is_known).sum())
    result = {
        "task": "classification",
        "scores": scores,
        "confusion": {"classes": classes, "counts": confusion_counts(labels, predicted).tolist()},
        "rows_of_unknown_classes": n_unknown,
    }
    lines = [*score_lines({"score": scores}), "", *confusion_lines(labels, predicted)]
    if n_unknown:
        unknown = ", ".join(map(shorten, y[~labels.is_known].unique()[:5].tolist()))
        lines += [
            "",
            f"{count(n_unknown, 'row')} of a class that the model does not know ({unknown}): counted as errors in the",
            "accuracies, left out elsewhere",
        ]
    return result, lines


def _evaluate_values(model: SavedModel, X: Any, y: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the results for a regressor as an object of JSON, and as lines of text."""
    values, predicted = y.to_numpy(dtype=np.float64), one_column(model.predictor.predict(X)).astype(np.float64)
    scores, quantiles = regression_scores(values, predicted), residual_quantiles(values, predicted)
    result = {"task": "regression", "scores": scores, "residuals": quantiles}
    return result, [*score_lines({"score": scores}), "", *quantile_lines(quantiles)]


def _title(options: argparse.Namespace, head: dict[str, Any]) -> str:
    left_out = head["rows_without_target"]
    note = f" ({count(left_out, 'row')} without it left out)" if left_out else ""
    return f"{options.model} on {options.table}: {count(head['rows'], 'row')}, target {head['target']}{note}"

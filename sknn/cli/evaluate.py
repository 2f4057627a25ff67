"""`sknn evaluate`: score a saved model on a table."""

import argparse
import json
from pathlib import Path
from typing import Any

from sknn.cli.arguments import MODEL_HELP, TABLE_HELP, add_command
from sknn.cli.models import SavedModel, load_model
from sknn.cli.tables import require_column

DETAILS = """\
For classes: accuracies, log loss, ROC AUC of two classes, and the confusion matrix. For numbers: R2, MAE, RMSE, and
quantiles of the errors. Rows without a target are left out.
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
    from sknn.cli.report import show

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
    evaluate = _evaluate_labels if model.classes is not None else _evaluate_values
    result, lines = evaluate(model, rows, frame[name][is_known])
    head = {"target": name, "rows": int(is_known.sum()), "rows_without_target": int((~is_known).sum())}
    show(*([json.dumps(head | result)] if options.json else _head_lines(options, head) + lines))


def scores_of(predictor: Any, classes: list[Any] | None, X: Any, y: Any) -> dict[str, float]:
    """Return the scores of the predictions for rows X with the targets y."""
    import numpy as np

    from sknn.cli.scores import classification_scores, encode_labels, regression_scores

    if classes is None:
        return regression_scores(np.asarray(y, dtype=np.float64), _values(predictor, X))
    labels, predicted = encode_labels(y, classes), encode_labels(predictor.predict(X), classes)
    return classification_scores(labels, predicted, predictor.predict_proba(X))


def _evaluate_labels(model: SavedModel, X: Any, y: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the results for a classifier as an object of JSON, and as lines of text."""
    from sknn.cli.report import confusion_lines, count, shorten
    from sknn.cli.scores import confusion_counts, encode_labels

    classes = model.classes or []
    labels = encode_labels(y, classes)
    predicted = encode_labels(_one_output(model.predictor.predict(X)), classes)
    if not labels.is_known.any():
        known, found = (", ".join(map(shorten, values)) for values in (classes, y.unique()[:5].tolist()))
        raise ValueError(f"column {y.name!r} holds no class of the model ({known}); it holds {found}")
    scores = scores_of(model.predictor, classes, X, y)
    n_unknown = int((~labels.is_known).sum())
    result = {
        "task": "classification",
        "scores": scores,
        "confusion": {"classes": classes, "counts": confusion_counts(labels, predicted).tolist()},
        "rows_of_unknown_classes": n_unknown,
    }
    unknown = ", ".join(map(shorten, y[~labels.is_known].unique()[:5].tolist()))
    note = [f"{count(n_unknown, 'row')} of a class that the model does not know ({unknown}): counted as errors in the "
            "accuracies, left out elsewhere"] if n_unknown else []  # fmt: skip
    return result, [*_score_lines(scores), "", *confusion_lines(labels, predicted), *note]


def _evaluate_values(model: SavedModel, X: Any, y: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the results for a regressor as an object of JSON, and as lines of text."""
    import numpy as np

    from sknn.cli.scores import regression_scores, residual_quantiles
    from sknn.cli.tables import first_that_is_no_number
    from sknn.utils.text import align

    row = first_that_is_no_number(y)
    if row is not None:
        raise ValueError(f"column {y.name!r} holds {y.iloc[row]!r}, and the model predicts numbers")
    values, predicted = y.to_numpy(dtype=np.float64), _values(model.predictor, X)
    scores, quantiles = regression_scores(values, predicted), residual_quantiles(values, predicted)
    result = {"task": "regression", "scores": scores, "residuals": quantiles}
    head, cells = list(quantiles), [f"{value:.4g}" for value in quantiles.values()]
    return result, [*_score_lines(scores), "", "true value - prediction", *align([head, cells], 0)]


def _values(predictor: Any, X: Any) -> Any:
    import numpy as np

    return _one_output(predictor.predict(X)).astype(np.float64)


def _one_output(predicted: Any) -> Any:
    if predicted.ndim > 1:
        raise ValueError(f"the model predicts {predicted.shape[1]} columns; only a single one can be evaluated")
    return predicted


def _score_lines(scores: dict[str, float]) -> list[str]:
    from sknn.cli.report import score_lines

    return score_lines({"score": scores})


def _head_lines(options: argparse.Namespace, head: dict[str, Any]) -> list[str]:
    from sknn.cli.report import count

    left_out = head["rows_without_target"]
    note = f" ({count(left_out, 'row')} without it left out)" if left_out else ""
    return [f"{options.model} on {options.table}: {count(head['rows'], 'row')}, target {head['target']}{note}", ""]

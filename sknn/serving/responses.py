"""Predictions as a response: a list of records, an object of columns, or a table.

Each form has the id of every prediction, with which its true label can be reported later.
"""

from typing import Any

import numpy as np

from sknn.serving.served_model import Predictions, ServedModel


def as_records(model: ServedModel, predictions: Predictions, ids: list[str], with_members: bool) -> dict[str, Any]:
    """Return the response for records: an object for each row."""
    columns: dict[str, list[Any]] = {"id": ids, "prediction": predictions.values.tolist()}
    if predictions.probabilities is not None:
        columns["probabilities"] = _by_class(model, predictions.probabilities)
    if predictions.members is not None:
        columns["spread"] = predictions.spread.tolist()  # type: ignore[union-attr]
        if with_members:
            columns["members"] = [_member_outputs(model, members) for members in predictions.members]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return {"model": model.name, "version": model.version, "predictions": rows}


def as_columns(model: ServedModel, predictions: Predictions, ids: list[str]) -> dict[str, Any]:
    """Return the response for columns: a list for each output."""
    response = {"model": model.name, "version": model.version, "id": ids, "prediction": predictions.values.tolist()}
    if predictions.probabilities is not None:
        names = _class_names(model, predictions.probabilities)
        response["probabilities"] = dict(zip(names, predictions.probabilities.T.tolist(), strict=True))
    if predictions.spread is not None:
        response["spread"] = predictions.spread.tolist()
    return response


def as_table(model: ServedModel, predictions: Predictions, ids: list[str]) -> dict[str, np.ndarray]:
    """Return the columns of the table that answers a file."""
    table: dict[str, np.ndarray] = {"id": np.array(ids, dtype=object)}
    values = predictions.values
    table |= {"prediction": values} if values.ndim == 1 else {f"prediction_{j}": c for j, c in enumerate(values.T)}
    if predictions.probabilities is not None:
        names = _class_names(model, predictions.probabilities)
        table |= {f"probability_{name}": p for name, p in zip(names, predictions.probabilities.T, strict=True)}
    return table if predictions.spread is None else table | {"spread": predictions.spread}


def _class_names(model: ServedModel, probabilities: np.ndarray) -> list[str]:
    """Return the classes; their numbers if the graph does not name them."""
    return model.classes or [str(j) for j in range(probabilities.shape[1])]


def _by_class(model: ServedModel, probabilities: np.ndarray) -> list[dict[str, float]]:
    names = _class_names(model, probabilities)
    return [dict(zip(names, row, strict=True)) for row in probabilities.tolist()]


def _member_outputs(model: ServedModel, members: np.ndarray) -> list[Any]:
    """Return what each member says about one row."""
    return members.tolist() if model.classes is None else _by_class(model, members)

"""The metadata of a graph: its columns, classes and task, and a description of the table that it was exported with.

They are one JSON document, under the key "sknn" of the model's `metadata_props`; docs/export.md describes it.
"""

import importlib.metadata
import json
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from sknn.estimators.base import BaseNeural
from sknn.estimators.frozen_ensemble import FrozenEnsemble
from sknn.export.onnx.inputs import InputSpec, column_as_input
from sknn.export.weights import differing_weights
from sknn.monitoring.reference import describe_table
from sknn.preprocessing.tables import is_frame

FORMAT = 2  # increase it when a name or a meaning changes, and describe the change in docs/export.md


def describe_model(
    model: Any,
    final: Any,
    X: Any,
    inputs: list[InputSpec],
    outputs: list[str],
    data: dict[str, Any] | None,
    others: dict[str, Any],
) -> str:
    """Return the document as JSON. `data` describes the table, or is None; `others` are further entries."""
    names, network = _feature_names(model, X), network_of(final)
    weights = differing_weights(final) if isinstance(final, BaseNeural) else None
    document = {
        "format": FORMAT,
        "sknn_version": sknn_version(),
        "estimator": type(final).__name__,
        "task": task_of(final),
        "inputs": [{"name": spec.name, "type": spec.type, "shape": [None, *spec.shape]} for spec in inputs],
        "outputs": outputs,
        "named": is_frame(X) or hasattr(model, "feature_names_in_"),
        "features": [
            {"name": name, "type": inputs[j].type if inputs[0].column is not None else inputs[0].type}
            for j, name in enumerate(names)
        ],
        "target": getattr(network, "target_name_", None),
        "classes": [_python_scalar(label) for label in final.classes_] if is_classifier(final) else None,
        "quantiles": list(network._quantiles()) or None if hasattr(network, "_quantiles") else None,
        "member_weights": None if weights is None else weights.tolist(),
        "data": data,
    } | others
    return json.dumps(document, allow_nan=False)


def describe_sample(model: Any, X: Any, inputs: list[InputSpec], spread: np.ndarray | None) -> dict[str, Any]:
    """Return the reference of a monitor: the columns of a table, the predictions for its rows, and their spread."""
    names = _feature_names(model, X)
    columns = {name: column_as_input(X, j, inputs) for j, name in enumerate(names)}
    predict = getattr(model, "predict", None)
    return describe_table(columns or X, None if predict is None else predict(X), spread)


def _feature_names(model: Any, X: Any) -> list[str]:
    """Return a name for each column; none for rows of more than two dimensions."""
    if len(X.shape) > 2:
        return []
    names = getattr(model, "feature_names_in_", getattr(X, "columns", [f"x{j}" for j in range(X.shape[1])]))
    return [str(name) for name in names]


def task_of(final: Any) -> str:
    """Return the kind of a model's target: binary, multiclass, multilabel, regression or quantiles."""
    network = network_of(final)
    if isinstance(network, BaseNeural) and not is_classifier(network):
        return "quantiles" if len(network._quantiles()) > 1 else "regression"  # type: ignore[attr-defined]
    if isinstance(network, BaseNeural) and network._target.kind_ == "multilabel":  # type: ignore[attr-defined]
        return "multilabel"
    if not is_classifier(final):
        return "regression"
    return "binary" if len(final.classes_) == 2 else "multiclass"


def network_of(final: Any) -> Any:
    """Return the neural network that has the target of an ensemble, or the estimator itself."""
    return final.network if isinstance(final, FrozenEnsemble) else final


def _python_scalar(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label


def sknn_version() -> str:
    """Return the version of the installed package."""
    try:
        return importlib.metadata.version("sknn")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"

"""The model card in the metadata: what the model was trained on and how, with titles that can be shown as they are."""

import inspect
import math
from collections.abc import Callable
from typing import Any

from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline

from sknn.estimators.base import BaseNeural
from sknn.estimators.frozen_ensemble import FrozenEnsemble
from sknn.export.onnx.metadata import network_of, sknn_version, task_of
from sknn.history.kinds import group_members
from sknn.network.base import EnsembleNetwork, Network
from sknn.network.mlp import MLP
from sknn.tracking.base import to_plain

TASKS = {
    "binary": "Binary classification",
    "multiclass": "Classification",
    "multilabel": "Classification with several labels",
    "regression": "Regression",
    "quantiles": "Regression of quantiles",
}
MAX_LENGTH = 80  # of a parameter's value


def describe_training(model: Any, final: Any, n_rows: int | None) -> dict[str, Any]:
    """Return the entries of the card that are known: title -> number, text, list of texts, or {name: text}."""
    columns = getattr(model, "n_features_in_", None)
    entries = {
        "Estimator": type(final).__name__,
        "Steps": [type(step).__name__ for _, step in model.steps] if isinstance(model, Pipeline) else None,
        "Task": TASKS[task_of(final)] if hasattr(final, "predict") else None,
        "Target": getattr(network_of(final), "target_name_", None),
        "Classes": [str(label) for label in final.classes_] if is_classifier(final) else None,
        "Rows of the sample": n_rows,
        "Columns": None if columns is None else int(columns),
    }
    entries |= _describe_network(final) if isinstance(final, BaseNeural) else {}
    if isinstance(final, FrozenEnsemble):
        entries |= {"Models": len(final.estimators), "sknn version": sknn_version()}
    else:
        entries |= {"Changed parameters": changed_parameters(final), "sknn version": sknn_version()}
    return {title: value for title, value in entries.items() if value is not None}


def changed_parameters(estimator: Any) -> dict[str, str]:
    """Return the parameters that differ from their defaults, as text."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(type(estimator)).parameters.items()}
    values = estimator.get_params(deep=False)
    return {name: _as_text(value) for name, value in values.items() if repr(value) != repr(defaults.get(name))}


def _describe_network(est: Any) -> dict[str, Any]:
    network = est.net_.module_
    kinds = group_members(network.kinds, est.member_weights_)
    score, metric = _validation(est)
    return {
        "Members": network.n_members,
        "Kinds of members": [str(kind) for kind in kinds] if len(kinds) > 1 else None,
        "Layers": _of_kinds(network, _layers),
        "Weights of a member": _of_kinds(network, _count_weights),
        "Epochs": int(est.n_iter_),
        "Validation score": score,
        "Validation metric": metric,
    }


def _of_kinds(network: Network, describe: Callable[[EnsembleNetwork], int | str | None]) -> Any:
    """Return what is true of each member; with several kinds, a text for each of them."""
    values = [describe(part) for part in network.parts]
    if len(values) == 1:
        return values[0]
    return [
        f"{part.kind}: {value:,}" if isinstance(value, int) else f"{part.kind}: {value}"
        for part, value in zip(network.parts, values, strict=True)
    ]


def _layers(part: EnsembleNetwork) -> str | None:
    """Return the number of inputs of the network, and of outputs of each of its linear layers."""
    if not isinstance(part, MLP):
        return None
    shapes = [weight.shape for weight, _ in part.linears()]
    return " → ".join(map(str, [shapes[0][-2], *(shape[-1] for shape in shapes)]))


def _count_weights(part: EnsembleNetwork) -> int:
    return sum(entry.stop - entry.start for entry in part.entries if entry.trained)


def _validation(est: Any) -> tuple[float | None, str | None]:
    """Return the best score on held-out rows, and its metric; a loss is positive."""
    score = est.best_validation_score_
    if score is None or not math.isfinite(score):
        return None, None
    is_score = any("valid_score" in row for row in est.net_.history)
    if not is_score:
        return -float(score), "loss"
    return float(score), _as_text(est._default_metric() or "d2" if est.scoring is None else est.scoring)


def _as_text(value: Any) -> str:
    plain = to_plain(value)
    text = str(tuple(plain) if isinstance(value, tuple) else plain)
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 3]}..."

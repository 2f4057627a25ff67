"""The loss of each row, for a model and for the best constant prediction."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sknn.registry.comparison import Comparison, mcnemar, paired_bootstrap


@dataclass(frozen=True)
class Metric:
    """How models are compared: the loss of each row, a baseline, and a test.

    `constant` returns the losses of the constant prediction that is best for these rows, which no constant that was
    found on other rows can beat. A metric that `is_score` is shown as 1 - loss.
    """

    for_classifier: bool
    losses: Callable[[Any, Any, np.ndarray], np.ndarray]
    constant: Callable[[np.ndarray], np.ndarray]
    compare: Callable[..., Comparison] = paired_bootstrap
    is_score: bool = False

    def value(self, losses: np.ndarray) -> float:
        """Return the metric of rows with these losses."""
        mean = float(np.mean(losses))
        return 1 - mean if self.is_score else mean


def _log_losses(model: Any, X: Any, y: np.ndarray) -> np.ndarray:
    p = np.asarray(model.predict_proba(X))
    columns = {label: column for column, label in enumerate(np.asarray(model.classes_).tolist())}
    p_true = p[np.arange(len(y)), [columns[label] for label in y.tolist()]]
    eps = np.finfo(p.dtype).eps
    return -np.log(np.clip(p_true, eps, 1 - eps).astype(float))


def _wrong_labels(model: Any, X: Any, y: np.ndarray) -> np.ndarray:
    return (np.asarray(model.predict(X)) != y).astype(float)


def _squared_errors(model: Any, X: Any, y: np.ndarray) -> np.ndarray:
    return (np.asarray(model.predict(X), dtype=float).reshape(y.shape) - y) ** 2


def _absolute_errors(model: Any, X: Any, y: np.ndarray) -> np.ndarray:
    return np.abs(np.asarray(model.predict(X), dtype=float).reshape(y.shape) - y)


def _label_shares(y: np.ndarray) -> np.ndarray:
    """Return the share of each row's own label."""
    _, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    return (counts / len(y))[codes]


def _not_most_frequent(y: np.ndarray) -> np.ndarray:
    labels, counts = np.unique(y, return_counts=True)
    return (y != labels[counts.argmax()]).astype(float)


METRICS = {
    "log_loss": Metric(True, _log_losses, lambda y: -np.log(_label_shares(y))),
    "accuracy": Metric(True, _wrong_labels, _not_most_frequent, compare=mcnemar, is_score=True),
    "squared_error": Metric(False, _squared_errors, lambda y: (y - np.mean(y)) ** 2),
    "absolute_error": Metric(False, _absolute_errors, lambda y: np.abs(y - np.median(y))),
}
BASELINES = {
    "log_loss": "the shares of the classes",
    "accuracy": "the most frequent class",
    "squared_error": "the mean",
    "absolute_error": "the median",
}


def choose_metric(name: str | None, model: Any) -> str:
    """Return the name of a metric that suits the model; by default log_loss or squared_error."""
    is_classifier = hasattr(model, "predict_proba")
    suitable = [key for key, metric in METRICS.items() if metric.for_classifier == is_classifier]
    if name is None:
        return suitable[0]
    if name not in suitable:
        kind = "classifier" if is_classifier else "regressor"
        raise ValueError(f"metric={name!r} does not suit a {kind}; give one of {suitable}.")
    return name


def losses_of(metric: str, model: Any, label: str, X: Any, y: np.ndarray) -> np.ndarray:
    """Return the loss of each row; `label` names the model in errors."""
    choose_metric(metric, model)
    if METRICS[metric].for_classifier:
        unknown = sorted(set(y.tolist()) - set(np.asarray(model.classes_).tolist()), key=str)
        if unknown:
            raise ValueError(
                f"The target holds {unknown[:3]}, which {label} does not know; its classes are "
                f"{np.asarray(model.classes_).tolist()}."
            )
    try:
        losses = METRICS[metric].losses(model, X, y)
    except ValueError as error:
        raise ValueError(f"{label} can't predict the rows: {error}") from error
    if not np.isfinite(losses).all():
        raise ValueError(f"{label} has no finite {metric} for row {int(np.argmin(np.isfinite(losses)))}.")
    return losses

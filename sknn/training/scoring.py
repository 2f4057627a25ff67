"""Scores during a training: fast tensor metrics, and any scikit-learn scorer."""

from inspect import signature
from typing import Any

import numpy as np
import torch
from sklearn.base import is_classifier
from sklearn.metrics import check_scoring, get_scorer_names
from torch import Tensor

from sknn.network.metrics import METRIC_NAMES, METRICS, Metric
from sknn.utils.text import did_you_mean

SMALLER_IS_BETTER = {"log_loss": "neg_log_loss", "rmse": "neg_root_mean_squared_error"}
IN_UNITS_OF_Y = ("rmse",)
# Other common names of the metrics.
ALIASES = {
    "acc": "accuracy",
    "auc": "roc_auc",
    "logloss": "log_loss",
    "cross_entropy": "log_loss",
    "f1_score": "f1",
    "mse": "neg_mean_squared_error",
    "mae": "neg_mean_absolute_error",
    "mape": "neg_mean_absolute_percentage_error",
    "r2_score": "r2",
}
ALTERNATIVES = {"roc_auc": "; for several classes use 'roc_auc_ovr', or 'roc_auc_ovo'"}


def estimator_metric(estimator: Any, scoring: Any) -> Metric:
    """Return the metric for a `scoring` or a name in `metrics`; None is the estimator's own score.

    The names in `METRICS` are fast; any other scorer is called once for each member.
    """
    name = estimator._default_metric() if scoring is None else scoring
    if not isinstance(name, str):
        return ScorerMetric(estimator, scoring)
    if name in METRICS[estimator._target_kind()]:
        return _TensorMetric(estimator, name)
    known = get_scorer_names()
    if name in METRIC_NAMES and (name not in known or name in ALTERNATIVES):
        raise ValueError(f"{name!r} does not apply to this kind of target{ALTERNATIVES.get(name, '')}.")
    if name not in known:
        name_or_alias = ALIASES.get(name.lower(), name)
        raise ValueError(
            f"{name!r} is not a valid scoring value; use one of {', '.join(METRIC_NAMES)}, or a name of "
            f"sklearn.metrics.get_scorer_names().{did_you_mean(name_or_alias, [*METRIC_NAMES, *known])}"
        )
    return ScorerMetric(estimator, name)


def watched_metric(estimator: Any, scoring: Any) -> Metric:
    """Return the metric that early stopping watches; larger has to be better."""
    if isinstance(scoring, str) and scoring in SMALLER_IS_BETTER:
        raise ValueError(
            f"scoring={scoring!r} is better where it is smaller; use scoring='loss', or {SMALLER_IS_BETTER[scoring]!r}."
        )
    return estimator_metric(estimator, scoring)


class _TensorMetric:
    """A metric of encoded predictions; an error is given in units of y."""

    def __init__(self, estimator: Any, name: str) -> None:
        self.metric = METRICS[estimator._target_kind()][name]
        scale = estimator._target.scale_ if name in IN_UNITS_OF_Y else np.ones(1)
        self.unit = float(scale.max())  # outputs are compared relative to it, so that their squares do not overflow
        self.output_scales = scale / self.unit

    def __call__(self, p: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        if len(self.output_scales) > 1:
            factors = p.new_tensor(self.output_scales)
            p, y = p * factors, y * factors
        return self.metric(p, y, weight) if self.unit == 1 else self.metric(p, y, weight).double() * self.unit


class ScorerMetric:
    """A scikit-learn scorer, called once for each member."""

    def __init__(self, estimator: Any, scoring: Any) -> None:
        self.estimator = estimator
        self.scorer = check_scoring(estimator, scoring)
        self.takes_weight = takes_weight(self.scorer)
        self.view = PredictedProbabilities if is_classifier(estimator) else Predicted

    def __call__(self, p: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        weights: list[dict[str, Any]] = [{} for _ in p]
        if weight is not None and self.takes_weight:
            weights = [{"sample_weight": w.cpu().numpy()} for w in weight]
        scores = [
            self.scorer(
                self.view(self.estimator, p[m]), np.empty((p.shape[1], 0)), self._decode_target(y[m]), **weights[m]
            )
            for m in range(len(p))
        ]
        return torch.tensor(scores, dtype=torch.float64, device=p.device)

    def _decode_target(self, y: Tensor) -> np.ndarray:
        return self.estimator._decode_target(y.cpu())


def takes_weight(scorer: Any) -> bool:
    """Return whether a scorer, or the metric that `make_scorer` wrapped, takes sample weights."""
    taken = signature(getattr(scorer, "_score_func", scorer)).parameters
    return "sample_weight" in taken or (not hasattr(scorer, "_score_func") and "kwargs" in taken)


class Predicted:
    """A fitted estimator that returns given predictions, for a scorer."""

    def __init__(self, estimator: Any, p: Tensor) -> None:
        self.estimator, self.p = estimator, p.cpu()

    def __sklearn_tags__(self) -> Any:
        return self.estimator.__sklearn_tags__()

    def fit(self, X: Any, y: Any) -> "Predicted":
        raise TypeError("given predictions cannot be fitted")

    def predict(self, X: Any) -> np.ndarray:
        return self.estimator._predict_from(self.p, np.float64)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        return self.estimator._score_of(y, self.predict(X), sample_weight)


class PredictedProbabilities(Predicted):
    """The same for a classifier."""

    @property
    def classes_(self) -> np.ndarray:
        return self.estimator.classes_

    def predict_proba(self, X: Any) -> np.ndarray:
        return self.estimator._probabilities(self.p, np.float64)

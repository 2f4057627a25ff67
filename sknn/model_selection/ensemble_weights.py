"""Weigh the candidates of a search by the loss of their mean on rows that their models have not trained on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import clone, is_classifier
from sklearn.utils import _safe_indexing

from sknn.estimators.base import BaseNeural
from sknn.estimators.built_with import network_parameters
from sknn.estimators.frozen_ensemble import predictions
from sknn.model_selection.fold_models import FoldModel, row_numbers
from sknn.network.losses import Loss
from sknn.training.weights import greedy_shares, losses_of, shrink


class Target:
    """The target of a search, encoded as the estimator encodes it, and the estimator's loss.

    Attributes
    ----------
    rows : ndarray of shape (n,)
        The numbers of the rows that count: those of weight 0 do not.
    encoded : Tensor of shape (n, K)
    weight : Tensor of shape (n,) or None
    classes : ndarray or None
        The labels of a classifier.
    """

    def __init__(self, estimator: BaseNeural, y: Any, sample_weight: Any) -> None:
        self.estimator = clone(estimator)
        n_rows = y.shape[0] if hasattr(y, "shape") else len(y)
        rows = self.estimator._check_rows(np.zeros((n_rows, 1)), y, sample_weight, reset=True)
        self.estimator._built_with = network_parameters(self.estimator)
        self.estimator._fit_target(rows, None)
        encoded, weight = self.estimator._encode_target(rows)
        self.rows = np.arange(n_rows) if sample_weight is None else np.flatnonzero(sample_weight)
        self.encoded = torch.from_numpy(encoded)
        self.weight = None if weight is None else torch.from_numpy(weight)
        self.criterion: Loss = self.estimator._make_loss()
        self.classes = self.estimator.classes_ if is_classifier(self.estimator) else None

    def encode_predictions(self, p: np.ndarray) -> np.ndarray:
        """Return predictions (candidates, n, ...) as the loss takes them: (candidates, n, K)."""
        target = self.estimator._target  # type: ignore[attr-defined]
        if self.classes is not None:
            return p[..., 1:] if target.kind_ == "binary" else p
        return (p.reshape(*p.shape[:2], -1) - target.center_) / target.scale_


def out_of_fold(models: Sequence[FoldModel], X: Any, n_rows: int, classes: np.ndarray | None) -> np.ndarray:
    """Return the mean prediction of each row by the models that have not trained on it; NaN if there are none."""
    total, counts = None, np.zeros(n_rows)
    for model in models:
        rows = row_numbers(model.test)
        p = predictions(model.estimator, _safe_indexing(X, rows), classes)
        total = np.zeros((n_rows, *p.shape[1:])) if total is None else total
        total[rows] += p
        counts[rows] += 1
    counts[counts == 0] = np.nan
    return total / counts.reshape(-1, *[1] * (total.ndim - 1))  # type: ignore[operator, union-attr]


def weigh(target: Target, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight and the loss of each candidate, by its out-of-fold predictions (candidates, n, ...).

    Greedy selection with replacement, as for the kinds of an ensemble's members (`sknn.training.weights`). Weights are
    moved towards equal ones for the candidates that were selected; the others have the weight 0.
    """
    encoded = torch.from_numpy(target.encode_predictions(p)[:, target.rows])
    known = torch.isfinite(encoded).all(2).all(0)
    encoded, y = encoded[:, known], target.encoded[known]
    weight = None if target.weight is None else target.weight[known]
    shares = greedy_shares(target.criterion, encoded, y, weight)
    chosen = (shares > 0).double()
    weights = shrink(shares, chosen / chosen.sum(), len(y))
    return weights.numpy(), losses_of(target.criterion, encoded, y, weight).numpy()

"""Metrics as tensor functions over members: the values of scikit-learn's scorers, at a fraction of an epoch's cost.

Each takes predictions and targets (M, n, K) and row weights (M, n) or None, and returns (M,). For a classifier,
predictions are probabilities and targets are one-hot or 0/1 columns. For a regressor, both are in the unit of y.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Return the weighted mean over rows: (M, n, ...) -> (M, ...)."""
    if weight is None:
        return values.mean(1)
    weight = weight.reshape(*weight.shape, *[1] * (values.dim() - 2))
    return (values * weight).sum(1) / weight.sum(1)


def accuracy(p: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """Share of rows whose most probable class is correct, for a multiclass target."""
    return weighted_mean((p.argmax(2) == y.argmax(2)).to(p.dtype), weight)


def exact_match(p: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """Share of rows with all labels correct: scikit-learn's accuracy for a binary or multilabel target."""
    is_correct = ((p > 0.5) == (y > 0.5)).all(2)
    return weighted_mean(is_correct.to(p.dtype), weight)


def log_loss(p: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of -log of the predicted probability of the true class."""
    p = p.clamp(torch.finfo(p.dtype).eps, 1 - torch.finfo(p.dtype).eps)
    values = -(y * p.log()).sum(2)
    if p.shape[2] == 1:
        values -= ((1 - y) * (1 - p).log()).sum(2)
    return weighted_mean(values, weight)


def roc_auc(p: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """Area under the ROC curve of a binary target: the probability that a positive row ranks above a negative one.

    Ties count one half. The result is NaN if a class is missing.
    """
    score, positive = p[..., -1], y[..., -1]
    shares = torch.stack([positive, 1 - positive])
    if weight is not None:
        shares *= weight
    ordered, order = score.sort(1)
    sides = shares.gather(2, order.expand(2, -1, -1))
    totals = sides.cumsum(2)
    first = torch.ones_like(ordered)  # 1 for the first row of each score
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    below = ((totals - sides) * first).cummax(2).values  # weight of lower scores, for each class
    won, lost = (sides * below.flip(0)).sum(2)
    pairs = totals[0, :, -1] * totals[1, :, -1]
    return (pairs + won - lost) / (2 * pairs)


def r2(p: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """Coefficient of determination, averaged over outputs. A constant output counts 1 if predicted exactly, else 0."""
    residual = weighted_mean((y - p).square(), weight)
    spread = weighted_mean((y - weighted_mean(y, weight).unsqueeze(1)).square(), weight)
    constant = torch.where(residual == 0, 1.0, 0.0)
    return torch.where(spread > 0, 1 - residual / spread, constant).mean(1)


def rmse(p: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """Root of the mean squared error, averaged over outputs."""
    return weighted_mean((y - p).square(), weight).sqrt().mean(1)


# (outputs after the link, targets, row weights or None), over members, to (M,)
Metric = Callable[[Tensor, Tensor, Tensor | None], Tensor]

# For each kind of target: which metrics there are, and the function behind each name.
METRICS: dict[str, dict[str, Metric]] = {
    "binary": {"accuracy": exact_match, "log_loss": log_loss, "roc_auc": roc_auc},
    "multiclass": {"accuracy": accuracy, "log_loss": log_loss},
    "multilabel": {"accuracy": exact_match},
    "values": {"r2": r2, "rmse": rmse},
    "quantiles": {},
}
METRIC_NAMES = tuple(dict.fromkeys(name for metrics in METRICS.values() for name in metrics))

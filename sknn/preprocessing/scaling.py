"""Scale numeric columns, by statistics in which a row of weight k counts as k rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

QUANTILES = 1000  # reference points of scaling="quantile", as in scikit-learn
QUANTILE_MARGIN = 1e-7  # keeps the normal quantiles of the extremes finite
ROBUST_CLIP = 3.0
FAR_OUT = 1e100  # beyond it the smooth clip is at its limit, and squares overflow


@dataclass
class ColumnScaler:
    """(x - center) * scale for each column, then a smooth clip or a step through quantiles, if any.

    Attributes
    ----------
    fill : ndarray of shape (n_columns,)
        What stands in for a missing value: the median.
    references : ndarray of shape (n_quantiles, n_columns) or None
        With scaling="quantile", the values that are mapped to evenly spaced normal quantiles.
    """

    fill: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    clip: bool = False
    references: np.ndarray | None = None

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Scaled float64 numbers of a block of rows."""
        X = np.where(np.isnan(X), self.fill, X)
        if self.references is not None:
            grid = np.linspace(0, 1, len(self.references))
            levels = [_midway_interp(x, r, grid) for x, r in zip(X.T, self.references.T, strict=True)]
            return ndtri(np.clip(np.array(levels).T.reshape(X.shape), QUANTILE_MARGIN, 1 - QUANTILE_MARGIN))
        with np.errstate(over="ignore"):
            X = (X - self.center) * self.scale
        if not self.clip:
            return X
        np.clip(X, -FAR_OUT, FAR_OUT, out=X)
        return X / np.sqrt(1 + (X / ROBUST_CLIP) ** 2)


def _midway_interp(x: np.ndarray, references: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Interpolate; equal references take the middle of their levels, also at the ends (unlike scikit-learn's)."""
    return 0.5 * (np.interp(x, references, grid) - np.interp(-x, -references[::-1], -grid[::-1]))


def _inverse(width: np.ndarray) -> np.ndarray:
    """1 / width, and 0 for a constant column (or one so narrow that 1 / width is infinite)."""
    return np.divide(1.0, width, out=np.zeros_like(width), where=width >= np.finfo(np.float64).tiny)


def fit_scaler(columns: Iterable[np.ndarray], scaling: str | None, weight: np.ndarray | None) -> ColumnScaler:
    """Learn from columns of float64 numbers; "auto" is "robust"."""
    columns = list(columns)
    n = len(columns)
    if scaling is None:
        median = np.array([quantiles(c, (0.5,), weight)[0] for c in columns])
        return ColumnScaler(median, np.zeros(n), np.ones(n))
    quartiles = np.array([quantiles(c, (0.0, 0.25, 0.5, 0.75, 1.0), weight) for c in columns]).reshape(n, 5).T
    low, first, median, third, high = quartiles
    if scaling == "standard":
        moments = np.array([mean_and_std(c, weight) for c in columns]).reshape(n, 2).T
        return ColumnScaler(median, moments[0], _inverse(moments[1]))
    if scaling == "quantile":
        grid = np.linspace(0, 1, QUANTILES)
        references = np.array([quantiles(c, grid, weight) for c in columns]).reshape(n, QUANTILES).T
        return ColumnScaler(median, np.zeros(n), np.ones(n), references=references)
    half = np.where(third > first, third / 2 - first / 2, high / 4 - low / 4)  # the difference itself may overflow
    return ColumnScaler(median, median, _inverse(half) / 2, clip=True)


def quantiles(column: np.ndarray, q: Sequence[float] | np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Quantiles of the values that are not missing, each one a value that occurs."""
    present = ~np.isnan(column)
    if not present.any():
        return np.zeros(len(q))
    values = column[present]
    if weight is not None:
        return np.quantile(values, q, weights=weight[present], method="inverted_cdf")
    places = np.maximum(np.ceil(np.asarray(q) * len(values)).astype(int) - 1, 0)
    return np.partition(values, places)[places]  # what np.quantile does, after longer preparations


def unit_of(values: np.ndarray) -> np.ndarray:
    """For each column a power of two near its largest absolute value; of what is divided by it, squares are numbers.

    >>> unit_of(np.array([[3.0, -1e200], [1.0, 0.0]])).tolist() == [2.0, 2.0**664]
    True
    """
    return np.ldexp(1.0, np.frexp(np.abs(values).max(0))[1] - 1)


def mean_and_std(column: np.ndarray, weight: np.ndarray | None) -> tuple[float, float]:
    present = ~np.isnan(column)
    if not present.any():
        return 0.0, 0.0
    values = column[present]
    if values.min() == values.max():  # the rounding of a mean must not look like a spread
        return float(values[0]), 0.0
    weights, unit = None if weight is None else weight[present], unit_of(values)
    values = values / unit
    mean = np.average(values, weights=weights)
    return float(mean * unit), float(np.sqrt(np.average((values - mean) ** 2, weights=weights)) * unit)

"""Scale numeric columns. In all statistics a row of weight k counts as k rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

QUANTILES = 1000  # reference points of scaling="quantile", as in scikit-learn
QUANTILE_MARGIN = 1e-7  # keeps the normal quantiles of the extremes finite
ROBUST_CLIP = 3.0
CLIP_INPUT_LIMIT = 1e100  # beyond it the smooth clip has reached its limit, and squares would overflow


@dataclass
class ColumnScaler:
    """Scales each column: ``(x - center) * scale``, then perhaps a smooth clip; or a map to normal quantiles.

    Attributes
    ----------
    fill : ndarray of shape (n_columns,)
        The replacement of a missing value: the median.
    center, scale : ndarray of shape (n_columns,)
    clip : bool
        Whether to squash values smoothly to -3 ... 3.
    references : ndarray of shape (n_quantiles, n_columns) or None
        With scaling="quantile": values that are mapped to the normal quantiles of evenly spaced levels.
    """

    fill: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    clip: bool = False
    references: np.ndarray | None = None

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return scaled float64 values of a block of rows."""
        X = np.where(np.isnan(X), self.fill, X)
        if self.references is not None:
            grid = np.linspace(0, 1, len(self.references))
            levels = [_midway_interp(x, r, grid) for x, r in zip(X.T, self.references.T, strict=True)]
            return ndtri(np.clip(np.array(levels).T.reshape(X.shape), QUANTILE_MARGIN, 1 - QUANTILE_MARGIN))
        with np.errstate(over="ignore"):
            X = (X - self.center) * self.scale
        if not self.clip:
            return X
        np.clip(X, -CLIP_INPUT_LIMIT, CLIP_INPUT_LIMIT, out=X)
        return X / np.sqrt(1 + (X / ROBUST_CLIP) ** 2)


def _midway_interp(x: np.ndarray, references: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Interpolate. A value equal to several references gets their middle level, also at the ends (not in sklearn)."""
    return 0.5 * (np.interp(x, references, grid) - np.interp(-x, -references[::-1], -grid[::-1]))


def inverse_or_zero(width: np.ndarray) -> np.ndarray:
    """Return 1 / width, or 0 for a constant column (and one so narrow that 1 / width is infinite)."""
    return np.divide(1.0, width, out=np.zeros_like(width), where=width >= np.finfo(np.float64).tiny)


def fit_scaler(columns: Iterable[np.ndarray], scaling: str | None, weight: np.ndarray | None) -> ColumnScaler:
    """Fit a scaler to columns of float64 values. "auto" is "robust"."""
    columns = list(columns)
    n = len(columns)
    if scaling is None:
        median = np.array([quantiles(c, (0.5,), weight)[0] for c in columns])
        return ColumnScaler(median, np.zeros(n), np.ones(n))
    quartiles = np.array([quantiles(c, (0.0, 0.25, 0.5, 0.75, 1.0), weight) for c in columns]).reshape(n, 5).T
    low, first, median, third, high = quartiles
    if scaling == "standard":
        moments = np.array([mean_and_std(c, weight) for c in columns]).reshape(n, 2).T
        return ColumnScaler(median, moments[0], inverse_or_zero(moments[1]))
    if scaling == "quantile":
        grid = np.linspace(0, 1, QUANTILES)
        references = np.array([quantiles(c, grid, weight) for c in columns]).reshape(n, QUANTILES).T
        return ColumnScaler(median, np.zeros(n), np.ones(n), references=references)
    half = np.where(third > first, third / 2 - first / 2, high / 4 - low / 4)  # third - first may overflow
    return ColumnScaler(median, median, inverse_or_zero(half) / 2, clip=True)


def quantiles(column: np.ndarray, q: Sequence[float] | np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Return quantiles of the values that are not missing. Each quantile is one of the values."""
    present = ~np.isnan(column)
    if not present.any():
        return np.zeros(len(q))
    values = column[present]
    if weight is not None:
        return np.quantile(values, q, weights=weight[present], method="inverted_cdf")
    indices = np.maximum(np.ceil(np.asarray(q) * len(values)).astype(int) - 1, 0)
    return np.partition(values, indices)[indices]  # the result of np.quantile, but faster


def power_of_two_unit(values: np.ndarray) -> np.ndarray:
    """Return for each column a power of two near its largest absolute value. Divided by it, values have finite squares.

    >>> power_of_two_unit(np.array([[3.0, -1e200], [1.0, 0.0]])).tolist() == [2.0, 2.0**664]
    True
    """
    return np.ldexp(1.0, np.frexp(np.abs(values).max(0))[1] - 1)


def mean_and_std(column: np.ndarray, weight: np.ndarray | None) -> tuple[float, float]:
    """Return the moments of the values that are not missing; 0 and 0 if there are none."""
    present = ~np.isnan(column)
    if not present.any():
        return 0.0, 0.0
    values = column[present]
    if values.min() == values.max():  # so that the rounding error of the mean does not become a standard deviation
        return float(values[0]), 0.0
    weights, unit = None if weight is None else weight[present], power_of_two_unit(values)
    values = values / unit
    mean = np.average(values, weights=weights)
    return float(mean * unit), float(np.sqrt(np.average((values - mean) ** 2, weights=weights)) * unit)

"""How far two distributions over the same cells are apart, and how surprising this is.

A distribution is an array of shares that sum to 1, or of counts of rows. The functions need numpy only: a service that
counts drift can do without scipy.
"""

import math

import numpy as np

MIN_EXPECTED = 5  # rows in a cell, below which the chi-squared distribution does not describe its statistic


# --- Effect sizes -------------------------------------------------------------------------------------------------


def population_stability_index(p: np.ndarray, q: np.ndarray) -> float:
    """Return the PSI, the sum of both Kullback-Leibler divergences, in nats.

    >>> round(population_stability_index(np.array([0.5, 0.5]), np.array([0.4, 0.6])), 4)
    0.0405
    """
    is_used = (p > 0) | (q > 0)
    p, q = p[is_used], q[is_used]
    with np.errstate(divide="ignore"):
        return float(((q - p) * (np.log(q) - np.log(p))).sum())


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Return the Jensen-Shannon distance to base 2: from 0 (equal) to 1 (no common cell).

    >>> jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    1.0
    """
    middle = (p + q) / 2
    divergence = sum(float((s[s > 0] * np.log2(s[s > 0] / middle[s > 0])).sum()) for s in (p, q)) / 2
    return math.sqrt(max(divergence, 0.0))


def kolmogorov_smirnov(p: np.ndarray, q: np.ndarray) -> float:
    """Return the largest difference of the cumulated shares of ordered cells.

    >>> kolmogorov_smirnov(np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.5, 0.25]))
    0.25
    """
    return float(np.abs(np.cumsum(p - q)).max())


def wasserstein(p: np.ndarray, q: np.ndarray, positions: np.ndarray) -> float:
    """Return how far the shares have to be moved on average, where each cell lies at one of the ordered positions.

    >>> wasserstein(np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([3.0, 5.0]))
    2.0
    """
    return float((np.abs(np.cumsum(p - q)[:-1]) * np.diff(positions)).sum())


# --- The chi-squared test -----------------------------------------------------------------------------------------


def chi_squared(counts_1: np.ndarray, counts_2: np.ndarray) -> tuple[float, int, float]:
    """Test whether two samples come from the same distribution (Pearson's test of homogeneity).

    The rarest cells are pooled, until each is expected to hold `MIN_EXPECTED` rows of the smaller sample.

    Parameters
    ----------
    counts_1, counts_2 : array of int
        The rows of each sample in each cell.

    Returns
    -------
    statistic : float
    degrees : int
        The degrees of freedom; 0 if there are too few rows for a test.
    p_value : float

    Examples
    --------
    >>> statistic, degrees, p_value = chi_squared(np.array([50, 50]), np.array([40, 60]))
    >>> round(statistic, 4), degrees, round(p_value, 4)
    (2.0202, 1, 0.1552)
    """
    table = pool_rare_cells(np.stack([counts_1, counts_2]).astype(np.float64))
    degrees = table.shape[1] - 1
    if degrees < 1:
        return 0.0, 0, 1.0
    expected = table.sum(1, keepdims=True) * (table.sum(0) / table.sum())
    statistic = float(((table - expected) ** 2 / expected).sum())
    return statistic, degrees, chi_squared_tail(statistic, degrees)


def pool_rare_cells(table: np.ndarray) -> np.ndarray:
    """Return the counts (2, n_cells) of two samples, with the rarest cells added up.

    >>> pool_rare_cells(np.array([[3, 40, 2, 55], [2, 40, 4, 54]]))
    array([[ 5, 40, 55],
           [ 6, 40, 54]])
    """
    totals = table.sum(0)
    share = table.sum(1).min() / max(table.sum(), 1)  # of the smaller sample
    order = np.argsort(totals, kind="stable")
    expected = totals[order] * share
    n_rare = int((expected < MIN_EXPECTED).sum())
    n_enough = int(np.searchsorted(expected.cumsum(), MIN_EXPECTED)) + 1
    n_pooled = max(n_rare, n_enough) if n_rare else 0
    pooled, kept = order[:n_pooled], np.sort(order[n_pooled:])
    return np.concatenate([table[:, pooled].sum(1, keepdims=True)] * (n_pooled > 0) + [table[:, kept]], axis=1)


def chi_squared_tail(statistic: float, degrees: int) -> float:
    """Return the probability that a chi-squared variable exceeds a value.

    For whole degrees of freedom it is a finite sum of positive terms: those of a Poisson distribution for even ones,
    and their analogue at half-integers for odd ones (Abramowitz and Stegun, 26.4.4 and 26.4.5).
    """
    x = statistic / 2
    if x <= 0:
        return 1.0
    start = 0.5 * (degrees % 2)
    terms = (math.exp((i + start) * math.log(x) - x - math.lgamma(i + start + 1)) for i in range(degrees // 2))
    return min(1.0, math.fsum(terms) + (math.erfc(math.sqrt(x)) if degrees % 2 else 0.0))


# --- Many tests at once -------------------------------------------------------------------------------------------


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return p-values adjusted by Holm's method: at most a share alpha of all reports without drift has a p <= alpha.

    Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979).

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values)
    adjusted = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    return _in_place(adjusted, order)


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """Return adjusted p-values: of the columns with a p <= alpha, a share alpha at most is expected to be false.

    Benjamini and Hochberg, Controlling the false discovery rate, Journal of the Royal Statistical Society B 57 (1995).

    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.04, 0.04]
    """
    n, order = len(p_values), np.argsort(p_values)
    raised = p_values[order] * n / np.arange(1, n + 1)
    return _in_place(np.minimum.accumulate(raised[::-1])[::-1], order)


def _in_place(adjusted: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return sorted values, at most 1, in the order before sorting."""
    result = np.empty(len(order))
    result[order] = np.minimum(adjusted, 1)
    return result


CORRECTIONS = {"holm": holm, "benjamini-hochberg": benjamini_hochberg}

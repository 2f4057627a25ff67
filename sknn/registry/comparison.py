"""Compare the losses of two models on the same rows: a paired bootstrap, and McNemar's exact test.

`better` is the model that is hoped to be better. Both functions ask how likely at least this improvement is if it is
not, and return an interval that leaves `alpha` outside at each end. It is above 0 if the p-value is below `alpha`.
"""

from dataclasses import dataclass

import numpy as np

BLOCK = 2**22  # numbers drawn at a time: 32 MB


@dataclass(frozen=True)
class Comparison:
    """The improvement of a model over another: the decrease of its mean loss.

    Parameters
    ----------
    improvement : float
        The other's mean loss minus the model's; positive if the model is better.
    interval : tuple of two floats
        The confidence interval of the improvement, at level 1 - 2 * alpha.
    p_value : float
        Of the hypothesis that the model is not better (one-sided).
    """

    improvement: float
    interval: tuple[float, float]
    p_value: float


def paired_bootstrap(
    better: np.ndarray, other: np.ndarray, *, alpha: float = 0.05, n_resamples: int = 10_000, random_state: int = 0
) -> Comparison:
    """Compare mean losses by resampling rows.

    Parameters
    ----------
    better, other : ndarray of shape (n_rows,)
        The losses of the two models on the same rows.
    alpha : float, default=0.05
    n_resamples : int, default=10_000
    random_state : int, default=0
        The same seed gives the same result.

    Returns
    -------
    Comparison

    Notes
    -----
    The interval holds the means of resampled rows: the expanded percentile interval of T. Hesterberg, "What Teachers
    Should Know about the Bootstrap" (2015). The bootstrap's distribution is too narrow by sqrt((n - 1) / n) and has
    normal instead of Student's tails, so the level is adjusted for both. One p-value is the level at which the lower
    end of this interval is 0.

    Losses have long tails and held-out tables are small, and then the bootstrap alone promotes up to 7 % of equal
    models at level 5 %. So a second p-value is that of exchanging the two models in random rows. If they are equal,
    this changes nothing, so its level is exact (R. A. Fisher, "The Design of Experiments", 1935). The result is the
    larger one: if it is at most alpha, the interval is above 0 too.
    """
    differences = np.asarray(other, dtype=float) - np.asarray(better, dtype=float)
    improvement = float(differences.mean())
    rng = np.random.default_rng(random_state)
    means = _resampled_means(differences, n_resamples, rng)
    low, high = np.quantile(means, _expanded_levels(alpha, len(differences)))
    p_resampled = _contracted_level((1 + np.sum(means <= 0)) / (n_resamples + 1), len(differences))
    exchanged = _exchanged_means(differences, n_resamples, rng)
    # Exchanges that give the same mean differ by rounding. 1 + ...: a finite number of draws never shows p = 0.
    n_as_extreme = np.sum(exchanged >= improvement - 1e-12 * np.abs(differences).mean())
    p_value = max(p_resampled, (1 + n_as_extreme) / (n_resamples + 1))
    return Comparison(improvement, (float(low), float(high)), float(p_value))


def _resampled_means(values: np.ndarray, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Return the mean of each resample of rows, drawn with replacement."""
    n = len(values)
    draws = (values[rng.integers(n, size=(size, n), dtype=np.int32)] for size in _block_sizes(n, n_resamples))
    return np.concatenate([drawn.mean(axis=1) for drawn in draws])


def _exchanged_means(differences: np.ndarray, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Return the mean difference if the models are exchanged in random rows, for each draw of the rows."""
    n = len(differences)
    sizes = _block_sizes(n, n_resamples)
    kept = [rng.integers(2, size=(size, n), dtype=np.int8).astype(float) @ differences for size in sizes]
    return (2 * np.concatenate(kept) - differences.sum()) / n


def _block_sizes(n: int, n_resamples: int) -> list[int]:
    step = max(1, BLOCK // n)
    return [min(step, n_resamples - start) for start in range(0, n_resamples, step)]


def _expanded_levels(alpha: float, n: int) -> list[float]:
    from scipy.stats import norm, t

    tail = float(norm.cdf(np.sqrt(n / (n - 1)) * t.ppf(alpha, n - 1)))
    return [tail, 1 - tail]


def _contracted_level(share: float, n: int) -> float:
    """Return the level alpha whose expanded lower level is this share."""
    from scipy.stats import norm, t

    return float(t.cdf(norm.ppf(share) / np.sqrt(n / (n - 1)), n - 1))


def mcnemar(better: np.ndarray, other: np.ndarray, *, alpha: float = 0.05) -> Comparison:
    """Compare shares of wrong labels by the rows on which exactly one model is wrong.

    Parameters
    ----------
    better, other : ndarray of shape (n_rows,)
        1 where the model's label is wrong, 0 where it is right, for the same rows.
    alpha : float, default=0.05

    Returns
    -------
    Comparison

    Notes
    -----
    If the models are equally good, each of these rows is a toss of a coin, so their number is binomial and the test is
    exact (Q. McNemar, Psychometrika 12, 1947). The interval is Clopper and Pearson's for the coin, times the share of
    these rows. Without such rows the p-value is 1.
    """
    from scipy.stats import binomtest

    better, other = np.asarray(better, dtype=bool), np.asarray(other, dtype=bool)
    n_wins, n_losses, n = int(np.sum(other & ~better)), int(np.sum(better & ~other)), len(better)
    n_tosses = n_wins + n_losses
    if n_tosses == 0:
        return Comparison(0.0, (0.0, 0.0), 1.0)
    win_rate = binomtest(n_wins, n_tosses).proportion_ci(1 - 2 * alpha, method="exact")
    low, high = ((2 * rate - 1) * n_tosses / n for rate in (win_rate.low, win_rate.high))
    p_value = binomtest(n_wins, n_tosses, alternative="greater").pvalue
    return Comparison((n_wins - n_losses) / n, (float(low), float(high)), float(p_value))

"""Statistics of two distributions, compared with scipy."""

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.special
import scipy.stats

from sknn.monitoring.statistics import (
    MIN_EXPECTED,
    benjamini_hochberg,
    chi_squared,
    chi_squared_tail,
    holm,
    jensen_shannon,
    kolmogorov_smirnov,
    pool_rare_cells,
    population_stability_index,
    wasserstein,
)


def histograms(seed):
    """Return the counts of two random samples in the same cells, some of them empty."""
    rng = np.random.default_rng(seed)
    n_cells = rng.integers(2, 30)
    p, q = rng.dirichlet(np.full(n_cells, 0.5), size=2)
    return rng.multinomial(rng.integers(1, 2000), p), rng.multinomial(rng.integers(1, 2000), q)


def shares(seed):
    return tuple(counts / counts.sum() for counts in histograms(seed))


SEEDS = pytest.mark.parametrize("seed", range(30))


@SEEDS
def test_the_psi_is_the_sum_of_both_divergences(seed):
    p, q = shares(seed)
    expected = scipy.special.rel_entr(p, q).sum() + scipy.special.rel_entr(q, p).sum()

    assert population_stability_index(p, q) == pytest.approx(expected)
    assert population_stability_index(p, p) == 0


@SEEDS
def test_the_jensen_shannon_distance_is_that_of_scipy(seed):
    p, q = shares(seed)

    assert jensen_shannon(p, q) == pytest.approx(scipy.spatial.distance.jensenshannon(p, q, base=2), abs=1e-7)


@SEEDS
def test_the_distances_on_bins_are_those_of_scipy_on_the_middles(seed):
    (n, m), (p, q) = histograms(seed), shares(seed)
    positions = np.sort(np.random.default_rng(seed).normal(size=len(p)))
    rows = np.repeat(positions, n), np.repeat(positions, m)

    assert kolmogorov_smirnov(p, q) == pytest.approx(scipy.stats.ks_2samp(*rows).statistic)
    assert wasserstein(p, q, positions) == pytest.approx(scipy.stats.wasserstein_distance(*rows))


@SEEDS
def test_the_chi_squared_test_is_that_of_scipy_on_pooled_cells(seed):
    counts = np.stack(histograms(seed))
    statistic, degrees, p_value = chi_squared(*counts)
    pooled = pool_rare_cells(counts)
    if pooled.shape[1] < 2:
        assert (statistic, degrees, p_value) == (0, 0, 1)
        return
    expected = scipy.stats.chi2_contingency(pooled, correction=False)

    assert (statistic, degrees) == (pytest.approx(expected.statistic), expected.dof)
    assert p_value == pytest.approx(expected.pvalue, rel=1e-9, abs=1e-300)


@SEEDS
def test_pooling_keeps_the_rows_and_leaves_no_rare_cell(seed):
    counts = np.stack(histograms(seed))
    pooled = pool_rare_cells(counts)

    assert pooled.sum(1).tolist() == counts.sum(1).tolist()
    if pooled.shape[1] > 1:
        assert scipy.stats.contingency.expected_freq(pooled).min() >= MIN_EXPECTED


def test_cells_with_enough_rows_are_not_pooled():
    counts = np.array([[10, 20, 30], [30, 20, 10]])

    assert pool_rare_cells(counts).tolist() == counts.tolist()


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 10, 19, 20, 101, 102])
def test_the_tail_of_chi_squared_is_that_of_scipy(degrees):
    values = np.array([0, 1e-9, 0.1, 1, 5, 10, 30, 100, 500, 1400, 1e4, 1e8])
    tails = [chi_squared_tail(value, degrees) for value in values.tolist()]

    assert tails == pytest.approx(scipy.stats.chi2.sf(values, degrees), rel=1e-9, abs=1e-300)


@SEEDS
def test_benjamini_hochberg_is_that_of_scipy(seed):
    p_values = np.random.default_rng(seed).beta(0.5, 1, size=12).round(2)  # some are equal

    assert benjamini_hochberg(p_values) == pytest.approx(scipy.stats.false_discovery_control(p_values))


@SEEDS
def test_holm_rejects_what_its_steps_reject(seed):
    p_values = np.random.default_rng(seed).beta(0.3, 2, size=12)
    adjusted = holm(p_values)

    for alpha in (0.01, 0.05, 0.2):
        rejected = set()
        for step, j in enumerate(np.argsort(p_values)):
            if p_values[j] > alpha / (len(p_values) - step):
                break
            rejected.add(j)
        assert set(np.flatnonzero(adjusted <= alpha)) == rejected
    assert adjusted.max() <= 1


@pytest.mark.parametrize("correction", [holm, benjamini_hochberg])
def test_no_p_values_are_corrected_to_none(correction):
    assert correction(np.array([])).tolist() == []

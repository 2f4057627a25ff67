"""The comparison of losses, against scipy and over many pairs of equal models."""

import math

import numpy as np
import pytest
import scipy.stats

from sknn.registry.comparison import _exchanged_means, mcnemar, paired_bootstrap


def log_losses(rng, n, noise=(1.0, 1.0)):
    """Log losses of two models of the same rows, whose logits have errors of these sizes."""
    logit = rng.normal(0, 2, n)
    y = rng.random(n) < scipy.special.expit(logit)
    p = scipy.special.expit(logit + rng.normal(size=(2, n)) * np.array(noise)[:, None])
    return -np.log(np.where(y, p, 1 - p))


def mean_difference(x, y, axis=-1):
    return (y - x).mean(axis)


def test_the_interval_agrees_with_scipys_bootstrap():
    better, other = log_losses(np.random.default_rng(0), 200, noise=(0.5, 1.5))
    error = scipy.stats.sem(other - better)
    expected = scipy.stats.bootstrap(
        (better, other),
        mean_difference,
        paired=True,
        n_resamples=40_000,
        confidence_level=0.9,
        method="percentile",
        rng=1,
    ).confidence_interval

    result = paired_bootstrap(better, other, alpha=0.05, n_resamples=40_000)
    assert result.improvement == pytest.approx(np.mean(other - better))
    np.testing.assert_allclose(result.interval, expected, atol=0.05 * error)  # the expansion is 0.01 of it here


def test_the_p_value_of_exchanges_is_scipys_permutation_test():
    better, other = log_losses(np.random.default_rng(3), 12)
    exact = scipy.stats.permutation_test(
        (better, other), mean_difference, permutation_type="samples", alternative="greater", n_resamples=np.inf
    ).pvalue  # all 4096 exchanges

    means = _exchanged_means(other - better, 40_000, np.random.default_rng(0))
    assert np.mean(means >= np.mean(other - better) - 1e-12) == pytest.approx(exact, abs=0.01)


def test_many_normal_differences_give_students_test():
    rng = np.random.default_rng(0)
    better, other = rng.normal(0, 1, 2000), rng.normal(0.05, 1, 2000)

    result = paired_bootstrap(better, other, n_resamples=40_000)
    expected = scipy.stats.ttest_rel(other, better, alternative="greater")
    both_ends = scipy.stats.ttest_rel(other, better).confidence_interval(0.9)
    assert result.p_value == pytest.approx(expected.pvalue, abs=0.01)
    np.testing.assert_allclose(result.interval, both_ends, atol=0.003)


@pytest.mark.parametrize("alpha", [0.01, 0.1])
def test_where_the_p_value_is_below_alpha_the_interval_is_above_zero(alpha):
    rng = np.random.default_rng(0)
    pairs = [log_losses(rng, 50, noise=(0.7, 1.2)) for _ in range(40)]
    results = [paired_bootstrap(*pair, alpha=alpha, n_resamples=999) for pair in pairs]

    assert all(result.interval[0] > 0 for result in results if result.p_value < alpha - 0.002)
    assert 0 < sum(result.p_value < alpha for result in results) < 40


def equal_losses(kind, rng, n):
    if kind == "log loss":
        return log_losses(rng, n)
    return rng.lognormal(0, 1.5, (2, n)) if kind == "long tails" else rng.normal(size=(2, n)) ** 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["log loss", "long tails", "squared error"])
@pytest.mark.parametrize("n", [20, 80])
def test_equal_models_are_promoted_at_most_at_the_level_asked_for(kind, n):
    rng = np.random.default_rng(n)
    n_pairs, alpha = 1000, 0.05
    n_promoted = sum(
        paired_bootstrap(*equal_losses(kind, rng, n), n_resamples=499, random_state=i).p_value <= alpha
        for i in range(n_pairs)
    )

    assert n_promoted <= scipy.stats.binom.ppf(0.999, n_pairs, alpha)


def test_a_better_model_is_recognised():
    rng = np.random.default_rng(0)
    p_values = [paired_bootstrap(*log_losses(rng, 300, noise=(0.3, 1.5)), n_resamples=499).p_value for _ in range(100)]

    assert np.mean(np.array(p_values) <= 0.05) > 0.9


def test_the_same_seed_gives_the_same_result_and_numpys_generator_is_left_alone():
    better, other = log_losses(np.random.default_rng(0), 60)
    state = np.random.get_state()[1].copy()
    results = [paired_bootstrap(better, other, random_state=seed) for seed in (0, 0, 1)]

    assert results[0] == results[1] != results[2]
    assert (np.random.get_state()[1] == state).all()


def test_blocks_of_resamples_do_not_change_the_kind_of_result(monkeypatch):
    better, other = log_losses(np.random.default_rng(0), 60)
    whole = paired_bootstrap(better, other)
    monkeypatch.setattr("sknn.registry.comparison.BLOCK", 700)

    np.testing.assert_allclose(paired_bootstrap(better, other).interval, whole.interval)


@pytest.mark.parametrize(("shift", "p_value"), [(0.0, 1.0), (-0.5, 1.0), (0.5, 0.002)])
def test_the_same_difference_in_all_rows(shift, p_value):
    losses = np.full(30, 1.0)
    result = paired_bootstrap(losses, losses + shift, n_resamples=1000)

    assert (result.improvement, result.interval) == (shift, (shift, shift))
    assert result.p_value == pytest.approx(p_value, abs=0.001)


def test_one_row_that_differs_proves_nothing():
    losses = np.zeros(30)
    other = losses.copy()
    other[0] = 1

    assert paired_bootstrap(losses, other).p_value > 0.3


def binomial_tail(k, n):
    return sum(math.comb(n, i) for i in range(k, n + 1)) / 2**n


@pytest.mark.parametrize(("n_wins", "n_losses"), [(8, 2), (2, 8), (5, 5), (1, 0), (0, 0), (40, 20)])
def test_mcnemar_is_the_tail_of_the_binomial_distribution(n_wins, n_losses):
    better = np.array([0] * n_wins + [1] * n_losses + [0, 1] * 20)
    other = np.array([1] * n_wins + [0] * n_losses + [0, 1] * 20)
    result = mcnemar(better, other)

    assert result.p_value == pytest.approx(binomial_tail(n_wins, n_wins + n_losses))
    assert result.improvement == pytest.approx((1 - better).mean() - (1 - other).mean())
    assert result.interval[0] <= result.improvement <= result.interval[1]


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_mcnemars_interval_and_p_value_agree(alpha):
    for n_wins in range(1, 31):
        better, other = np.array([0] * n_wins + [1] * (30 - n_wins)), np.array([1] * n_wins + [0] * (30 - n_wins))
        result = mcnemar(better, other, alpha=alpha)

        assert (result.interval[0] > 0) == (result.p_value < alpha)


@pytest.mark.slow
def test_mcnemar_promotes_equal_models_at_most_at_the_level_asked_for():
    rng = np.random.default_rng(0)
    n_promoted = sum(mcnemar(*(rng.random((2, 80)) < 0.2)).p_value <= 0.05 for _ in range(500))

    assert n_promoted <= 0.05 * 500

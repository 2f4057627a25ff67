"""Dropout's factors: shares, types, and independence of the members that are drawn beside."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from sknn.training.dropout import DropoutNoise
from sknn.utils.random import member_bit_generator

CPU = torch.device("cpu")
quick = settings(max_examples=150, deadline=None, derandomize=True)
LIKE = torch.empty(0)


def noise(layers, members=(0,), seed=0):
    return DropoutNoise(layers, [member_bit_generator(seed, m, "noise", CPU) for m in members])


@pytest.mark.parametrize("rate", [1e-3, 0.1, 0.15, 0.5, 0.9, 0.999])
def test_the_share_that_dropout_keeps_is_one_minus_the_rate(rate):
    n = 400_000
    (factors,) = noise([(100, [rate])]).draw(slice(0, 1), 10, n // 1000, LIKE)
    assert factors.shape == (10, 1, n // 1000, 100)
    kept = (factors > 0).double()
    assert abs(kept.mean() - (1 - rate)) < 5 * (rate * (1 - rate) / n) ** 0.5 + 1 / 65536
    scales = factors[factors > 0].unique()
    assert len(scales) == 1
    assert abs(1 / scales.item() - (1 - rate)) <= 1 / 65536
    by_unit = kept.mean((0, 1, 2))  # no unit is dropped more often than others
    statistic = ((by_unit - kept.mean()) ** 2).sum() * (n / 100) / (rate * (1 - rate))
    assert statistic < chi2(99).isf(1e-6)


def test_a_rate_of_zero_keeps_everything_as_it_is():
    (factors,) = noise([(7, [0.0, 0.5])], members=(0, 1)).draw(slice(0, 2), 50, 20, LIKE)
    assert (factors[:, 0] == 1).all()
    assert set(factors[:, 1].unique().tolist()) == {0, 2}


@pytest.mark.parametrize("rate", [0.99999, 0.999999, 1 - 2**-53])
def test_noise_is_finite_for_every_rate_below_one(rate):
    (factors,) = noise([(64, [rate])]).draw(slice(0, 1), 4, 1024, LIKE)
    assert factors.isfinite().all()


@given(
    parts=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    size=st.integers(1, 9),
    widths=st.lists(st.integers(1, 9), min_size=1, max_size=3),
)
@settings(quick, max_examples=50)
def test_noise_does_not_depend_on_how_many_batches_are_drawn_at_once(parts, size, widths):
    layers = [(width, [0.5]) for width in widths]
    once = noise(layers).draw(slice(0, 1), sum(parts), size, LIKE)
    one = noise(layers)
    pieces = [one.draw(slice(0, 1), part, size, LIKE) for part in parts]
    for i, whole in enumerate(once):
        assert torch.equal(torch.cat([piece[i] for piece in pieces]), whole)
        assert whole.shape == (sum(parts), 1, size, widths[i])


def test_noise_of_a_member_does_not_depend_on_which_are_drawn_beside_it():
    rates = [0.2, 0.5, 0.8]
    layers = [(30, rates), (5, rates)]
    together = noise(layers, range(3)).draw(slice(0, 3), 4, 8, LIKE)
    for m, rate in enumerate(rates):
        alone = noise([(30, [rate]), (5, [rate])], [m]).draw(slice(0, 1), 4, 8, LIKE)
        part = noise(layers, range(3)).draw(slice(m, m + 1), 4, 8, LIKE)
        for i in range(2):
            assert torch.equal(alone[i][:, 0], together[i][:, m])
            assert torch.equal(part[i][:, 0], together[i][:, m])
    assert not torch.equal(together[0][:, 0] > 0, together[0][:, 1] > 0)


def test_selected_members_go_on_with_their_own_noise():
    layers = [(30, [0.2, 0.5, 0.8])]
    whole, selected = noise(layers, range(3)), noise(layers, range(3))
    selected.select([2, 0])
    expected = whole.draw(slice(0, 3), 2, 8, LIKE)[0]
    assert torch.equal(selected.draw(slice(0, 2), 2, 8, LIKE)[0], expected[:, [2, 0]])


def test_without_dropout_there_is_no_noise_whichever_members_are_selected():
    none = noise([], range(3))
    assert none.draw(slice(0, 3), 2, 8, LIKE) == []
    none.select([2, 0])
    assert none.draw(slice(0, 2), 2, 8, LIKE) == []
    assert len(none.generators) == 2


def test_noise_has_the_type_of_the_targets_and_is_fresh_for_every_layer_and_batch():
    first, second = noise([(40, [0.5]), (40, [0.5])]).draw(slice(0, 1), 2, 10, torch.empty(0, dtype=torch.float64))
    assert first.dtype == torch.float64
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("streams", [[1, 1, 1, 1, 1], [1, 2, 1, 1, 2], [1, 2, 3, 4, 5]])
def test_members_of_one_stream_draw_what_each_would_draw_alone(streams):
    layers = [(5, [0.5, 0.2, 0.0, 0.5, 0.0]), (3, [0.1, 0.4, 0.0, 0.1, 0.0])]
    shared = {seed: np.random.SFC64(seed) for seed in streams}
    together = DropoutNoise(layers, [shared[seed] for seed in streams])
    alone = [
        DropoutNoise([(width, [rates[m]]) for width, rates in layers], [np.random.SFC64(seed)])
        for m, seed in enumerate(streams)
    ]
    staying = [0, 1, 2, 3, 4]
    for batches, size in [(2, 4), (1, 7), (3, 5)]:  # several times, for the streams go on
        drawn = together.draw(slice(0, len(staying)), batches, size, torch.zeros(1))
        for place, m in enumerate(staying):
            expected = alone[m].draw(slice(0, 1), batches, size, torch.zeros(1))
            for noise, own in zip(drawn, expected, strict=True):
                assert torch.equal(noise[:, place : place + 1], own)
        if batches == 1:
            staying = [0, 2, 3]
            together.select(staying)

"""The factors of dropout have the right shares and types, and do not depend on which members are trained jointly."""

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
def test_dropout_keeps_a_share_of_one_minus_the_rate(rate):
    n = 400_000
    (factors,) = noise([(100, [rate])]).draw(slice(0, 1), 10, n // 1000, LIKE)
    assert factors.shape == (10, 1, n // 1000, 100)
    kept = (factors > 0).double()
    assert abs(kept.mean() - (1 - rate)) < 5 * (rate * (1 - rate) / n) ** 0.5 + 1 / 65536
    scales = factors[factors > 0].unique()
    assert len(scales) == 1
    assert abs(1 / scales.item() - (1 - rate)) <= 1 / 65536
    by_unit = kept.mean((0, 1, 2))  # no unit is dropped more often than another
    statistic = ((by_unit - kept.mean()) ** 2).sum() * (n / 100) / (rate * (1 - rate))
    assert statistic < chi2(99).isf(1e-6)


def test_a_rate_of_zero_changes_nothing():
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
    at_once = noise(layers).draw(slice(0, 1), sum(parts), size, LIKE)
    piecewise = noise(layers)
    pieces = [piecewise.draw(slice(0, 1), part, size, LIKE) for part in parts]
    for i, whole in enumerate(at_once):
        assert torch.equal(torch.cat([piece[i] for piece in pieces]), whole)
        assert whole.shape == (sum(parts), 1, size, widths[i])


def test_the_noise_of_a_member_does_not_depend_on_the_other_members():
    rates = [0.2, 0.5, 0.8]
    layers = [(30, rates), (5, rates)]
    joint = noise(layers, range(3)).draw(slice(0, 3), 4, 8, LIKE)
    for m, rate in enumerate(rates):
        single = noise([(30, [rate]), (5, [rate])], [m]).draw(slice(0, 1), 4, 8, LIKE)
        part = noise(layers, range(3)).draw(slice(m, m + 1), 4, 8, LIKE)
        for i in range(2):
            assert torch.equal(single[i][:, 0], joint[i][:, m])
            assert torch.equal(part[i][:, 0], joint[i][:, m])
    assert not torch.equal(joint[0][:, 0] > 0, joint[0][:, 1] > 0)


def test_selected_members_continue_with_their_own_noise():
    layers = [(30, [0.2, 0.5, 0.8])]
    whole, selected = noise(layers, range(3)), noise(layers, range(3))
    selected.select([2, 0])
    expected = whole.draw(slice(0, 3), 2, 8, LIKE)[0]
    assert torch.equal(selected.draw(slice(0, 2), 2, 8, LIKE)[0], expected[:, [2, 0]])


def test_without_dropout_there_is_no_noise_before_and_after_a_selection():
    empty = noise([], range(3))
    assert empty.draw(slice(0, 3), 2, 8, LIKE) == []
    empty.select([2, 0])
    assert empty.draw(slice(0, 2), 2, 8, LIKE) == []
    assert len(empty.generators) == 2


def test_noise_has_the_type_of_the_targets_and_differs_between_layers_and_batches():
    first, second = noise([(40, [0.5]), (40, [0.5])]).draw(slice(0, 1), 2, 10, torch.empty(0, dtype=torch.float64))
    assert first.dtype == torch.float64
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("seeds", [[1, 1, 1, 1, 1], [1, 2, 1, 1, 2], [1, 2, 3, 4, 5]])
def test_members_with_one_generator_draw_the_noise_of_single_members(seeds):
    layers = [(5, [0.5, 0.2, 0.0, 0.5, 0.0]), (3, [0.1, 0.4, 0.0, 0.1, 0.0])]
    shared = {seed: np.random.SFC64(seed) for seed in set(seeds)}
    joint = DropoutNoise(layers, [shared[seed] for seed in seeds])
    single = [
        DropoutNoise([(width, [rates[m]]) for width, rates in layers], [np.random.SFC64(seed)])
        for m, seed in enumerate(seeds)
    ]
    members = [0, 1, 2, 3, 4]
    for batches, size in [(2, 4), (1, 7), (3, 5)]:  # several times, since the generators move on
        drawn = joint.draw(slice(0, len(members)), batches, size, torch.zeros(1))
        for index, m in enumerate(members):
            expected = single[m].draw(slice(0, 1), batches, size, torch.zeros(1))
            for actual_layer, expected_layer in zip(drawn, expected, strict=True):
                assert torch.equal(actual_layer[:, index : index + 1], expected_layer)
        if batches == 1:
            members = [0, 2, 3]
            joint.select(members)

"""Random generators: reproducible, independent of each other, and without torch's and numpy's global generators."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sknn.utils.random import member_generator

CPU = torch.device("cpu")
KEYS = st.tuples(
    st.integers(0, 2**31 - 1), st.integers(0, 500), st.sampled_from(["weights", "order", "noise"]), st.integers(0, 500)
)


def draw(seed, member, key, start):
    return torch.randint(2**62, (4,), generator=member_generator(seed, member, key, CPU, start)).tolist()


@given(key=KEYS)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_a_generator_repeats(key):
    assert draw(*key) == draw(*key)


@given(keys=st.lists(KEYS, min_size=2, max_size=20, unique=True))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_generators_of_different_keys_differ(keys):
    assert len({tuple(draw(*key)) for key in keys}) == len(keys)


def test_generators_of_similar_keys_are_not_correlated():
    n = 2000
    rows = [
        torch.randn(n, generator=member_generator(0, member, key, CPU, start), dtype=torch.float64)
        for member in range(5)
        for key in ("weights", "order")
        for start in (0, 1)
    ]
    correlation = torch.corrcoef(torch.stack(rows)) - torch.eye(len(rows))
    assert correlation.abs().max() < 5 / n**0.5  # five standard deviations, for 190 pairs


@pytest.fixture
def global_states():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()
    yield
    torch.set_rng_state(torch_state)
    np.random.set_state(numpy_state)


@pytest.mark.usefixtures("global_states")
def test_the_global_random_state_is_neither_read_nor_changed():
    torch.manual_seed(0)
    np.random.seed(0)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = draw(1, 2, "weights", 0)
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)
    torch.manual_seed(99)
    np.random.seed(99)
    assert draw(1, 2, "weights", 0) == first


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_a_generator_is_on_the_cpu_unless_the_device_is_cuda(device):
    assert member_generator(0, 0, "weights", torch.device(device)).device == CPU

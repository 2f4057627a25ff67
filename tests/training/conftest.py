"""Fixtures for the tests of training."""

import pytest
import torch


@pytest.fixture
def torch_seed():
    """Seed torch's generator, and restore its state after the test."""
    state = torch.get_rng_state()
    torch.manual_seed(0)
    yield
    torch.set_rng_state(state)

"""Networks of several parts: members part after part, one optimizer, copies, selection and snapshots."""

import copy
import pickle

import pytest
import safetensors.torch
import torch

from sknn.network.base import Inputs
from sknn.network.mixed import MixedNetwork, MixedOptimizer, Solver
from sknn.network.mlp import MLP
from sknn.network.optimizers import SGD, Adam, MemberOptions

X = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))


def build():
    """Return a network of two plain members and three with batch norm."""
    parts = [MLP(2, 3, 2, (5,)), MLP(3, 3, 2, (4,), batch_norm=True)]
    for p, part in enumerate(parts):
        part.reset([torch.Generator().manual_seed(10 * p + m) for m in range(part.n_members)])
    return MixedNetwork(parts).eval()


def options(rates):
    n = len(rates)
    return MemberOptions(rates, [0.0] * n, [0.0] * n, [torch.inf] * n)


def test_members_are_numbered_part_after_part():
    network = build()
    assert (network.n_members, network.members_of_parts()) == (5, [slice(0, 2), slice(2, 5)])
    outputs = network.outputs_of_rows(Inputs(X))
    assert outputs.shape == (5, 9, 2)
    for part, members in zip(network.parts, network.members_of_parts(), strict=True):
        torch.testing.assert_close(outputs[members], part(X))
    torch.testing.assert_close(network(X), outputs)


def test_outputs_of_rows_take_the_parameters_that_are_given():
    network = build()
    double = network.outputs_of_rows(Inputs(X.double()), [part.param_buffer.double() for part in network.parts])
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), network.outputs_of_rows(Inputs(X)))


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_a_copy_has_the_same_outputs_and_memory_of_its_own(copier):
    network = build()
    copied, before = copier(network), network(X).clone()
    torch.testing.assert_close(copied(X), before, rtol=0, atol=0)
    for part in copied.parts:
        part.param_buffer.zero_()
    torch.testing.assert_close(network(X), before, rtol=0, atol=0)


def test_the_parameters_can_be_moved_and_loaded():
    network, other = build(), build()
    for part in other.parts:
        part.param_buffer.zero_()
    state = safetensors.torch.load(safetensors.torch.save(network.state_dict()))
    other.load_state_dict(state)
    torch.testing.assert_close(other(X), network(X), rtol=0, atol=0)
    network.double()
    assert network.dtype == torch.float64
    assert network.parts[1].param_buffer.data_ptr() <= network.parts[1].layers[0].weight.data_ptr()
    with pytest.raises(ValueError, match=r"^assign=True is not supported"):
        other.load_state_dict(state, assign=True)


def test_selection_keeps_members_and_drops_parts_without_any():
    network = build()
    expected = network(X)
    restore = network.snapshot()
    network.select([1, 2, 4])
    assert [part.n_members for part in network.parts] == [1, 2]
    torch.testing.assert_close(network(X), expected[[1, 2, 4]])
    network.select([1, 2])
    assert [part.n_members for part in network.parts] == [2]
    torch.testing.assert_close(network(X), expected[[2, 4]])
    restore()
    torch.testing.assert_close(network(X), expected)


def test_a_step_of_the_optimizer_is_a_step_of_each_part_with_its_own_options():
    rates = [0.1, 0.2, 0.3, 0.4, 0.5]
    network, expected = build(), build()
    optimizer = Solver(SGD, options(rates))(network)
    assert isinstance(optimizer, MixedOptimizer)
    alone = [Solver(SGD, options(rates).of(slice(*of)))(part) for of, part in zip([(0, 2), (2, 5)], expected.parts)]
    for part in (*network.parts, *expected.parts):
        part.grad_buffer.fill_(1.0)
    optimizer.step()
    for one in alone:
        one.step()
    for part, other in zip(network.parts, expected.parts, strict=True):
        assert torch.equal(part.param_buffer, other.param_buffer)
    assert optimizer.steps == [1] * 5


def test_torchs_schedulers_set_the_rate_of_every_part():
    network = build()
    optimizer = Solver(Adam, options([0.1] * 5))(network)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    optimizer.step()
    scheduler.step()
    assert [part.learning_rate(0) for part in optimizer.parts] == [0.05, 0.05]


def test_the_state_of_the_optimizer_is_that_of_its_parts():
    network = build()
    optimizer = Solver(Adam, options([0.1] * 5))(network)
    for part in network.parts:
        part.grad_buffer.normal_(generator=torch.Generator().manual_seed(1))
    optimizer.step()
    other = Solver(Adam, options([0.1] * 5))(copy.deepcopy(network))
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for part, loaded in zip(optimizer.parts, other.parts, strict=True):
        assert torch.equal(part.buffers["exp_avg"], loaded.buffers["exp_avg"])
    assert other.steps == optimizer.steps
    optimizer.zero_grad()
    assert not any(part.grad_buffer.any() for part in network.parts)

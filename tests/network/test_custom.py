"""Custom modules on one parameter buffer, against plain training of each module by autograd."""

import copy
import functools
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from sknn import NeuralRegressor
from sknn.network.base import Inputs
from sknn.network.custom import CustomNetwork, build_module, check_factory
from sknn.network.losses import SquaredError
from sknn.network.optimizers import SGD, Adam, MemberOptions

MEMBERS, ROWS, IN, OUT = 3, 6, 4, 2


class Net(nn.Module):
    """A module with parameters, running statistics, an integer buffer, and dropout."""

    def __init__(self, in_features, out_features, dropout=0.0):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(in_features, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(dropout))
        self.head = nn.Linear(5, out_features)

    def forward(self, x):
        return self.head(self.body(x))


def modules(dropout=0.0):
    return [build_module(functools.partial(Net, dropout=dropout), IN, OUT, seed) for seed in range(MEMBERS)]


def network_of(dropout=0.0, dtype=torch.float64):
    return CustomNetwork(modules(dropout), dtype).train()


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(MEMBERS, ROWS, k, dtype=torch.float64, generator=generator) for k in (IN, OUT))


def step(network, numeric, target, members=slice(0, MEMBERS)):
    loss = SquaredError()
    with torch.inference_mode():
        return network.gradients(Inputs(numeric), [], lambda z: loss.gradient(z, target).mul_(1 / ROWS), members)


def member_options():
    return MemberOptions([0.1] * MEMBERS, [0.0] * MEMBERS, [0.0] * MEMBERS, [np.inf] * MEMBERS)


def train(network, steps=4, make=Adam):
    solver = make(network, member_options())
    for i in range(steps):
        step(network, *batch(i))
        solver.step()
    return network.param_buffer.clone()


def assert_bound(network):
    network.param_buffer.copy_(
        torch.arange(network.param_buffer.numel(), dtype=network.param_buffer.dtype).view_as(network.param_buffer)
    )
    network.grad_buffer.copy_(-network.param_buffer)
    for entry in network.entries:
        for m, module in enumerate(network.members):
            get = module.get_parameter if entry.trained else module.get_buffer
            tensor, part = get(entry.name), slice(entry.start, entry.stop)
            assert torch.equal(tensor.flatten(), network.param_buffer[m, part]), entry.name
            if entry.trained:
                assert torch.equal(tensor.grad.flatten(), network.grad_buffer[m, part]), entry.name


def test_parameters_and_floating_buffers_become_views_of_the_buffer_with_their_values():
    network, originals = network_of(), modules()
    kinds = {entry.name: (entry.trained, entry.decayed) for entry in network.entries}
    assert kinds == {
        "body.0.weight": (True, True),
        "body.0.bias": (True, False),
        "body.1.weight": (True, False),
        "body.1.bias": (True, False),
        "head.weight": (True, True),
        "head.bias": (True, False),
        "body.1.running_mean": (False, False),
        "body.1.running_var": (False, False),
    }
    for module, original in zip(network.members, originals, strict=True):
        for name, value in original.state_dict().items():
            expected = value.double() if value.is_floating_point() else value
            assert torch.equal(module.state_dict()[name], expected), name
    assert_bound(network)


def test_a_step_has_the_outputs_gradients_and_statistics_of_plain_autograd():
    network, originals = network_of(), [module.double().train() for module in modules()]
    for i in range(2):  # nothing of the first step's gradients remains in the second
        numeric, target = batch(i)
        z = step(network, numeric, target)
        for m, module in enumerate(originals):
            module.zero_grad()
            output = module(numeric[m])
            (0.5 * (output - target[m]) ** 2).sum(1).mean().backward()
            torch.testing.assert_close(z[m].clone(), output.detach())
            for entry in network.entries:
                if entry.trained:
                    actual = network.view(network.grad_buffer, entry)[m]
                    torch.testing.assert_close(actual, module.get_parameter(entry.name).grad)
                else:
                    actual = network.view(network.param_buffer, entry)[m]
                    torch.testing.assert_close(actual, module.get_buffer(entry.name))
    assert {int(module.body[1].num_batches_tracked) for module in network.members} == {2}


def test_training_agrees_with_plain_training_of_each_module():
    network = network_of()
    train(network, make=functools.partial(SGD, momentum=0.0, nesterov=False))
    for m, module in enumerate(modules()):
        module = module.double().train()
        solver = torch.optim.SGD(module.parameters(), lr=0.1)
        for i in range(4):
            numeric, target = batch(i)
            solver.zero_grad()
            (0.5 * (module(numeric[m]) - target[m]) ** 2).sum(1).mean().backward()
            solver.step()
        for name, value in module.state_dict().items():
            torch.testing.assert_close(network.members[m].state_dict()[name], value)


def test_a_step_of_some_members_does_not_change_the_others():
    network = network_of()
    numeric, target = batch()
    z = step(network, numeric[1:2], target[1:2], slice(1, 2))
    assert z.shape == (1, ROWS, OUT)
    assert network.grad_buffer.any(1).tolist() == [False, True, False]


def test_outputs_agree_with_the_modules_and_with_forward():
    network = network_of().eval()
    numeric = batch()[0][:1].expand(MEMBERS, -1, -1)
    expected = torch.stack([module.double().eval()(numeric[0]) for module in modules()]).detach()
    with torch.inference_mode():
        torch.testing.assert_close(network.outputs(Inputs(numeric)), expected)
        assert torch.equal(network.outputs(Inputs(numeric[1:]), slice(1, 3)), network.outputs(Inputs(numeric))[1:])
    torch.testing.assert_close(network(numeric[0]).detach(), expected)


def test_outputs_with_other_parameters_do_not_change_the_network():
    network = network_of().eval()
    before, numeric = network.param_buffer.clone(), batch()[0]
    with torch.inference_mode():
        expected = network.outputs(Inputs(numeric))
        actual = network.outputs(Inputs(numeric), param_buffer=network.param_buffer * 0)
    assert not actual.any()
    assert expected.any()
    assert torch.equal(network.param_buffer, before)


def test_each_member_draws_noise_from_its_own_generator():
    network = network_of(dropout=0.5)
    network.seed([5, 6, 7])
    numeric, target = batch()
    first, second = (step(network, numeric, target).clone() for _ in range(2))
    assert not torch.equal(first, second)
    for m, seed in enumerate([5, 6, 7]):
        module = modules(dropout=0.5)[m].double().train()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            expected = [module(numeric[m]).detach() for _ in range(2)]
        torch.testing.assert_close([first[m], second[m]], expected)


def test_the_noise_of_a_member_does_not_depend_on_other_members():
    numeric, target = batch()
    joint, single = network_of(dropout=0.5), network_of(dropout=0.5)
    joint.seed([5, 6, 7])
    single.seed([5, 6, 7])
    z = step(joint, numeric, target)
    assert torch.equal(step(single, numeric[2:], target[2:], slice(2, 3))[0], z[2])


def test_torchs_global_random_state_does_not_change():
    network = network_of(dropout=0.5)
    network.seed([5, 6, 7])
    before = torch.get_rng_state()
    step(network, *batch())
    modules()
    assert torch.equal(torch.get_rng_state(), before)


class Waiting(nn.Module):
    """A module that waits between two draws, both when it is built and in each training step."""

    def __init__(self, in_features, out_features, wait):
        super().__init__()
        self.body = nn.Linear(in_features, 5)
        wait()
        self.head = nn.Linear(5, out_features)
        self.wait = wait

    def forward(self, x):
        x = self.body(nn.functional.dropout(x, 0.2, self.training))
        if self.training:
            self.wait()
        return self.head(nn.functional.dropout(x.tanh(), 0.5, self.training))


TABLE = np.random.default_rng(0).normal(size=(60, IN))


def fitted(wait):
    settings = {"ensemble_size": 2, "max_iter": 3, "batch_size": 20, "early_stopping": False, "n_threads": 1}
    module = functools.partial(Waiting, wait=wait)
    return NeuralRegressor(module=module, random_state=0, **settings).fit(TABLE, TABLE[:, 0] * TABLE[:, 1])


def test_fits_in_four_threads_agree_with_one_fit():
    expected = fitted(lambda: None).predict(TABLE)
    meeting = threading.Barrier(4, timeout=60)
    with ThreadPoolExecutor(4) as pool:
        fits = list(pool.map(fitted, [meeting.wait] * 4))
    for fit in fits:
        np.testing.assert_array_equal(fit.predict(TABLE), expected)


def test_a_fit_does_not_change_the_numbers_that_another_thread_draws():
    drawn, expected = [], fitted(lambda: None).predict(TABLE)
    with torch.random.fork_rng(), ThreadPoolExecutor(1) as other:
        torch.manual_seed(8)
        fit = fitted(lambda: drawn.append(other.submit(torch.rand, 2).result()))
        after = torch.get_rng_state()
        torch.manual_seed(8)
        for numbers in drawn:
            assert torch.equal(torch.rand(2), numbers)
        assert torch.equal(torch.get_rng_state(), after)
    np.testing.assert_array_equal(fit.predict(TABLE), expected)
    assert len(drawn) == 2 + 2 * 3 * 3  # two members when built, then batches x epochs for each member


MOVES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda network: pickle.loads(pickle.dumps(network)),
    "float_and_back": lambda network: network.float().double(),
    "to": lambda network: network.to("cpu", torch.float64),
    "bind_views": lambda network: (network.bind_views(network.param_buffer.clone()), network)[1],
}
every_move = pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)


@every_move
def test_after_a_move_every_parameter_is_a_view_of_the_buffer_and_training_continues(move):
    network, moved = network_of(), move(network_of())
    assert torch.equal(moved.param_buffer, network.param_buffer)
    assert {module.training for module in moved.modules()} == {True}
    assert torch.equal(train(moved), train(network))
    assert not torch.equal(moved.param_buffer, network_of().param_buffer)
    assert_bound(moved)


@every_move
def test_after_a_move_a_frozen_parameter_stays_frozen(move):
    network = network_of()
    for module in network.members:
        module.head.weight.requires_grad_(False)
    weight = network.members[0].head.weight.detach().clone()
    moved = move(network)
    assert [entry.name for entry in moved.entries if moved.is_frozen(entry)] == ["head.weight"]
    train(moved)
    assert torch.equal(moved.members[0].head.weight, weight)


def test_a_copy_continues_with_the_random_states_of_the_original():
    network = network_of(dropout=0.5)
    network.seed([5, 6, 7])
    step(network, *batch())
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(step(other, *batch()), step(copy.deepcopy(network), *batch()))


def test_a_copy_shares_no_memory_with_the_original():
    network = network_of()
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        other.param_buffer.zero_()
        assert network.param_buffer.any()


def test_a_state_saved_and_loaded_by_safetensors_gives_the_same_network(tmp_path):
    network, other = network_of(), CustomNetwork([Net(IN, OUT) for _ in range(MEMBERS)], torch.float64)
    safetensors.torch.save_file(network.state_dict(), tmp_path / "network.safetensors")
    other.load_state_dict(safetensors.torch.load_file(tmp_path / "network.safetensors"))
    assert torch.equal(other.param_buffer, network.param_buffer)
    assert_bound(other)


def test_initial_weights_of_a_module_depend_only_on_the_seed():
    first = build_module(Net, IN, OUT, 0)
    torch.rand(3)
    again, other = build_module(Net, IN, OUT, 0), build_module(Net, IN, OUT, 1)
    assert torch.equal(first.head.weight, again.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_a_factory_that_returns_no_module_raises():
    message = (
        r"module=<.*> has to return a torch\.nn\.Module when called as module\(in_features, out_features\); got tuple\."
    )
    with pytest.raises(TypeError, match=message):
        build_module(lambda in_features, out_features: (in_features, out_features), IN, OUT, 0)


def test_a_module_without_parameters_raises():
    with pytest.raises(ValueError, match=r"^module=<function .*> returned a module without parameters to train\.$"):
        build_module(lambda in_features, out_features: nn.ReLU(), IN, OUT, 0)


def test_an_instance_in_place_of_a_factory_raises():
    message = (
        r"^module has to be a class or function that builds the network, called as module\(in_features, "
        r"out_features\) at fit; got an instance of Linear\. Pass the class, or a function that returns a new "
        r"instance\.$"
    )
    with pytest.raises(TypeError, match=message):
        check_factory(nn.Linear(IN, OUT))


def test_a_factory_that_does_not_accept_two_sizes_raises():
    message = r"^module=<function .*> has to accept two arguments, module\(in_features, out_features\): too many"
    with pytest.raises(TypeError, match=message):
        check_factory(lambda in_features: nn.Linear(in_features, 1))


@pytest.mark.parametrize("factory", [Net, functools.partial(Net, dropout=0.1), lambda a, b: nn.Linear(a, b), nn.Linear])
def test_callables_that_accept_two_sizes_are_factories(factory):
    check_factory(factory)
    assert isinstance(build_module(factory, IN, OUT, 0), nn.Module)

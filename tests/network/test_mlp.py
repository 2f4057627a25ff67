"""Whole networks: gradients against autograd, single against joint training, and the buffer after moves and copies."""

import copy
import pickle

import numpy as np
import pytest
import safetensors.torch
import torch
from sklearn.datasets import make_classification
from sklearn.neural_network import MLPClassifier

from sknn.network.activations import ACTIVATIONS
from sknn.network.base import EnsembleNetwork, Inputs
from sknn.network.embeddings import NUMERIC_EMBEDDINGS
from sknn.network.layers import Dropout
from sknn.network.losses import BinaryCrossEntropy, Pinball, SoftmaxCrossEntropy, SquaredError
from sknn.network.mlp import MLP
from sknn.network.optimizers import SGD, Adam, MemberOptions

MEMBERS, ROWS, N_NUMERIC, LEVELS = 3, 8, 4, (3, 2)
EDGES = [torch.linspace(-2, 2, 6), torch.linspace(-1, 1, 3)]

BUILT = {
    "no_hidden_layer": {"hidden": ()},
    "one_layer": {"hidden": (5,)},
    "one_output": {"hidden": (5, 4), "n_outputs": 1},
    "wide_and_deep": {"hidden": (6, 5, 4), "activation": "tanh"},
    "batch_norm": {"hidden": (5, 4), "batch_norm": True, "activation": "silu"},
    "dropout": {"hidden": (5, 4), "dropout": (0.5, 0.2)},
    "dropout_of_one_layer": {"hidden": (5, 4), "dropout": (0.0, 0.2)},
    "categories": {"hidden": (5,), "n_levels": LEVELS},
    "target_means": {"hidden": (5,), "n_levels": LEVELS, "n_means": 2},
    "scaled": {"hidden": (5, 4), "input_scale": True},
    "scaled_embeddings": {"hidden": (5,), "n_levels": LEVELS, "input_scale": True, "weight_init": "normal"},
    "everything": {
        "hidden": (6, 5),
        "activation": "mish",
        "batch_norm": True,
        "dropout": (0.3, 0.1),
        "numeric_embedding": "periodic",
        "n_embedded": 2,
        "n_levels": LEVELS,
    },
}
BUILT |= {
    f"{name}_of_some": {"hidden": (5,), "numeric_embedding": name, "n_embedded": 2} for name in NUMERIC_EMBEDDINGS
}
BUILT |= {f"{name}_of_all": {"hidden": (5,), "numeric_embedding": name, "n_embedded": 4} for name in NUMERIC_EMBEDDINGS}
BUILT |= {name: {"hidden": (5, 4), "activation": name} for name in ACTIVATIONS}

every_network = pytest.mark.parametrize("name", BUILT)


def build(name, n_members=MEMBERS, dtype=torch.float64):
    options = {"n_outputs": 3} | BUILT[name]
    network = MLP(n_members, N_NUMERIC, dtype=dtype, **options)
    edges = EDGES * 2 if name == "piecewise_linear_of_all" else EDGES
    network.reset([torch.Generator().manual_seed(m) for m in range(n_members)], edges)
    return network.train()


def batch(network, seed=0, n_rows=ROWS):
    """Return inputs, targets, each row's share of the weight, and dropout noise."""
    generator, like = torch.Generator().manual_seed(seed), {"dtype": network.param_buffer.dtype}
    m, k = network.n_members, network.linears()[-1][1].shape[1]
    numeric = torch.randn(m, n_rows, N_NUMERIC, generator=generator, **like)
    codes = None
    if network.categorical is not None:
        codes = torch.stack([torch.randint(n, (m, n_rows), generator=generator) for n in LEVELS], 2)
    target = torch.rand(m, n_rows, k, generator=generator, **like).softmax(2)
    share = torch.rand(m, n_rows, 1, generator=generator, **like)
    noise = [
        (torch.rand(m, n_rows, width, generator=generator, **like) >= rate) / (1 - rate)
        for width, rate in (*network.category_dropout(), *network.dropout_rates())
    ]
    return (
        Inputs(numeric, codes),
        target,
        share / share.sum(1, keepdim=True),
        [t.to(network.param_buffer.dtype) for t in noise],
    )


def step(network, loss, inputs, target, share, noise, members=slice(0, None)):
    """Compute gradients as the training loop does, and return the outputs."""
    members = slice(*members.indices(network.n_members)[:2])
    with torch.inference_mode():
        x = network.prepare(inputs)
        return network.gradients(x, noise, lambda z: loss.gradient(z, target).mul_(share), members)


def by_autograd(network, loss, inputs, target, share, noise):
    """Return outputs and gradients of autograd through the layers as modules, with this noise in place of dropout."""
    x, noise = inputs.numeric, iter(noise)
    parts = [x[..., network.n_embedded :]]
    if network.numeric is not None:
        parts.insert(0, network.numeric(x[..., : network.n_embedded]))
    if network.categorical is not None:
        parts.append(network.categorical(torch.where(next(noise) > 0, inputs.codes, 0)))
    z = torch.cat(parts, 2)
    for layer in network.layers:
        z = z * next(noise) if isinstance(layer, Dropout) else layer(z)
    total = (loss.values(z, target) * share).sum()
    entries = [entry for entry in network.entries if entry.trained]
    grads = torch.autograd.grad(total, [network.parameter_of(entry) for entry in entries])
    return z, dict(zip(entries, grads, strict=True))


LOSSES = {
    "softmax": SoftmaxCrossEntropy(),
    "binary": BinaryCrossEntropy(),
    "squared_error": SquaredError(),
    "quantiles": Pinball((0.1, 0.5, 0.9)),
}


def gradients_agree(network, loss, args):
    expected, by_entry = by_autograd(network, loss, *args)
    z = step(network, loss, *args)
    torch.testing.assert_close(z.clone(), expected.detach(), rtol=1e-10, atol=1e-12)
    for entry in network.entries:
        actual = network.view(network.grad_buffer, entry)
        entry_grad = by_entry.get(entry, torch.zeros_like(actual))  # the gradients of statistics stay 0
        torch.testing.assert_close(actual, entry_grad, rtol=1e-8, atol=1e-11, msg=lambda text, e=entry: f"{e}: {text}")
    return bool(network.grad_buffer.any())


@every_network
def test_gradients_agree_with_autograd(name):
    network = build(name)
    assert gradients_agree(network, SquaredError(), batch(network))
    assert gradients_agree(
        network, SquaredError(), batch(network, seed=1, n_rows=5)
    )  # nothing of the first batch remains


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_gradients_agree_with_autograd_for_every_kind_of_loss(loss):
    network = build("everything")
    assert gradients_agree(network, loss, batch(network))


@pytest.mark.parametrize("name", ["wide_and_deep", "batch_norm", "periodic_of_some", "piecewise_linear_of_some"])
def test_gradients_agree_with_finite_differences_of_the_loss(name):
    network = build(name)
    args = inputs, target, share, _ = batch(network)
    direction = torch.randn(network.param_buffer.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    direction *= network.column_mask(lambda entry: entry.trained)
    step(network, SquaredError(), *args)
    slope = (network.grad_buffer * direction).sum()

    def loss_at(distance):
        with torch.inference_mode():
            z = network.outputs(network.prepare(inputs), param_buffer=network.param_buffer + distance * direction)
            return (SquaredError().values(z, target) * share).sum()

    difference = (loss_at(1e-6) - loss_at(-1e-6)) / 2e-6
    torch.testing.assert_close(slope, difference, rtol=1e-6, atol=1e-8)


def test_a_step_of_some_members_does_not_change_the_gradients_of_others():
    network = build("everything")
    inputs, target, share, noise = batch(network)
    step(network, SquaredError(), inputs, target, share, noise)
    whole = network.grad_buffer.clone()
    network.grad_buffer.zero_()
    part = Inputs(inputs.numeric[1:], inputs.codes[1:])
    step(network, SquaredError(), part, target[1:], share[1:], [t[1:] for t in noise], slice(1, 3))
    torch.testing.assert_close(network.grad_buffer[1:], whole[1:], rtol=1e-10, atol=1e-12)
    assert not network.grad_buffer[0].any()


def exact_networks():
    for n_outputs in (1, 2, 3, 5, 10):
        for hidden in ((10,), (32, 10), (100,)):
            yield n_outputs, hidden


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("n_rows", [1, 2, 5, 9, 15, 31, 32])
def test_a_member_has_the_same_bits_singly_and_jointly(n_rows, threads):
    before, different = torch.get_num_threads(), []
    torch.set_num_threads(threads)
    for n_outputs, hidden in exact_networks():
        network, single = (MLP(n, 10, n_outputs, hidden, "silu", batch_norm=len(hidden) > 1) for n in (4, 1))
        network.reset([torch.Generator().manual_seed(m) for m in range(4)])
        generator = torch.Generator().manual_seed(0)
        numeric = torch.randn(4, n_rows, 10, generator=generator)
        target = torch.rand(4, n_rows, n_outputs, generator=generator)
        last = slice(3, 4)
        single.load_row(0, network.param_buffer[3])
        z = step(network, BinaryCrossEntropy(), Inputs(numeric), target, 1 / n_rows, [])
        single_z = step(
            single, BinaryCrossEntropy(), Inputs(numeric[last].clone()), target[last].clone(), 1 / n_rows, []
        )
        same = torch.equal(z[last], single_z) and torch.equal(network.grad_buffer[last], single.grad_buffer)
        if not (same and torch.equal(network.param_buffer[last], single.param_buffer)):
            different.append((n_outputs, hidden))
    torch.set_num_threads(before)
    assert different == []


@every_network
def test_forward_agrees_with_outputs(name):
    network = build(name).eval()
    inputs = batch(network)[0]
    with torch.inference_mode():
        expected = network.outputs(network.prepare(inputs))
    torch.testing.assert_close(network(inputs.numeric, inputs.codes).detach(), expected.clone())


@pytest.mark.parametrize("name", ["one_layer", "everything", "categories"])
def test_rows_without_a_members_axis_go_to_every_member(name):
    network = build(name).eval()
    inputs = batch(network)[0]
    one = Inputs(inputs.numeric[0], None if inputs.codes is None else inputs.codes[0])
    many = one.for_members(MEMBERS)
    actual = network(one.numeric, one.codes)
    assert actual.shape == (MEMBERS, ROWS, 3)
    assert torch.equal(actual, network(many.numeric, many.codes))


def test_outputs_have_the_precision_of_the_parameters_passed():
    network = build("everything").eval()
    inputs = batch(network)[0]
    low = Inputs(inputs.numeric.float(), inputs.codes)
    with torch.inference_mode():
        expected = network.outputs(network.prepare(inputs))
        actual = network.outputs(network.prepare(low), param_buffer=network.param_buffer.float())
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual.double(), expected, rtol=1e-4, atol=1e-5)


def test_outputs_agree_with_scikit_learns_mlp_with_the_same_weights():
    X, y = make_classification(50, N_NUMERIC, n_informative=3, n_redundant=0, n_classes=3, random_state=0)
    X = X.astype(float)
    mlp = MLPClassifier((5, 4), activation="tanh", max_iter=1).partial_fit(X, y, classes=[0, 1, 2])
    network = MLP(1, N_NUMERIC, 3, (5, 4), "tanh", dtype=torch.float64)
    for entries, w, b in zip(network.linears(), mlp.coefs_, mlp.intercepts_, strict=True):
        for entry, value in zip(entries, (w, b), strict=True):
            network.view(network.param_buffer, entry)[0] = torch.from_numpy(value)
    actual = network(torch.from_numpy(X))[0].softmax(1).detach().numpy()
    np.testing.assert_allclose(actual, mlp.predict_proba(X), rtol=1e-10)


@every_network
def test_initial_weights_of_a_member_depend_only_on_its_generator(name):
    network, single = build(name), build(name, 1)
    single.reset([torch.Generator().manual_seed(2)], EDGES * 2 if name == "piecewise_linear_of_all" else EDGES)
    assert torch.equal(network.param_buffer[2], single.param_buffer[0])
    assert not torch.equal(network.param_buffer[0], network.param_buffer[1])


@pytest.mark.parametrize(("activation", "factor"), [("logistic", 2), ("relu", 6), ("tanh", 6)])
def test_initial_weights_lie_within_scikit_learns_limit(activation, factor):
    network = MLP(1, 50, 1, (100,), activation)
    network.reset([torch.Generator().manual_seed(0)])
    bound = np.sqrt(factor / 150)
    assert 0.99 * bound < network.layers[0].weight.abs().max().item() <= bound


def test_all_hidden_layers_have_a_dropout_rate_if_one_is_positive():
    assert build("dropout").dropout_rates() == [(5, 0.5), (4, 0.2)]
    assert build("dropout_of_one_layer").dropout_rates() == [(5, 0.0), (4, 0.2)]
    assert build("one_layer").dropout_rates() == []


def test_every_entry_of_a_row_starts_on_a_cache_line_and_none_overlap():
    network = build("everything")
    starts = [entry.start for entry in network.entries]
    assert all(start % 16 == 0 for start in (*starts, network.param_buffer.shape[1]))
    ends = [entry.stop for entry in network.entries]
    assert all(stop <= start for stop, start in zip(ends, [*starts[1:], network.param_buffer.shape[1]], strict=True))
    counts = network.column_mask(lambda entry: True).sum().item()
    assert counts * MEMBERS == sum(t.numel() for t in (*network.parameters(), *network.buffers())) - len(LEVELS)


# --- The buffer and its views -----------------------------------------------------------------------------------------


def loaded_into_another(network):
    other = MLP(**network.init_args)
    other.load_state_dict(network.state_dict())
    if not network.layers[0].weight.requires_grad:
        other.layers[0].weight.requires_grad_(False)
    return other


def selected(network):
    network.select(list(range(MEMBERS)))
    return network


MOVES = {
    "double": lambda network: network.double(),
    "to": lambda network: network.to("cpu", torch.float64),
    "float_and_back": lambda network: network.float().double(),
    "deepcopy": copy.deepcopy,
    "pickle": lambda network: pickle.loads(pickle.dumps(network)),
    "load_state_dict": loaded_into_another,
    "select": selected,
    "bind_views": lambda network: (network.bind_views(network.param_buffer.clone()), network)[1],
}
every_move = pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)


def exact_in_float32(network):
    network.param_buffer.copy_(network.param_buffer.float())
    return network


def train(network, steps=3):
    solver = Adam(
        network,
        MemberOptions(
            [0.01] * network.n_members, [0.1] * network.n_members, [0.1] * network.n_members, [1.0] * network.n_members
        ),
    )
    for i in range(steps):
        step(network, SquaredError(), *batch(network, seed=i))
        solver.add_l2_gradient(1 / ROWS, slice(0, network.n_members))
        solver.step()
    return network.param_buffer.clone()


def assert_bound(network):
    """Assert that parameters, gradients and statistics are views of the buffers, for reading and for writing."""
    for buffer, tensor_of in (
        (network.param_buffer, network.parameter_of),
        (network.grad_buffer, lambda e: network.parameter_of(e).grad),
    ):
        before = buffer.clone()
        buffer.copy_(torch.arange(buffer.numel(), dtype=buffer.dtype).view_as(buffer))
        for entry in network.entries:
            if entry.trained or buffer is network.param_buffer:
                assert torch.equal(tensor_of(entry), network.view(buffer, entry)), entry
        buffer.copy_(before)


@every_move
def test_after_a_move_every_parameter_is_a_view_of_the_buffer_and_training_continues(move):
    network = exact_in_float32(build("everything"))
    moved = move(exact_in_float32(build("everything")))
    assert torch.equal(moved.param_buffer, network.param_buffer)
    assert moved.training == network.training
    assert_bound(moved)
    assert torch.equal(train(moved), train(network))
    assert not torch.equal(moved.param_buffer, exact_in_float32(build("everything")).param_buffer)


@every_move
def test_after_a_move_a_frozen_parameter_stays_frozen(move):
    network = exact_in_float32(build("everything"))
    network.layers[0].weight.requires_grad_(False)
    weight = network.layers[0].weight.detach().clone()
    moved = move(network)
    frozen = [entry for entry in moved.entries if moved.is_frozen(entry)]
    assert [(entry.owner, entry.name) for entry in frozen] == [(moved.layers[0], "weight")]
    train(moved)
    assert torch.equal(moved.layers[0].weight, weight)


@pytest.mark.parametrize("training", [True, False])
def test_a_copy_has_the_mode_of_the_original_and_shares_no_memory(training):
    network = build("everything").train(training)
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        other.param_buffer.zero_()
        assert {layer.training for layer in other.modules()} == {training}
        assert network.param_buffer.any()


def test_a_network_moved_to_double_trains_like_one_built_in_double():
    single = build("everything", dtype=torch.float32)
    double = MLP(**(single.init_args | {"dtype": torch.float64}))
    double.bind_views(single.param_buffer.double())
    assert torch.equal(train(double), train(single.double()))


@every_network
def test_selected_members_have_the_same_gradients_as_before(name):
    network, part = build(name), build(name)
    inputs, target, share, noise = batch(network)
    part.select([0, 2])
    assert part.n_members == 2
    assert_bound(part)
    chosen = [0, 2]
    some = Inputs(inputs.numeric[chosen], None if inputs.codes is None else inputs.codes[chosen])
    step(network, SquaredError(), inputs, target, share, noise)
    step(part, SquaredError(), some, target[chosen], share[chosen], [t[chosen] for t in noise])
    torch.testing.assert_close(part.grad_buffer, network.grad_buffer[chosen], rtol=1e-10, atol=1e-12)
    assert copy.deepcopy(part).n_members == 2


def test_a_state_saved_and_loaded_by_safetensors_gives_the_same_network(tmp_path):
    network = build("everything")
    safetensors.torch.save_file(network.state_dict(), tmp_path / "network.safetensors")
    other = MLP(**network.init_args)
    other.load_state_dict(safetensors.torch.load_file(tmp_path / "network.safetensors"))
    assert torch.equal(other.param_buffer, network.param_buffer)


def test_training_does_not_change_a_state_dict():
    network = build("everything")
    state = network.state_dict()
    before = {name: value.clone() for name, value in state.items()}
    train(network)
    assert all(torch.equal(state[name], value) for name, value in before.items())


def test_a_loaded_row_replaces_one_member():
    network, other = build("everything"), build("everything")
    network.load_row(1, other.param_buffer[2])
    assert torch.equal(network.param_buffer, other.param_buffer[[0, 2, 2]])
    assert torch.equal(network.layers[0].weight[1], other.layers[0].weight[2])


def test_autograd_and_an_optimizer_of_torch_can_train_the_network():
    network, other = build("wide_and_deep"), build("wide_and_deep")
    reference = torch.optim.SGD(network.parameters(), lr=0.1)
    solver = SGD(
        other,
        MemberOptions([0.1] * MEMBERS, [0.0] * MEMBERS, [0.0] * MEMBERS, [np.inf] * MEMBERS),
        momentum=0.0,
        nesterov=False,
    )
    for i in range(5):
        args = inputs, target, share, _ = batch(network, seed=i)
        reference.zero_grad()
        (SquaredError().values(network(inputs.numeric), target) * share).sum().backward()
        reference.step()
        step(other, SquaredError(), *args)
        solver.step()
    torch.testing.assert_close(network.param_buffer, other.param_buffer, rtol=1e-10, atol=1e-12)
    assert_bound(other)


def test_the_base_class_raises_its_name_when_pickled():
    with pytest.raises(NotImplementedError, match=r"^EnsembleNetwork$"):
        EnsembleNetwork().__reduce__()

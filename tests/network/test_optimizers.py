"""Solvers against scikit-learn's and torch's, step by step in float64."""

import copy
import math

import numpy as np
import pytest
import torch
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR

from sknn.network.mlp import MLP
from sknn.network.optimizers import SGD, Adam, EnsembleOptimizer, MemberOptions, TorchOptimizer
from tests.common import printed

STEPS = 12

SOLVERS = {
    "adam": Adam,
    "sgd": SGD,
    "rmsprop": lambda network, options: TorchOptimizer(network, options, torch.optim.RMSprop),
    "nadam": lambda network, options: TorchOptimizer(network, options, torch.optim.NAdam),
}
every_solver = pytest.mark.parametrize("make", SOLVERS.values(), ids=SOLVERS)


def make_network(n_members=3, dtype=torch.float64):
    network = MLP(n_members, 4, 2, (5,), batch_norm=True, dtype=dtype)
    network.reset([torch.Generator().manual_seed(m) for m in range(n_members)])
    return network


def member_options(learning_rates, alpha=0.0, weight_decay=0.0, max_norm=math.inf):
    n = len(learning_rates)
    return MemberOptions(list(learning_rates), [alpha] * n, [weight_decay] * n, [max_norm] * n)


def trained(network):
    return [entry for entry in network.entries if entry.trained]


def set_gradients(network, step, members=None):
    """Set gradients that depend only on the step and the member's index; those of statistics stay 0."""
    for k, m in enumerate(members or range(network.n_members)):
        generator = torch.Generator().manual_seed(1000 * step + m)
        for entry in trained(network):
            row = network.view(network.grad_buffer, entry)[k]
            row.copy_(torch.randn(entry.shape, generator=generator, dtype=torch.float64))


def params_and_grads(network, m):
    """Return copies of a member's parameters, and views of its gradients, as numpy arrays."""
    params = [network.view(network.param_buffer, entry)[m].clone().numpy() for entry in trained(network)]
    grads = [network.view(network.grad_buffer, entry)[m].numpy() for entry in trained(network)]
    return params, grads


def assert_rows_are(network, references):
    for m, reference in enumerate(references):
        for entry, actual, expected in zip(trained(network), params_and_grads(network, m)[0], reference, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12, err_msg=f"{m} {entry.name}")


def run(network, solver, first=0, steps=STEPS, members=None):
    for step in range(first, first + steps):
        set_gradients(network, step, members)
        solver.step()


def agrees_with_scikit_learn(solver_of, reference_of, base_rates=(0.1, 0.01, 0.5), before=lambda params, lr, k: None):
    """Compare steps of a solver with scikit-learn's, one for each member; return the largest change of a parameter."""
    network = make_network(len(base_rates))
    start = network.param_buffer.clone()
    references = [params_and_grads(network, m)[0] for m in range(len(base_rates))]
    sklearn_solvers = [reference_of(params, lr) for params, lr in zip(references, base_rates, strict=True)]
    solver = solver_of(network)
    for step in range(STEPS):
        set_gradients(network, step)
        for m, reference in enumerate(sklearn_solvers):
            before(references[m], base_rates[m], network)
            reference.update_params(references[m], params_and_grads(network, m)[1])
        solver.step()
        assert_rows_are(network, references)
    return (network.param_buffer - start).abs().max()


@pytest.mark.parametrize("settings", [{}, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-2}])
def test_adam_agrees_with_scikit_learn(settings):
    moved = agrees_with_scikit_learn(
        lambda network: Adam(network, member_options((0.1, 0.01, 0.5)), **settings),
        lambda params, lr: AdamOptimizer(params, lr, **settings),
    )
    assert moved > 0.1


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd_agrees_with_scikit_learn(momentum, nesterov):
    moved = agrees_with_scikit_learn(
        lambda network: SGD(network, member_options((0.1, 0.01, 0.5)), momentum, nesterov),
        lambda params, lr: SGDOptimizer(params, lr, momentum=momentum, nesterov=nesterov),
    )
    assert moved > 0.1


def test_weight_decay_shrinks_weights_before_the_step_and_no_biases():
    def shrink(params, lr, network):
        for entry, value in zip(trained(network), params, strict=True):
            if entry.decayed:
                value *= 1 - lr * 0.3

    moved = agrees_with_scikit_learn(
        lambda network: Adam(network, member_options((0.1, 0.01, 0.5), weight_decay=0.3)), AdamOptimizer, before=shrink
    )
    assert moved > 0.1
    network = make_network()
    assert {entry.name for entry in network.entries if entry.decayed} == {"weight"}
    assert {entry.owner for entry in network.entries if entry.decayed} == {network.layers[0], network.layers[-1]}


def test_weight_decay_agrees_with_torchs_adamw():
    network = make_network(1)  # a tiny epsilon, because torch adds it after the bias correction
    solver = Adam(network, member_options([0.05], weight_decay=0.2), epsilon=1e-30)
    params = [torch.nn.Parameter(torch.from_numpy(p)) for p in params_and_grads(network, 0)[0]]
    decayed = [p for p, entry in zip(params, trained(network), strict=True) if entry.decayed]
    others = [p for p, entry in zip(params, trained(network), strict=True) if not entry.decayed]
    groups = [{"params": decayed, "weight_decay": 0.2}, {"params": others, "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=0.05, eps=1e-30)
    for step in range(STEPS):
        set_gradients(network, step)
        for p, grad in zip(params, params_and_grads(network, 0)[1], strict=True):
            p.grad = torch.from_numpy(grad.copy())
        reference.step()
        solver.step()
    assert_rows_are(network, [[p.detach().numpy() for p in params]])
    assert reference.state[params[0]]["step"] == STEPS


@pytest.mark.parametrize("weight_sums", [7.0, [7.0, 2.0, 0.5]])
def test_alpha_adds_gradient_and_loss_divided_by_the_weight_sum(weight_sums):
    network = make_network()
    alphas = [0.5, 0.0, 2.0]
    solver = SGD(network, MemberOptions([0.1] * 3, alphas, [0.0] * 3, [math.inf] * 3))
    set_gradients(network, 0)
    before = [params_and_grads(network, m) for m in range(3)]
    before = [(params, [grad.copy() for grad in grads]) for params, grads in before]
    inverse_weight = (
        1 / torch.tensor(weight_sums, dtype=torch.float64) if isinstance(weight_sums, list) else 1 / weight_sums
    )
    penalty = 0.5 * solver.add_l2_gradient(inverse_weight, slice(0, 3)) * inverse_weight
    for m, (alpha, total) in enumerate(zip(alphas, np.broadcast_to(weight_sums, 3), strict=True)):
        expected = 0.0
        for entry, w, old, new in zip(trained(network), *before[m], params_and_grads(network, m)[1], strict=True):
            np.testing.assert_allclose(new, old + entry.decayed * alpha * w / total)
            expected += entry.decayed * 0.5 * alpha * (w**2).sum() / total
        assert penalty[m].item() == pytest.approx(expected)


def test_alpha_of_some_members_does_not_change_the_others():
    network = make_network()
    solver = SGD(network, member_options([0.1] * 3, alpha=1.0))
    set_gradients(network, 0)
    before = network.grad_buffer.clone()
    assert solver.add_l2_gradient(0.5, slice(1, 2)).shape == (1,)
    assert (network.grad_buffer != before).any(1).tolist() == [False, True, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_l2_term_of_a_wide_member_has_the_same_bits_singly_and_jointly_on_two_threads(dtype):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for seed in range(10):
            network = MLP(3, 20, 2, (300, 300), dtype=dtype)
            network.param_buffer.normal_(generator=torch.Generator().manual_seed(seed))
            solver = SGD(network, member_options([0.1] * 3, alpha=1.0))
            joint = solver.add_l2_gradient(1.0, slice(0, 3))
            assert torch.equal(solver.add_l2_gradient(1.0, slice(1, 2)), joint[1:2])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("max_norm", [1e-3, 2.0, 1e3])
def test_clipping_agrees_with_torchs_for_each_member(max_norm):
    network = make_network()
    solver = SGD(network, member_options([0.1] * 3, max_norm=max_norm))
    set_gradients(network, 0)
    network.grad_buffer[1] *= 100
    expected = []
    for m in range(3):
        params = [torch.nn.Parameter(torch.zeros(entry.shape, dtype=torch.float64)) for entry in trained(network)]
        for p, grad in zip(params, params_and_grads(network, m)[1], strict=True):
            p.grad = torch.from_numpy(grad.copy())
        torch.nn.utils.clip_grad_norm_(params, max_norm)
        expected.append([p.grad.numpy() for p in params])
    solver.clip(slice(0, 3))
    for m in range(3):
        for actual, clipped in zip(params_and_grads(network, m)[1], expected[m], strict=True):
            np.testing.assert_allclose(actual, clipped, rtol=1e-12)


def test_clipping_keeps_a_gradient_that_is_nan_and_does_not_change_the_others():
    network = make_network()
    solver = SGD(network, MemberOptions([0.1] * 3, [0.0] * 3, [0.0] * 3, [1.0, 1.0, math.inf]))
    set_gradients(network, 0)
    network.grad_buffer[0, 0] = math.nan
    free = network.grad_buffer[2].clone()
    solver.clip(slice(0, 3))
    assert network.grad_buffer[0].isnan().any()
    assert network.grad_buffer[1].norm().item() == pytest.approx(1.0, rel=1e-5)
    assert torch.equal(network.grad_buffer[2], free)  # its gradients are not clipped


def test_without_alpha_there_is_no_l2_term():
    network = make_network()
    assert SGD(network, member_options([0.1] * 3)).add_l2_gradient(1.0, slice(0, 3)) is None


@every_solver
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_a_member_moves_by_the_same_bits_singly_and_jointly(make, weight_decay):
    learning_rates = (0.1, 0.003, 0.02)
    network = make_network(dtype=torch.float32)
    solver = make(network, member_options(learning_rates, weight_decay=weight_decay))
    starts = network.param_buffer.clone()
    run(network, solver)
    for m, rate in enumerate(learning_rates):
        single = make_network(1, dtype=torch.float32)
        single.load_row(0, starts[m])
        run(single, make(single, member_options([rate], weight_decay=weight_decay)), members=[m])
        assert torch.equal(single.param_buffer[0], network.param_buffer[m])
        assert not torch.equal(starts[m], network.param_buffer[m])


@every_solver
def test_members_that_take_fewer_steps_move_as_in_single_training(make):
    network, single = make_network(), make_network(1)
    single.load_row(0, network.param_buffer[2])
    solver, other = make(network, member_options([0.1] * 3)), make(single, member_options([0.1]))
    for step in range(STEPS):
        set_gradients(network, step)
        set_gradients(single, step, [2])
        solver.advance(slice(0, 2))
        if step % 3 == 0:
            solver.advance(slice(2, 3))
            other.step()
    assert solver.steps == [STEPS, STEPS, STEPS // 3]
    assert torch.equal(single.param_buffer[0], network.param_buffer[2])


SCHEDULERS = {
    "step": (lambda solver: StepLR(solver, 3, gamma=0.1), lambda step: 0.1 ** (step // 3)),
    "cosine": (
        lambda solver: CosineAnnealingLR(solver, T_max=STEPS),
        lambda step: (1 + np.cos(np.pi * step / STEPS)) / 2,
    ),
}


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("make", [SGD, Adam])
def test_a_scheduler_of_torch_scales_every_members_rate(name, make):
    make_scheduler, factor = SCHEDULERS[name]
    reference_of = SGDOptimizer if make is SGD else AdamOptimizer
    base_rates = (0.1, 0.01, 0.5)
    network = make_network()
    solver = make(network, member_options(base_rates))
    scheduler = make_scheduler(solver)
    references = [params_and_grads(network, m)[0] for m in range(3)]
    sklearn_solvers = [reference_of(params, lr) for params, lr in zip(references, base_rates, strict=True)]
    for step in range(STEPS):
        set_gradients(network, step)
        for m, reference in enumerate(sklearn_solvers):
            name_of_rate = "learning_rate" if make is SGD else "learning_rate_init"
            setattr(reference, name_of_rate, base_rates[m] * factor(step))
            reference.update_params(references[m], params_and_grads(network, m)[1])
        solver.step()
        scheduler.step()
    assert_rows_are(network, references)
    assert solver.learning_rate(2) == pytest.approx(0.5 * factor(STEPS), abs=1e-12)


@every_solver
def test_schedule_factor_and_multipliers_scale_the_learning_rate(make):
    network, other = make_network(), make_network()
    solver, expected = make(network, member_options([0.1, 0.2, 0.3])), make(other, member_options([0.05, 0.02, 0.15]))
    solver.set_multipliers([1.0, 0.2, 1.0])
    solver.schedule_factor = 0.5
    assert solver.param_groups[0]["lr"] == pytest.approx(0.05)  # without the multipliers of the members
    assert [solver.learning_rate(m) for m in range(3)] == pytest.approx([0.05, 0.02, 0.15])
    run(network, solver)
    run(other, expected)
    torch.testing.assert_close(network.param_buffer, other.param_buffer, rtol=1e-9, atol=1e-12)


@every_solver
def test_a_rate_set_by_a_scheduler_stays_when_a_member_stops(make):
    """As with skorch's LRScheduler, while early stopping ends one member's training after another's."""
    network = make_network()
    solver = make(network, member_options([0.1, 0.2, 0.4]))
    solver.param_groups[0]["lr"] = 0.05
    solver.set_multipliers([0.0, 1.0, 1.0])
    assert solver.param_groups[0]["lr"] == 0.05
    assert [solver.learning_rate(m) for m in range(3)] == pytest.approx([0.0, 0.1, 0.2])
    solver.set_multipliers([0.0, 0.5, 1.0])
    assert [solver.learning_rate(m) for m in range(3)] == pytest.approx([0.0, 0.05, 0.2])


@every_solver
def test_a_frozen_parameter_does_not_move_and_the_others_do(make):
    network = make_network()
    network.layers[0].weight.requires_grad_(False)
    solver = make(network, member_options([0.1] * 3, weight_decay=0.1))
    start = network.param_buffer.clone()
    run(network, solver)
    moved = {
        (entry.owner, entry.name)
        for entry in network.entries
        if not torch.equal(network.view(network.param_buffer, entry), network.view(start, entry))
    }
    expected = {(entry.owner, entry.name) for entry in trained(network)} - {(network.layers[0], "weight")}
    assert moved == expected


@every_solver
def test_a_parameter_can_be_frozen_and_unfrozen_during_a_training(make):
    network = make_network()
    solver = make(network, member_options([0.1] * 3))
    for frozen in (False, True, False):
        network.layers[0].weight.requires_grad_(not frozen)
        solver.refresh()
        before = network.layers[0].weight.detach().clone()
        run(network, solver, steps=2)
        assert torch.equal(network.layers[0].weight, before) == frozen


@every_solver
def test_selected_members_train_on_as_before(make):
    learning_rates, decay = (0.1, 0.003, 0.02), 0.1
    whole, part = make_network(), make_network()
    one, other = (make(n, member_options(learning_rates, alpha=0.1, weight_decay=decay)) for n in (whole, part))
    for solver in (one, other):
        run(solver.network, solver, steps=3)
        solver.set_multipliers([1.0, 0.5, 0.2])
        solver.schedule_factor = 0.7
    run(whole, one, first=3)
    part.select([1, 2])
    other.select([1, 2])
    run(part, other, first=3, members=[1, 2])
    assert torch.equal(part.param_buffer, whole.param_buffer[1:])
    assert other.steps == one.steps[1:]
    assert [other.learning_rate(m) for m in range(2)] == pytest.approx([one.learning_rate(m) for m in (1, 2)])
    assert other.param_groups[0]["params"][0] is part.layers[0].weight


def test_a_rate_set_by_a_scheduler_stays_after_a_selection():
    network = make_network()
    solver = SGD(network, member_options([0.1, 0.2, 0.4]))
    solver.param_groups[0]["lr"] = 0.01
    assert solver.learning_rate(2) == pytest.approx(0.04)
    network.select([1, 2])
    solver.select([1, 2])
    assert [solver.learning_rate(m) for m in range(2)] == pytest.approx([0.02, 0.04])


@every_solver
def test_a_solver_with_a_loaded_state_continues_identically(make):
    network = make_network(dtype=torch.float32)
    solver = make(network, member_options([0.1, 0.003, 0.02], weight_decay=0.1))
    run(network, solver, steps=4)
    solver.set_multipliers([1.0, 0.2, 1.0])
    solver.schedule_factor = 0.5
    state, again = copy.deepcopy(solver.state_dict()), make_network(dtype=torch.float32)
    again.bind_views(network.param_buffer.clone())
    restored = make(again, member_options([0.1, 0.003, 0.02], weight_decay=0.1))
    restored.load_state_dict(state)
    run(network, solver, first=4)
    run(again, restored, first=4)
    assert torch.equal(network.param_buffer, again.param_buffer)
    assert restored.steps == solver.steps == [4 + STEPS] * 3
    assert restored.param_groups[0]["lr"] == solver.param_groups[0]["lr"]


def test_scratch_buffers_are_not_saved_and_accepted_when_loaded():
    network = make_network()
    solver = Adam(network, member_options([0.1] * 3))
    run(network, solver, steps=2)
    state = solver.state_dict()
    assert set(state["state"]) == {"exp_avg", "exp_avg_sq"}
    solver.load_state_dict(state | {"state": state["state"] | {"direction": torch.ones_like(network.param_buffer)}})


@every_solver
def test_later_steps_do_not_change_a_saved_state(make):
    network = make_network()
    solver = make(network, member_options([0.1] * 3))
    run(network, solver, steps=2)
    state = solver.state_dict()
    before = copy.deepcopy(state)
    run(network, solver, steps=2)
    assert state["param_groups"] == before["param_groups"]


@pytest.mark.parametrize("kind", [torch.optim.RMSprop, torch.optim.NAdam])
def test_an_optimizer_of_torch_agrees_with_one_for_each_member(kind):
    learning_rates = (0.1, 0.003, 0.02)
    network = make_network()
    solver = TorchOptimizer(network, member_options(learning_rates), kind)
    params = [[torch.nn.Parameter(torch.from_numpy(p)) for p in params_and_grads(network, m)[0]] for m in range(3)]
    references = [kind(own, lr=lr) for own, lr in zip(params, learning_rates, strict=True)]
    for step in range(STEPS):
        set_gradients(network, step)
        for m, own in enumerate(params):
            for p, grad in zip(own, params_and_grads(network, m)[1], strict=True):
                p.grad = torch.from_numpy(grad.copy())
            references[m].step()
        solver.step()
    assert_rows_are(network, [[p.detach().numpy() for p in own] for own in params])
    assert not torch.equal(network.param_buffer, make_network().param_buffer)


def test_zero_grad_keeps_the_memory_of_the_gradients():
    network = make_network()
    solver = SGD(network, member_options([0.1] * 3))
    set_gradients(network, 0)
    address = network.layers[0].weight.grad.data_ptr()
    solver.zero_grad()
    assert not network.grad_buffer.any()
    assert network.layers[0].weight.grad.data_ptr() == address


def test_a_closure_raises():
    solver = SGD(make_network(), member_options([0.1] * 3))
    with pytest.raises(ValueError, match=r"^the solvers of sknn take no closure: call network\.gradients before step"):
        solver.step(lambda: 0.0)


def test_the_base_class_raises_the_name_of_a_solver_without_a_method():
    with pytest.raises(NotImplementedError, match=r"^EnsembleOptimizer$"):
        EnsembleOptimizer(make_network(), member_options([0.1] * 3)).step()


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_lr_scales_multiply_the_learning_rates_of_parameters_if_they_are_used(kind):
    moved = []
    for use_lr_scales in (False, True):
        network = MLP(1, 4, 2, (3,), input_scale=True, weight_init="normal")
        network.reset([torch.Generator().manual_seed(0)])
        before = network.param_buffer.clone()
        solver = kind(network, member_options([0.1]), use_lr_scales=use_lr_scales)
        with torch.no_grad():
            network.grad_buffer.fill_(1.0)
        solver.step()
        moved.append(network.param_buffer - before)
    for entry in network.entries:
        plain, scaled = (network.view(change, entry) for change in moved)
        torch.testing.assert_close(scaled, plain * entry.lr_scale, rtol=1e-4, atol=1e-6)
    assert {entry.name: entry.lr_scale for entry in network.entries} == {"weight": 1.0, "bias": 0.3, "scale": 6.0}


def test_new_multipliers_overwrite_the_old_rates_in_place():
    network = make_network()
    solver = Adam(network, member_options([0.1] * network.n_members))
    views, generation = solver.views(slice(0, 1)), solver.generation
    solver.set_multipliers([0.5] * network.n_members)
    assert solver.views(slice(0, 1)) is views
    assert solver.generation == generation
    assert views.lr.flatten()[0].item() == pytest.approx(0.05)
    network.to(torch.float64).to(torch.float32)  # which allocates new memory
    solver.refresh()
    assert solver.generation == generation + 1
    assert solver.views(slice(0, 1)).grads.data_ptr() == network.grad_buffer.data_ptr()


def test_a_first_fit_does_not_import_torchs_compiler():
    """`torch.optim.Optimizer.add_param_group` would import it, which takes more than a second."""
    code = """
import sys
from sklearn.datasets import load_iris
from sknn import NeuralClassifier
NeuralClassifier(max_iter=1).fit(*load_iris(return_X_y=True))
print("torch._dynamo" in sys.modules)
"""
    assert printed("-c", code).strip() == "False"

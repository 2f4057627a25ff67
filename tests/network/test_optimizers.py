"""Solvers against those of scikit-learn and torch, step by step in float64."""

import copy
import math

import numpy as np
import pytest
import torch
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR

from sknn.network.mlp import MLP
from sknn.network.optimizers import SGD, Adam, EnsembleOptimizer, Rates, TorchOptimizer
from tests.common import printed

STEPS = 12

SOLVERS = {
    "adam": Adam,
    "sgd": SGD,
    "rmsprop": lambda network, rates: TorchOptimizer(network, rates, torch.optim.RMSprop),
    "nadam": lambda network, rates: TorchOptimizer(network, rates, torch.optim.NAdam),
}
every_solver = pytest.mark.parametrize("make", SOLVERS.values(), ids=SOLVERS)


def make_network(n_members=3, dtype=torch.float64):
    network = MLP(n_members, 4, 2, (5,), batch_norm=True, dtype=dtype)
    network.reset([torch.Generator().manual_seed(m) for m in range(n_members)])
    return network


def rates(learning_rates, alpha=0.0, weight_decay=0.0, max_norm=math.inf):
    n = len(learning_rates)
    return Rates(list(learning_rates), [alpha] * n, [weight_decay] * n, [max_norm] * n)


def trained(network):
    return [entry for entry in network.entries if entry.trained]


def set_gradients(network, step, members=None):
    """Gradients that depend on the step and on the member's number only; those of statistics stay 0."""
    for k, m in enumerate(members or range(network.n_members)):
        generator = torch.Generator().manual_seed(1000 * step + m)
        for entry in trained(network):
            row = network.view(network.grad_buffer, entry)[k]
            row.copy_(torch.randn(entry.shape, generator=generator, dtype=torch.float64))


def numbers(network, m):
    """Copies of a member's parameters, and views of its gradients, as numpy arrays."""
    params = [network.view(network.param_buffer, entry)[m].clone().numpy() for entry in trained(network)]
    grads = [network.view(network.grad_buffer, entry)[m].numpy() for entry in trained(network)]
    return params, grads


def assert_rows_are(network, references):
    for m, reference in enumerate(references):
        for entry, mine, expected in zip(trained(network), numbers(network, m)[0], reference, strict=True):
            np.testing.assert_allclose(mine, expected, rtol=1e-9, atol=1e-12, err_msg=f"{m} {entry.name}")


def run(network, solver, first=0, steps=STEPS, members=None):
    for step in range(first, first + steps):
        set_gradients(network, step, members)
        solver.step()


def agrees_with_scikit_learn(solver_of, reference_of, base_rates=(0.1, 0.01, 0.5), before=lambda params, lr, k: None):
    """Step a solver and scikit-learn's, a member each, with the same gradients; return the largest move."""
    network = make_network(len(base_rates))
    start = network.param_buffer.clone()
    references = [numbers(network, m)[0] for m in range(len(base_rates))]
    theirs = [reference_of(params, lr) for params, lr in zip(references, base_rates, strict=True)]
    solver = solver_of(network)
    for step in range(STEPS):
        set_gradients(network, step)
        for m, reference in enumerate(theirs):
            before(references[m], base_rates[m], network)
            reference.update_params(references[m], numbers(network, m)[1])
        solver.step()
        assert_rows_are(network, references)
    return (network.param_buffer - start).abs().max()


@pytest.mark.parametrize("settings", [{}, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-2}])
def test_adam_is_scikit_learns(settings):
    moved = agrees_with_scikit_learn(
        lambda network: Adam(network, rates((0.1, 0.01, 0.5)), **settings),
        lambda params, lr: AdamOptimizer(params, lr, **settings),
    )
    assert moved > 0.1


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd_is_scikit_learns(momentum, nesterov):
    moved = agrees_with_scikit_learn(
        lambda network: SGD(network, rates((0.1, 0.01, 0.5)), momentum, nesterov),
        lambda params, lr: SGDOptimizer(params, lr, momentum=momentum, nesterov=nesterov),
    )
    assert moved > 0.1


def test_weight_decay_shrinks_weights_by_the_rate_before_the_step_and_biases_not_at_all():
    def shrink(params, lr, network):
        for entry, value in zip(trained(network), params, strict=True):
            if entry.decayed:
                value *= 1 - lr * 0.3

    moved = agrees_with_scikit_learn(
        lambda network: Adam(network, rates((0.1, 0.01, 0.5), weight_decay=0.3)), AdamOptimizer, before=shrink
    )
    assert moved > 0.1
    network = make_network()
    assert {entry.name for entry in network.entries if entry.decayed} == {"weight"}
    assert {entry.owner for entry in network.entries if entry.decayed} == {network.layers[0], network.layers[-1]}


def test_weight_decay_is_that_of_torchs_adamw():
    network = make_network(1)  # with an epsilon of almost nothing, it does not matter where it is added
    mine = Adam(network, rates([0.05], weight_decay=0.2), epsilon=1e-30)
    params = [torch.nn.Parameter(torch.from_numpy(p)) for p in numbers(network, 0)[0]]
    decayed = [p for p, entry in zip(params, trained(network), strict=True) if entry.decayed]
    others = [p for p, entry in zip(params, trained(network), strict=True) if not entry.decayed]
    groups = [{"params": decayed, "weight_decay": 0.2}, {"params": others, "weight_decay": 0.0}]
    torchs = torch.optim.AdamW(groups, lr=0.05, eps=1e-30)
    for step in range(STEPS):
        set_gradients(network, step)
        for p, grad in zip(params, numbers(network, 0)[1], strict=True):
            p.grad = torch.from_numpy(grad.copy())
        torchs.step()
        mine.step()
    assert_rows_are(network, [[p.detach().numpy() for p in params]])
    assert torchs.state[params[0]]["step"] == STEPS


@pytest.mark.parametrize("weight_sums", [7.0, [7.0, 2.0, 0.5]])
def test_alpha_adds_its_gradient_and_its_loss_divided_by_the_weight_sum(weight_sums):
    network = make_network()
    alphas = [0.5, 0.0, 2.0]
    solver = SGD(network, Rates([0.1] * 3, alphas, [0.0] * 3, [math.inf] * 3))
    set_gradients(network, 0)
    before = [numbers(network, m) for m in range(3)]
    before = [(params, [grad.copy() for grad in grads]) for params, grads in before]
    given = 1 / torch.tensor(weight_sums, dtype=torch.float64) if isinstance(weight_sums, list) else 1 / weight_sums
    penalty = 0.5 * solver.add_l2_gradient(given, slice(0, 3)) * given
    for m, (alpha, total) in enumerate(zip(alphas, np.broadcast_to(weight_sums, 3), strict=True)):
        expected = 0.0
        for entry, w, old, new in zip(trained(network), *before[m], numbers(network, m)[1], strict=True):
            np.testing.assert_allclose(new, old + entry.decayed * alpha * w / total)
            expected += entry.decayed * 0.5 * alpha * (w**2).sum() / total
        assert penalty[m].item() == pytest.approx(expected)


def test_alpha_of_some_members_leaves_the_others_alone():
    network = make_network()
    solver = SGD(network, rates([0.1] * 3, alpha=1.0))
    set_gradients(network, 0)
    before = network.grad_buffer.clone()
    assert solver.add_l2_gradient(0.5, slice(1, 2)).shape == (1,)
    assert (network.grad_buffer != before).any(1).tolist() == [False, True, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_penalty_of_a_wide_member_has_the_same_bits_alone_and_in_company_on_two_threads(dtype):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for seed in range(10):
            network = MLP(3, 20, 2, (300, 300), dtype=dtype)
            network.param_buffer.normal_(generator=torch.Generator().manual_seed(seed))
            solver = SGD(network, rates([0.1] * 3, alpha=1.0))
            together = solver.add_l2_gradient(1.0, slice(0, 3))
            assert torch.equal(solver.add_l2_gradient(1.0, slice(1, 2)), together[1:2])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("max_norm", [1e-3, 2.0, 1e3])
def test_clipping_is_torchs_of_each_member_by_itself(max_norm):
    network = make_network()
    solver = SGD(network, rates([0.1] * 3, max_norm=max_norm))
    set_gradients(network, 0)
    network.grad_buffer[1] *= 100
    expected = []
    for m in range(3):
        params = [torch.nn.Parameter(torch.zeros(entry.shape, dtype=torch.float64)) for entry in trained(network)]
        for p, grad in zip(params, numbers(network, m)[1], strict=True):
            p.grad = torch.from_numpy(grad.copy())
        torch.nn.utils.clip_grad_norm_(params, max_norm)
        expected.append([p.grad.numpy() for p in params])
    solver.clip(slice(0, 3))
    for m in range(3):
        for mine, theirs in zip(numbers(network, m)[1], expected[m], strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-12)


def test_clipping_leaves_a_gradient_that_is_nan_and_does_not_spread_it():
    network = make_network()
    solver = SGD(network, Rates([0.1] * 3, [0.0] * 3, [0.0] * 3, [1.0, 1.0, math.inf]))
    set_gradients(network, 0)
    network.grad_buffer[0, 0] = math.nan
    free = network.grad_buffer[2].clone()
    solver.clip(slice(0, 3))
    assert network.grad_buffer[0].isnan().any()
    assert network.grad_buffer[1].norm().item() == pytest.approx(1.0, rel=1e-5)
    assert torch.equal(network.grad_buffer[2], free)  # its gradients are not clipped


def test_without_alpha_there_is_no_penalty():
    network = make_network()
    assert SGD(network, rates([0.1] * 3)).add_l2_gradient(1.0, slice(0, 3)) is None


@every_solver
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_a_member_moves_exactly_as_it_does_alone(make, weight_decay):
    learning_rates = (0.1, 0.003, 0.02)
    network = make_network(dtype=torch.float32)
    solver = make(network, rates(learning_rates, weight_decay=weight_decay))
    starts = network.param_buffer.clone()
    run(network, solver)
    for m, rate in enumerate(learning_rates):
        alone = make_network(1, dtype=torch.float32)
        alone.load_row(0, starts[m])
        run(alone, make(alone, rates([rate], weight_decay=weight_decay)), members=[m])
        assert torch.equal(alone.param_buffer[0], network.param_buffer[m])
        assert not torch.equal(starts[m], network.param_buffer[m])


@every_solver
def test_members_that_take_fewer_steps_move_as_they_do_alone(make):
    network, alone = make_network(), make_network(1)
    alone.load_row(0, network.param_buffer[2])
    solver, other = make(network, rates([0.1] * 3)), make(alone, rates([0.1]))
    for step in range(STEPS):
        set_gradients(network, step)
        set_gradients(alone, step, [2])
        solver.advance(slice(0, 2))
        if step % 3 == 0:
            solver.advance(slice(2, 3))
            other.step()
    assert solver.steps == [STEPS, STEPS, STEPS // 3]
    assert torch.equal(alone.param_buffer[0], network.param_buffer[2])


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
    solver = make(network, rates(base_rates))
    scheduler = make_scheduler(solver)
    references = [numbers(network, m)[0] for m in range(3)]
    theirs = [reference_of(params, lr) for params, lr in zip(references, base_rates, strict=True)]
    for step in range(STEPS):
        set_gradients(network, step)
        for m, reference in enumerate(theirs):
            name_of_rate = "learning_rate" if make is SGD else "learning_rate_init"
            setattr(reference, name_of_rate, base_rates[m] * factor(step))
            reference.update_params(references[m], numbers(network, m)[1])
        solver.step()
        scheduler.step()
    assert_rows_are(network, references)
    assert solver.rate_of(2) == pytest.approx(0.5 * factor(STEPS), abs=1e-12)


@every_solver
def test_our_own_schedule_and_multipliers_scale_the_rate(make):
    network, other = make_network(), make_network()
    solver, expected = make(network, rates([0.1, 0.2, 0.3])), make(other, rates([0.05, 0.02, 0.15]))
    solver.set_multipliers([1.0, 0.2, 1.0])
    solver.schedule(0.5)
    assert solver.param_groups[0]["lr"] == pytest.approx(0.05)  # the members' own multipliers do not show
    assert [solver.rate_of(m) for m in range(3)] == pytest.approx([0.05, 0.02, 0.15])
    run(network, solver)
    run(other, expected)
    torch.testing.assert_close(network.param_buffer, other.param_buffer, rtol=1e-9, atol=1e-12)


@every_solver
def test_a_rate_that_somebody_else_set_holds_when_a_member_comes_to_rest(make):
    """As skorch's LRScheduler sets it, while early stopping ends the training of one member after the other."""
    network = make_network()
    solver = make(network, rates([0.1, 0.2, 0.4]))
    solver.param_groups[0]["lr"] = 0.05
    solver.set_multipliers([0.0, 1.0, 1.0])
    assert solver.param_groups[0]["lr"] == 0.05
    assert [solver.rate_of(m) for m in range(3)] == pytest.approx([0.0, 0.1, 0.2])
    solver.set_multipliers([0.0, 0.5, 1.0])
    assert [solver.rate_of(m) for m in range(3)] == pytest.approx([0.0, 0.05, 0.2])


@every_solver
def test_a_frozen_parameter_does_not_move_and_the_others_do(make):
    network = make_network()
    network.layers[0].weight.requires_grad_(False)
    solver = make(network, rates([0.1] * 3, weight_decay=0.1))
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
def test_a_parameter_frozen_and_released_while_training(make):
    network = make_network()
    solver = make(network, rates([0.1] * 3))
    for frozen in (False, True, False):
        network.layers[0].weight.requires_grad_(not frozen)
        solver.refresh()
        before = network.layers[0].weight.detach().clone()
        run(network, solver, steps=2)
        assert torch.equal(network.layers[0].weight, before) == frozen


@every_solver
def test_after_a_selection_the_members_that_stay_go_on_as_if_nothing_had_happened(make):
    learning_rates, decay = (0.1, 0.003, 0.02), 0.1
    whole, part = make_network(), make_network()
    one, other = (make(n, rates(learning_rates, alpha=0.1, weight_decay=decay)) for n in (whole, part))
    for solver in (one, other):
        run(solver.network, solver, steps=3)
        solver.set_multipliers([1.0, 0.5, 0.2])
        solver.schedule(0.7)
    run(whole, one, first=3)
    part.select([1, 2])
    other.select([1, 2])
    run(part, other, first=3, members=[1, 2])
    assert torch.equal(part.param_buffer, whole.param_buffer[1:])
    assert other.steps == one.steps[1:]
    assert [other.rate_of(m) for m in range(2)] == pytest.approx([one.rate_of(m) for m in (1, 2)])
    assert other.param_groups[0]["params"][0] is part.layers[0].weight


def test_after_a_selection_a_rate_that_somebody_else_set_still_holds():
    network = make_network()
    solver = SGD(network, rates([0.1, 0.2, 0.4]))
    solver.param_groups[0]["lr"] = 0.01
    assert solver.rate_of(2) == pytest.approx(0.04)
    network.select([1, 2])
    solver.select([1, 2])
    assert [solver.rate_of(m) for m in range(2)] == pytest.approx([0.02, 0.04])


@every_solver
def test_a_solver_whose_state_was_saved_and_loaded_goes_on_identically(make):
    network = make_network(dtype=torch.float32)
    solver = make(network, rates([0.1, 0.003, 0.02], weight_decay=0.1))
    run(network, solver, steps=4)
    solver.set_multipliers([1.0, 0.2, 1.0])
    solver.schedule(0.5)
    state, again = copy.deepcopy(solver.state_dict()), make_network(dtype=torch.float32)
    again.bind_views(network.param_buffer.clone())
    restored = make(again, rates([0.1, 0.003, 0.02], weight_decay=0.1))
    restored.load_state_dict(state)
    run(network, solver, first=4)
    run(again, restored, first=4)
    assert torch.equal(network.param_buffer, again.param_buffer)
    assert restored.steps == solver.steps == [4 + STEPS] * 3
    assert restored.param_groups[0]["lr"] == solver.param_groups[0]["lr"]


def test_what_a_step_overwrites_is_not_saved_and_may_be_there_in_what_is_loaded():
    network = make_network()
    solver = Adam(network, rates([0.1] * 3))
    run(network, solver, steps=2)
    state = solver.state_dict()
    assert set(state["state"]) == {"exp_avg", "exp_avg_sq"}
    solver.load_state_dict(state | {"state": state["state"] | {"direction": torch.ones_like(network.param_buffer)}})


@every_solver
def test_the_saved_state_is_not_moved_by_the_steps_that_follow(make):
    network = make_network()
    solver = make(network, rates([0.1] * 3))
    run(network, solver, steps=2)
    state = solver.state_dict()
    before = copy.deepcopy(state)
    run(network, solver, steps=2)
    assert state["param_groups"] == before["param_groups"]


@pytest.mark.parametrize("kind", [torch.optim.RMSprop, torch.optim.NAdam])
def test_a_solver_of_torch_is_that_solver_on_each_member(kind):
    learning_rates = (0.1, 0.003, 0.02)
    network = make_network()
    solver = TorchOptimizer(network, rates(learning_rates), kind)
    params = [[torch.nn.Parameter(torch.from_numpy(p)) for p in numbers(network, m)[0]] for m in range(3)]
    plain = [kind(own, lr=lr) for own, lr in zip(params, learning_rates, strict=True)]
    for step in range(STEPS):
        set_gradients(network, step)
        for m, own in enumerate(params):
            for p, grad in zip(own, numbers(network, m)[1], strict=True):
                p.grad = torch.from_numpy(grad.copy())
            plain[m].step()
        solver.step()
    assert_rows_are(network, [[p.detach().numpy() for p in own] for own in params])
    assert not torch.equal(network.param_buffer, make_network().param_buffer)


def test_zero_grad_keeps_the_memory_of_the_gradients():
    network = make_network()
    solver = SGD(network, rates([0.1] * 3))
    set_gradients(network, 0)
    address = network.layers[0].weight.grad.data_ptr()
    solver.zero_grad()
    assert not network.grad_buffer.any()
    assert network.layers[0].weight.grad.data_ptr() == address


def test_a_closure_is_refused():
    solver = SGD(make_network(), rates([0.1] * 3))
    with pytest.raises(ValueError, match=r"^the flat solvers take no closure: call network\.gradients before step"):
        solver.step(lambda: 0.0)


def test_the_base_class_names_the_solver_that_lacks_a_method():
    with pytest.raises(NotImplementedError, match=r"^EnsembleOptimizer$"):
        EnsembleOptimizer(make_network(), rates([0.1] * 3)).step()


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_parameters_learn_at_the_pace_of_their_kind_if_they_are_to(kind):
    moved = []
    for use_lr_scales in (False, True):
        network = MLP(1, 4, 2, (3,), input_scale=True, initial="normal")
        network.reset([torch.Generator().manual_seed(0)])
        before = network.param_buffer.clone()
        solver = kind(network, rates([0.1]), use_lr_scales=use_lr_scales)
        with torch.no_grad():
            network.grad_buffer.fill_(1.0)
        solver.step()
        moved.append(network.param_buffer - before)
    for entry in network.entries:
        plain, paced = (network.view(change, entry) for change in moved)
        torch.testing.assert_close(paced, plain * entry.lr_scale, rtol=1e-4, atol=1e-6)
    assert {entry.name: entry.lr_scale for entry in network.entries} == {"weight": 1.0, "bias": 0.3, "scale": 6.0}


def test_new_rates_go_where_the_old_ones_were():
    network = make_network()
    solver = Adam(network, rates([0.1] * network.n_members))
    part, generation = solver.part(slice(0, 1)), solver.generation
    solver.set_multipliers([0.5] * network.n_members)
    assert solver.part(slice(0, 1)) is part
    assert solver.generation == generation
    assert part.rates.flatten()[0].item() == pytest.approx(0.05)
    network.to(torch.float64).to(torch.float32)  # which gives it other memory
    solver.refresh()
    assert solver.generation == generation + 1
    assert solver.part(slice(0, 1)).grad.data_ptr() == network.grad_buffer.data_ptr()


def test_a_first_fit_does_not_wait_for_torchs_compiler():
    """`torch.optim.Optimizer.add_param_group` would import it, which takes more than a second."""
    code = """
import sys
from sklearn.datasets import load_iris
from sknn import NeuralClassifier
NeuralClassifier(max_iter=1).fit(*load_iris(return_X_y=True))
print("torch._dynamo" in sys.modules)
"""
    assert printed("-c", code).strip() == "False"

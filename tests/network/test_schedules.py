"""Schedules against torch's schedulers and scikit-learn's solvers."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.neural_network._stochastic_optimizers import SGDOptimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, ReduceLROnPlateau

from sknn.network.schedules import ONE_CYCLE_WARM_UP, SCHEDULES, cosine, invscaling, one_cycle


def torch_rates(make_scheduler, n):
    """Return the rates that a scheduler of torch sets in n steps, from a rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, rates = make_scheduler(optimizer), []
    for _ in range(n):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if len(rates) < n:
                scheduler.step()
    return rates


def test_cosine_agrees_with_torchs_cosine_annealing():
    expected = torch_rates(lambda optimizer: CosineAnnealingLR(optimizer, T_max=20), 21)
    np.testing.assert_allclose([cosine(step / 20) for step in range(21)], expected, atol=1e-12)


def test_one_cycle_agrees_with_torchs_default():
    steps = 50
    expected = torch_rates(lambda optimizer: OneCycleLR(optimizer, max_lr=1.0, total_steps=steps), steps)
    top = 0.3 * steps - 1  # torch counts steps from 0, so its first phase is a step shorter
    shares = [
        0.3 * step / top if step <= top else 0.3 + 0.7 * (step - top) / (steps - 1 - top) for step in range(steps)
    ]
    np.testing.assert_allclose([one_cycle(t) for t in shares], expected, rtol=1e-9)


@pytest.mark.parametrize("power_t", [0.5, 1.0, 0.25])
def test_invscaling_agrees_with_scikit_learn(power_t):
    solver = SGDOptimizer([], learning_rate_init=1.0, lr_schedule="invscaling", power_t=power_t)
    for rows_seen in (1, 50, 1000):
        solver.iteration_ends(rows_seen)
        assert invscaling(rows_seen, power_t) == pytest.approx(solver.learning_rate)


def test_cosine_goes_down_from_one_to_zero():
    factors = [cosine(t) for t in np.linspace(0, 1, 101)]
    assert factors[0] == 1
    assert factors[-1] == pytest.approx(0, abs=1e-15)
    assert (np.diff(factors) < 0).all()


def test_one_cycle_goes_up_to_one_and_down_to_a_10000th_of_its_start():
    up = [one_cycle(t) for t in np.linspace(0, ONE_CYCLE_WARM_UP, 101)]
    down = [one_cycle(t) for t in np.linspace(ONE_CYCLE_WARM_UP, 1, 101)]
    assert (np.diff(up) > 0).all()
    assert (np.diff(down) < 0).all()
    assert up[0] == pytest.approx(1 / 25)
    assert up[-1] == down[0] == pytest.approx(1)
    assert down[-1] == pytest.approx(up[0] / 10_000)


@pytest.mark.parametrize("name", [name for name, schedule in SCHEDULES.items() if schedule.by_progress])
def test_a_schedule_by_progress_lies_between_zero_and_one_and_ends_below_its_start(name):
    schedule = SCHEDULES[name]
    factors = [schedule.by_progress(t) for t in np.linspace(0, 1, 201)]
    assert min(factors) >= 0
    assert max(factors) <= 1 + 1e-12
    assert factors[-1] < 1e-3 * factors[0]
    assert not schedule.open_ended


def test_adaptive_divides_and_stops_as_scikit_learn_does():
    schedule = SCHEDULES["adaptive"]
    solver = SGDOptimizer([], learning_rate_init=1.0, lr_schedule="adaptive")
    assert not solver.trigger_stopping("", verbose=False)
    assert solver.learning_rate == pytest.approx(1 / schedule.plateau_divisor)
    solver.learning_rate = schedule.min_rate * 1.01
    assert not solver.trigger_stopping("", verbose=False)
    solver.learning_rate = schedule.min_rate
    assert solver.trigger_stopping("", verbose=False)


def test_reduce_on_plateau_divides_as_torch_does():
    reference = ReduceLROnPlateau(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0))
    assert 1 / SCHEDULES["reduce_on_plateau"].plateau_divisor == pytest.approx(reference.factor)
    assert SCHEDULES["reduce_on_plateau"].min_rate == reference.eps

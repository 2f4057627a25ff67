"""The training loop: who stops when and with which weights, what decides a result, and how training goes on."""

import math
import pickle
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

from sknn import NeuralClassifier, NeuralRegressor
from sknn.network.activations import ACTIVATIONS
from sknn.network.losses import BinaryCrossEntropy
from sknn.network.mlp import MLP
from sknn.network.optimizers import Adam, MemberOptions
from sknn.training.batches import inverse
from sknn.training.joint import train_jointly
from sknn.training.net import TrainingNet
from sknn.training.plan import Plan, TrainingSet
from sknn.training.table import Table
from sknn.utils.random import member_generator
from tests.common import Witness

X, Y = make_classification(120, 6, flip_y=0.3, random_state=0)
X_VAL, Y_VAL = make_classification(70, 6, flip_y=0.3, random_state=1)
SMALL = {
    "hidden_layer_sizes": (10,),
    "batch_size": 32,
    "max_iter": 6,
    "random_state": 0,
    "scaling": "robust",
    "device": "cpu",
    "n_threads": 1,
}
NOISY = SMALL | {"ensemble_size": 5, "learning_rate_init": 0.03, "n_iter_no_change": 3, "max_iter": 60}
PLAIN = SMALL | {"ensemble_size": 1, "dropout": 0.0, "early_stopping": False}
CONSTANT = {"learning_rate": "constant", "solver": "adam"}


def quietly(fit, *args, **kwargs):
    """Without the warning that an open-ended schedule earns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fit(*args, **kwargs)


def fitted(X=X, y=Y, cls=NeuralClassifier, fit=None, **params):
    return quietly(cls(**params).fit, X, y, **fit or {})


def param_buffer(est):
    return est.module_.param_buffer.detach()


def watched(**params):
    witness = Witness()
    est = fitted(**params, callbacks=[witness])
    return est, witness.seen.data, witness.seen.weights


def member_log_loss(est, m, data, rows):
    """Of a member's final weights on some rows, by numpy: SiLU between linear layers."""
    network, x = est.module_, data.table.numeric[rows].numpy()
    for weight, bias in network.linears():
        z = x @ network.view(param_buffer(est), weight)[m].numpy() + network.view(param_buffer(est), bias)[m].numpy()
        x = z / (1 + np.exp(-z))
    return log_loss(data.table.target[rows, 0], 1 / (1 + np.exp(-z[:, 0])))


def stops_after(losses, tol, patience):
    """scikit-learn's rule (`_update_no_improvement_count`): the epoch after which it stops, or the last."""
    best, epochs_without_improvement = np.inf, 0
    for epoch, loss in enumerate(losses, 1):
        epochs_without_improvement = epochs_without_improvement + 1 if loss > best - tol else 0
        best = min(best, loss)
        if epochs_without_improvement > patience:
            return epoch
    return len(losses)


# --- Early stopping -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tol", "patience"), [(1e-4, 3), (0.01, 2), (0.0, 1)])
def test_each_member_stops_by_scikit_learns_rule(tol, patience):
    est = fitted(**NOISY | {"tol": tol, "n_iter_no_change": patience})
    curves = np.array([row["member_valid_loss"] for row in est.history_]).T
    expected = [stops_after(curve, tol, patience) for curve in curves]
    assert est.net_.epochs_ == expected
    assert est.n_iter_ == max(expected) == len(est.history_)
    assert len(set(expected)) > 1


def test_a_stopped_member_keeps_its_last_value_in_the_curves():
    est = fitted(**NOISY)
    curves = np.array([row["member_valid_loss"] for row in est.history_]).T
    for curve, epochs in zip(curves, est.net_.epochs_, strict=True):
        np.testing.assert_array_equal(curve[epochs:], curve[epochs - 1])
    np.testing.assert_allclose([row["valid_loss"] for row in est.history_], curves.mean(0))


def test_each_member_gets_back_the_weights_of_its_best_epoch():
    est, data, _ = watched(**NOISY)
    curves = np.array([row["member_valid_loss"] for row in est.history_]).T
    losses = [member_log_loss(est, m, data, rows) for m, rows in enumerate(data.valid_rows)]
    np.testing.assert_allclose(losses, curves.min(1), rtol=1e-4)
    assert (curves.min(1) < curves[:, -1]).any()


def test_members_hold_out_rows_of_their_own_stratified_by_class():
    _, data, _ = watched(**NOISY)
    held = [frozenset(rows.tolist()) for rows in data.valid_rows]
    assert len(set(held)) == 5
    for train, valid in zip(data.train_rows, held, strict=True):
        assert sorted([*train.tolist(), *valid]) == list(range(120))
        assert len(valid) == 18
        assert abs(np.mean(Y[list(valid)]) - Y.mean()) < 1 / 18


def test_given_validation_rows_are_watched_and_no_row_is_held_out():
    est, data, _ = watched(**NOISY | {"ensemble_size": 1}, fit={"X_val": X_VAL, "y_val": Y_VAL})
    losses = [row["valid_loss"] for row in est.history_]
    assert log_loss(Y_VAL, est.predict_proba(X_VAL)) == pytest.approx(min(losses), rel=1e-4)
    assert min(losses) < losses[-1]
    assert len(data.train_rows[0]) == 120
    assert est.t_ == 120 * est.n_iter_


def test_given_validation_rows_restore_the_best_epoch_without_early_stopping():
    est = fitted(**NOISY | {"ensemble_size": 1, "early_stopping": False}, fit={"X_val": X_VAL, "y_val": Y_VAL})
    losses = [row["valid_loss"] for row in est.history_]
    assert log_loss(Y_VAL, est.predict_proba(X_VAL)) == pytest.approx(min(losses), rel=1e-4)


def test_weights_of_given_validation_rows_count():
    weight = np.random.default_rng(0).uniform(0.1, 3, 70)
    est = fitted(**NOISY | {"ensemble_size": 1}, fit={"X_val": X_VAL, "y_val": Y_VAL, "sample_weight_val": weight})
    best = min(row["valid_loss"] for row in est.history_)
    assert log_loss(Y_VAL, est.predict_proba(X_VAL), sample_weight=weight) == pytest.approx(best, rel=1e-4)
    assert log_loss(Y_VAL, est.predict_proba(X_VAL)) != pytest.approx(best, rel=1e-3)


def test_without_early_stopping_the_last_weights_are_kept():
    est, _, weights = watched(**PLAIN | CONSTANT | {"learning_rate_init": 0.3, "max_iter": 12, "n_iter_no_change": 100})
    losses = est.loss_curve_
    assert torch.equal(param_buffer(est), weights[-1])
    assert min(losses) < losses[-1]


def test_without_early_stopping_the_training_loss_is_watched():
    est = fitted(**NOISY | {"early_stopping": False, "learning_rate_init": 0.2})
    curves = np.array([row["member_train_loss"] for row in est.history_]).T
    assert est.net_.epochs_ == [stops_after(curve, 1e-4, 3) for curve in curves]
    assert min(est.net_.epochs_) < 60


@pytest.mark.parametrize("patience", [1, 4])
def test_a_tolerance_that_nothing_meets_stops_as_in_scikit_learn(patience):
    settings = {"tol": 1e6, "n_iter_no_change": patience, "max_iter": 50, "random_state": 0}
    theirs = MLPClassifier((10,), **settings).fit(X, Y)
    assert fitted(**PLAIN | CONSTANT | settings).n_iter_ == theirs.n_iter_ == patience + 2


def test_an_infinite_patience_never_stops():
    assert fitted(**PLAIN | {"tol": 1e6, "n_iter_no_change": np.inf, "max_iter": 30}).n_iter_ == 30


def test_reaching_max_iter_is_worth_a_warning_for_open_ended_schedules_only():
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(max_iter=6\) reached"):
        NeuralClassifier(**PLAIN | CONSTANT).fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert NeuralClassifier(**PLAIN, learning_rate="cosine").fit(X, Y).n_iter_ == 6
        assert NeuralClassifier(**PLAIN, learning_rate="one_cycle").fit(X, Y).n_iter_ == 6


# --- A member does not depend on its company ------------------------------------------------------------------------

SETTINGS = [
    {"dropout": 0.0, "batch_size": 32},
    {"dropout": 0.3, "batch_size": 17, "hidden_layer_sizes": (9, 5)},
    {"dropout": 0.2, "batch_size": 101, "early_stopping": False},  # a last batch of 19 rows
    {"batch_size": 119, "early_stopping": False},  # and of one
    {"batch_size": 33, "solver": "sgd", "alpha": 0.01, "n_iter_no_change": 1, "learning_rate_init": 0.05},
    {"batch_size": 33, "batch_norm": True, "numeric_embedding": "periodic"},
]


def assert_independent_of_company(cls=NeuralClassifier, y=Y, fit=None, **params):
    alone = fitted(X, y, cls, fit, **SMALL | params | {"ensemble_size": 1})
    together = fitted(X, y, cls, fit, **SMALL | params | {"ensemble_size": 5})
    epochs = alone.n_iter_
    assert together.net_.epochs_[0] == epochs
    assert torch.equal(param_buffer(together)[0], param_buffer(alone)[0])
    for name in ("train_loss", "valid_loss"):
        ours = [row[f"member_{name}"][0] for row in together.history_ if name in row]
        assert ours[:epochs] == [row[name] for row in alone.history_ if name in row]
    return together


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_member_gets_the_same_bits_alone_and_in_company(activation, n_threads):
    for params in SETTINGS:
        assert_independent_of_company(activation=activation, n_threads=n_threads, max_iter=3, **params)


def test_a_member_gets_the_same_bits_while_others_leave():
    together = assert_independent_of_company(**NOISY | {"n_iter_no_change": 1, "ensemble_size": 5})
    assert len(set(together.net_.epochs_)) > 1


def test_a_member_gets_the_same_bits_with_weights():
    weight = np.random.default_rng(0).uniform(0.1, 3, 120)
    assert_independent_of_company(fit={"sample_weight": weight}, class_weight="balanced", label_smoothing=0.1)


def test_batches_whose_rows_all_weigh_nothing_add_nothing_to_the_gradient():
    plain = {"solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False, "learning_rate": "constant", "alpha": 1.0}
    common = PLAIN | plain | {"batch_size": 30, "shuffle": False, "scaling": None, "class_weight": {0: 0.0, 1: 1.0}}
    y = np.repeat([0, 1], 60)  # in order: batches that do not count, before those that do
    after_two, after_one = fitted(X, y, **common), fitted(X[30:], y[30:], **common)
    assert math.isfinite(after_two.loss_)
    torch.testing.assert_close(param_buffer(after_two), param_buffer(after_one))


@pytest.mark.parametrize("weight", [0.0, 1e-40, 1e-3])
def test_the_inverse_of_a_batchs_weight_is_finite(weight):
    assert inverse(torch.tensor([weight]))[0] == pytest.approx(0 if weight == 0 else 1 / max(weight, 2**-126))


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_wide_member_gets_the_same_bits_where_threads_share_the_work(n_threads):
    assert_independent_of_company(
        hidden_layer_sizes=(256, 128), batch_size=100, n_threads=n_threads, max_iter=2, early_stopping=False
    )


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "quantile", "poisson", "gamma"])
def test_a_member_of_a_regressor_gets_the_same_bits(loss):
    y = np.exp(make_regression(120, 6, random_state=0)[1] / 200)
    assert_independent_of_company(NeuralRegressor, y, loss=loss, batch_size=33)


def test_members_differ():
    rows = param_buffer(fitted(**SMALL, ensemble_size=3))
    assert not torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[1], rows[2])


# --- Members with different numbers of rows ---------------------------------------------------------------------------


def trained(train_rows, members, shuffle=True, weight=None, rates=None, **plan):
    """A net of these members, trained on the first so many rows each; the final weights by member."""
    numbers = torch.from_numpy(X).float()
    weight = None if weight is None else torch.from_numpy(weight).float()
    table = Table(numbers, None, torch.from_numpy(Y).float()[:, None], weight)
    seeds, n = [(7, m) for m in members], len(members)
    network = MLP(n, n_numeric=6, n_outputs=1, hidden=(9, 5), activation="silu", dropout=(0.2, 0.0))
    network.reset([member_generator(*seed, "weights", torch.device("cpu")) for seed in seeds])
    settings = {"batch_size": 32, "max_iter": 4, "shuffle": shuffle, "dropout": [(0.2, 0.0)] * n} | plan
    settings |= {"tol": [settings.get("tol", 1e-4)] * n}
    settings |= {"n_iter_no_change": [settings.get("n_iter_no_change", 10)] * n}
    solver = partial(Adam, options=MemberOptions(rates or [0.01] * n, [0.1] * n, [0.01] * n, [math.inf] * n))
    net = TrainingNet(network, BinaryCrossEntropy(), solver, Plan(seeds, **settings), np.array([0, 1]))
    valid = [torch.arange(100, 120)] * n
    data = TrainingSet(table, [torch.arange(k) for k in train_rows], valid, lambda target: target[:, 0].numpy())
    net.fit(data)
    return net, network.param_buffer.detach()


@pytest.mark.parametrize("schedule", ["constant", "cosine", "invscaling"])
@pytest.mark.parametrize("sizes", [(100, 97, 97, 64, 33, 20), (96, 64, 64, 32, 1), (100, 99, 98, 97)])
def test_members_with_different_numbers_of_rows_train_as_they_would_alone(sizes, schedule):
    weight = np.random.default_rng(0).uniform(0.5, 2, 120)
    net, together = trained(sizes, range(len(sizes)), schedule=schedule, weight=weight)
    for m, size in enumerate(sizes):
        alone_net, alone = trained([size], [m], schedule=schedule, weight=weight)
        assert torch.equal(together[m], alone[0])
        assert net.rows_seen_[m] == alone_net.rows_seen_[0] == 4 * size
        assert net.history[-1, "valid_loss"] > 0


def test_members_with_different_numbers_of_rows_may_leave():
    sizes, plan = (100, 80, 80, 47), {"n_iter_no_change": 1, "restore_best": True, "max_iter": 40, "tol": 1e-3}
    net, together = trained(sizes, range(4), **plan)
    assert len(set(net.epochs_)) > 1
    for m, size in enumerate(sizes):
        alone_net, alone = trained([size], [m], **plan)
        assert alone_net.epochs_ == [net.epochs_[m]]
        assert torch.equal(together[m], alone[0])


def test_a_member_that_diverges_does_not_disturb_the_others():
    net, survivors = trained([100, 100, 90], [0, 1, 2], rates=[0.01, 1e30, 0.01])
    assert net.diverged_members_ == {1: 1}
    assert net.failed_members_ == [1]
    assert torch.equal(survivors[0], trained([100], [0])[1][0])
    assert survivors[1].isnan().all()
    assert torch.equal(survivors[2], trained([90], [2])[1][0])


# --- Rows, dropout, random streams ------------------------------------------------------------------------------------


def test_clipping_keeps_the_bits_of_members_in_company():
    """Also beside members whose gradients are not clipped, or diverge."""
    settings = SMALL | {"ensemble_size": 1, "solver": "sgd", "learning_rate": "constant", "early_stopping": False}
    grid = [(0.5, 0.1), (None, 0.01), (1e-3, 5.0), (2.0, 0.1)]
    alone = [
        fitted(**settings | {"max_grad_norm": max_norm, "learning_rate_init": rate, "alpha": 0.1}).loss_curve_
        for max_norm, rate in grid
    ]
    estimators = [
        NeuralClassifier(**settings | {"max_grad_norm": max_norm, "learning_rate_init": rate, "alpha": 0.1})
        for max_norm, rate in grid
    ]
    prepared = [est._prepare(*est._encode_all(X, Y)) for est in estimators]
    train_jointly([net for net, _ in prepared], [data for _, data in prepared])
    assert [[row["train_loss"] for row in net.history] for net, _ in prepared] == alone


def test_the_gradient_norm_is_recorded_before_it_is_clipped():
    free, clipped = (
        fitted(**PLAIN | {"max_iter": 1, "batch_size": 120, "max_grad_norm": max_norm}, metrics="gradient_norm")
        for max_norm in (None, 1e-3)
    )
    assert clipped.history_[0]["gradient_norm"] == free.history_[0]["gradient_norm"] > 1e-3


def test_without_shuffling_batches_are_taken_in_row_order():
    """Against a loop written out with autograd and torch's own SGD."""
    params = PLAIN | {"shuffle": False, "precision": "float64", "solver": "sgd", "momentum": 0.0, "activation": "tanh"}
    params |= {"learning_rate": "constant", "learning_rate_init": 0.1, "n_iter_no_change": 1000}
    est, data, weights = watched(**params)
    network = est.module_
    tensors = [network.view(weights[0], entry)[0].clone() for pair in network.linears() for entry in pair]
    for tensor in tensors:
        tensor.requires_grad_()
    solver = torch.optim.SGD(tensors, lr=0.1)
    numbers, target = data.table.numeric, data.table.target
    for _ in range(6):
        for start in range(0, 120, 32):
            x, y = numbers[start : start + 32], target[start : start + 32]
            z = torch.tanh(x @ tensors[0] + tensors[1]) @ tensors[2] + tensors[3]
            solver.zero_grad()
            torch.nn.functional.binary_cross_entropy_with_logits(z, y).backward()
            solver.step()
    entries = [entry for pair in network.linears() for entry in pair]
    for entry, tensor in zip(entries, tensors, strict=True):
        torch.testing.assert_close(network.view(param_buffer(est), entry)[0], tensor.detach(), rtol=1e-9, atol=1e-12)


def test_shuffling_changes_the_result():
    assert not torch.equal(param_buffer(fitted(**PLAIN, shuffle=False)), param_buffer(fitted(**PLAIN, shuffle=True)))


def test_dropout_changes_training_and_leaves_prediction_alone():
    est, data, _ = watched(**PLAIN | {"dropout": 0.5})
    assert not torch.equal(param_buffer(est), param_buffer(fitted(**PLAIN)))
    np.testing.assert_array_equal(est.predict_proba(X), est.predict_proba(X))
    rows = torch.arange(120)
    assert log_loss(Y, est.predict_proba(X)) == pytest.approx(member_log_loss(est, 0, data, rows), rel=1e-5)


def test_a_random_state_gives_identical_weights_whatever_the_global_generators():
    first = fitted(**NOISY)
    torch.manual_seed(123)
    np.random.seed(123)
    again = fitted(**NOISY)
    assert torch.equal(param_buffer(first), param_buffer(again))
    assert not torch.equal(param_buffer(first), param_buffer(fitted(**NOISY | {"random_state": 1})))


@pytest.mark.parametrize("params", [{}, {"solver": "lbfgs"}, {"solver": torch.optim.RMSprop}, {"n_threads": 2}])
def test_a_fit_leaves_the_process_as_it_was(params):
    def state():
        numpy_state = np.random.get_state()[1].tolist()
        return torch.get_rng_state().tolist(), numpy_state, torch.get_num_threads(), torch.get_default_dtype()

    before = state()
    fitted(**SMALL | {"precision": "float64"} | params).predict(X)
    assert state() == before
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()


def test_a_failed_fit_restores_the_threads():
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="NaN or infinite"):
        NeuralClassifier(**PLAIN | {"n_threads": before + 1}, loss=NanAfter(0)).fit(X, Y)
    assert torch.get_num_threads() == before


def test_a_random_state_instance_moves_on_from_fit_to_fit():
    one, other = np.random.RandomState(0), np.random.RandomState(0)
    est = NeuralClassifier(**PLAIN | {"random_state": one})
    first, second = param_buffer(est.fit(X, Y)).clone(), param_buffer(est.fit(X, Y)).clone()
    assert not torch.equal(first, second)
    est = NeuralClassifier(**PLAIN | {"random_state": other})
    assert torch.equal(param_buffer(est.fit(X, Y)), first)
    assert torch.equal(param_buffer(est.fit(X, Y)), second)


def test_without_a_random_state_fits_differ():
    params = PLAIN | {"random_state": None}
    assert not torch.equal(param_buffer(fitted(**params)), param_buffer(fitted(**params)))


# --- Schedules --------------------------------------------------------------------------------------------------------


def rates(**params):
    params = PLAIN | {"batch_size": 30, "learning_rate_init": 0.01, "max_iter": 10} | params
    return [row["learning_rate"] for row in fitted(**params).history_]


def test_a_cosine_schedule_is_that_of_torch():
    solver = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(solver, T_max=40)
    expected = []
    for _ in range(40):
        expected.append(solver.param_groups[0]["lr"])
        solver.step()
        schedule.step()
    est = fitted(**PLAIN | {"batch_size": 30, "learning_rate_init": 0.01, "max_iter": 10, "learning_rate": "cosine"})
    assert [row["learning_rate"] for row in est.history_] == pytest.approx(expected[::4])  # as each epoch begins
    assert est.net_.optimizer_.param_groups[0]["lr"] == pytest.approx(expected[-1])


def test_one_cycle_rises_and_falls():
    """arXiv 1708.07120 with the numbers of torch's OneCycleLR."""
    share = np.arange(10) / 10

    def between(start, stop, t):
        return stop + (start - stop) * (1 + math.cos(math.pi * t)) / 2

    expected = [
        between(0.01 / 25, 0.01, t / 0.3) if t < 0.3 else between(0.01, 0.01 / 25 / 1e4, (t - 0.3) / 0.7) for t in share
    ]
    assert rates(learning_rate="one_cycle") == pytest.approx(expected)


def test_a_constant_rate_stays():
    assert rates(learning_rate="constant") == [0.01] * 10


@pytest.mark.parametrize("power_t", [0.5, 0.2])
def test_invscaling_is_that_of_scikit_learn(power_t):
    settings = {"solver": "sgd", "learning_rate": "invscaling", "power_t": power_t}
    settings |= {"learning_rate_init": 0.01, "max_iter": 10}
    ours = rates(**settings, n_iter_no_change=100)
    assert ours == pytest.approx([0.01] + [0.01 / (120 * k + 1) ** power_t for k in range(1, 10)])
    theirs = quietly(MLPClassifier((10,), batch_size=30, **settings).fit, X, Y)
    assert 0.01 / (120 * 10 + 1) ** power_t == pytest.approx(theirs._optimizer.learning_rate)


def test_adaptive_divides_and_stops_as_in_scikit_learn():
    settings = {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 1e-3, "max_iter": 200}
    settings |= {"tol": 1e6, "n_iter_no_change": 2, "batch_size": 30}
    theirs = MLPClassifier((10,), **settings).fit(X, Y)
    est = fitted(**PLAIN | settings)
    assert est.n_iter_ == theirs.n_iter_
    assert sorted({row["learning_rate"] for row in est.history_}, reverse=True) == pytest.approx(
        [1e-3 / 5**k for k in range(6)]
    )


def test_reduce_on_plateau_divides_by_ten():
    ours = rates(learning_rate="reduce_on_plateau", tol=1e6, n_iter_no_change=2, max_iter=11)
    assert ours == pytest.approx([0.01] * 4 + [0.001] * 3 + [0.0001] * 3 + [0.00001])


# --- A loss that becomes NaN ------------------------------------------------------------------------------------------


class NanAfter:
    """A log loss that is NaN after so many evaluations."""

    def __init__(self, calls):
        self.left = calls

    def __call__(self, z, y):
        self.left -= 1
        values = torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none")
        return values * math.nan if self.left < 0 else values


def test_a_loss_that_is_nan_from_the_start_is_an_error_with_advice():
    with pytest.raises(ValueError, match=r"became NaN or infinite in epoch 1\. Try a smaller learning_rate_init"):
        NeuralClassifier(**PLAIN, loss=NanAfter(0)).fit(X, Y)


def test_a_huge_learning_rate_is_an_error_with_advice():
    X, y = make_regression(120, 6, random_state=0)
    with pytest.raises(ValueError, match=r"became NaN or infinite in epoch 1\. Try a smaller learning_rate_init"):
        NeuralRegressor(**PLAIN, solver="sgd", activation="relu", learning_rate_init=1e20).fit(X, y)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_loss_that_becomes_nan_later_keeps_the_best_weights(early_stopping):
    calls = 0

    def count(z, y):
        nonlocal calls
        calls += 1
        return torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none")

    params = PLAIN | {"early_stopping": early_stopping}
    NeuralClassifier(**params | {"max_iter": 1}, loss=count).fit(X, Y)
    witness = Witness()
    est = NeuralClassifier(**params, loss=NanAfter(3 * calls + 1), callbacks=[witness])
    with pytest.warns(UserWarning, match=r"in epoch 4\. .* The weights of the best epoch before are kept\."):
        est.fit(X, Y)
    watched_losses = [row["valid_loss" if early_stopping else "train_loss"] for row in est.history_[:3]]
    best = 1 + int(np.argmin(watched_losses))
    assert torch.equal(param_buffer(est), witness.seen.weights[best])
    assert np.isfinite(est.predict_proba(X)).all()
    assert est.n_iter_ == 4


# --- Training on ------------------------------------------------------------------------------------------------------

STEADY = PLAIN | CONSTANT | {"shuffle": False, "n_iter_no_change": 1000}


def test_partial_fits_are_one_fit():
    """With the rows in their order and a constant rate, nothing tells them apart."""
    whole = fitted(**STEADY)
    parts = NeuralClassifier(**STEADY)
    for _ in range(6):
        parts.partial_fit(X, Y, classes=[0, 1])
    assert torch.equal(param_buffer(parts), param_buffer(whole))
    assert parts.t_ == whole.t_ == 6 * 120
    assert parts.loss_curve_ == whole.loss_curve_


@pytest.mark.parametrize("solver", ["adam", "sgd", torch.optim.RMSprop])
def test_partial_fits_go_on_after_unpickling(solver):
    whole, parts = fitted(**STEADY | {"solver": solver}), NeuralClassifier(**STEADY | {"solver": solver})
    for _ in range(6):
        parts.partial_fit(X, Y, classes=[0, 1])
        parts = pickle.loads(pickle.dumps(parts))
    assert torch.equal(param_buffer(parts), param_buffer(whole))


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
def test_a_schedule_that_ends_is_constant_under_partial_fit(schedule):
    """Rows that come bit by bit have no known end."""
    est = NeuralClassifier(**PLAIN | {"max_iter": 3, "learning_rate": schedule, "learning_rate_init": 0.01})
    for _ in range(8):
        before = None if not hasattr(est, "net_") else param_buffer(est).clone()
        est.partial_fit(X, Y, classes=[0, 1])
        assert before is None or not torch.equal(param_buffer(est), before)
    assert [row["learning_rate"] for row in est.history_] == [0.01] * 8


@pytest.mark.slow
def test_two_hundred_calls_of_partial_fit_get_where_fit_gets():
    """With the defaults, of new rows each time."""
    X, y = make_classification(45_000, 8, n_informative=6, flip_y=0.1, random_state=0)
    new, labels = X[40_000:], y[40_000:]
    est, losses = NeuralClassifier(random_state=0), []
    for rows in np.array_split(np.arange(40_000), 200):
        est.partial_fit(X[rows], y[rows], classes=[0, 1])
        losses.append(log_loss(labels, est.predict_proba(new)))
    of_fit = log_loss(labels, NeuralClassifier(random_state=0).fit(X[:1000], y[:1000]).predict_proba(new))
    assert np.mean(losses[-20:]) < of_fit + 0.01
    assert np.mean(losses[-20:]) < np.mean(losses[40:60]) - 0.01  # it goes on learning after `max_iter` calls


def test_partial_fit_never_holds_rows_out():
    est = NeuralClassifier(**SMALL, early_stopping=True).partial_fit(X, Y, classes=[0, 1])
    assert est.t_ == 120
    assert "valid_loss" not in est.history_[-1]


def test_warm_start_goes_on_from_the_weights_there_are():
    witness = Witness()
    est = NeuralClassifier(**PLAIN, warm_start=True, callbacks=[witness]).fit(X, Y)
    end = param_buffer(est).clone()
    est.fit(X, Y)
    assert torch.equal(witness.seen.weights[0], end)
    assert not torch.equal(param_buffer(est), end)
    assert len(est.loss_curve_) == 12
    assert (est.n_iter_, est.t_) == (6, 12 * 120)


def test_without_warm_start_a_second_fit_is_the_first():
    est = NeuralClassifier(**PLAIN).fit(X, Y)
    first = param_buffer(est).clone()
    assert torch.equal(param_buffer(est.fit(X, Y)), first)
    assert len(est.history_) == 6


@pytest.mark.parametrize(
    ("name", "value", "then"),
    [
        ("hidden_layer_sizes", (11,), r"\(10,\)"),
        ("activation", "relu", "'silu'"),
        ("ensemble_size", 2, "1"),
        ("dropout", 0.5, r"\(0\.0,\)"),
        ("batch_norm", True, "False"),
    ],
)
def test_warm_start_refuses_another_network_by_the_parameters_name(name, value, then):
    est = NeuralClassifier(**PLAIN, warm_start=True).fit(X, Y).set_params(**{name: value})
    with pytest.raises(ValueError, match=f"^{name}=.*was built with {then}"):
        est.fit(X, Y)
    with pytest.raises(ValueError, match=f"^{name}=.*was built with {then}"):
        est.partial_fit(X, Y)


def test_warm_start_refuses_other_columns_and_classes():
    est = NeuralClassifier(**PLAIN, warm_start=True).fit(X, Y)
    with pytest.raises(ValueError, match="X has 5 features, but NeuralClassifier is expecting 6"):
        est.fit(X[:, :5], Y)
    with pytest.raises(ValueError, match=r"classes not in `self.classes_`: \[2\]"):
        est.fit(X, np.arange(120) % 3)

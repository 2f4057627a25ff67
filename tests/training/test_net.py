"""The training loop: when members stop and with which weights, what the result depends on, and resumed training."""

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
from sknn.training.joint import train_jointly
from sknn.training.net import TrainingNet
from sknn.training.plan import Plan, TrainingSet
from sknn.training.table import Table
from sknn.utils.random import member_generator
from tests.common import ALIKE, WeightRecorder, quietly

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
    **ALIKE,
}
NOISY = SMALL | {"ensemble_size": 5, "learning_rate_init": 0.03, "n_iter_no_change": 3, "max_iter": 60}
PLAIN = SMALL | {"ensemble_size": 1, "dropout": 0.0, "early_stopping": False}
CONSTANT = {"learning_rate": "constant", "solver": "adam"}


def fitted(X=X, y=Y, cls=NeuralClassifier, fit=None, **params):
    return quietly(cls(**params).fit, X, y, **fit or {})


def param_buffer(est):
    return est.module_.param_buffer.detach()


def fit_and_record(**params):
    """Return the fitted estimator, the data of its training, and the weights at the start and after each epoch."""
    recorder = WeightRecorder()
    est = fitted(**params, callbacks=[recorder])
    return est, recorder.recorded.data, recorder.recorded.weights


def member_log_loss(est, m, data, rows):
    """Return the log loss of a member's final weights on some rows, by numpy: SiLU between linear layers."""
    network, x = est.module_, data.table.numeric[rows].numpy()
    for weight, bias in network.linears():
        z = x @ network.view(param_buffer(est), weight)[m].numpy() + network.view(param_buffer(est), bias)[m].numpy()
        x = z / (1 + np.exp(-z))
    return log_loss(data.table.target[rows, 0], 1 / (1 + np.exp(-z[:, 0])))


def sklearn_stopping_epoch(losses, tol, patience):
    """Return the last epoch by the rule of scikit-learn's `_update_no_improvement_count`."""
    best, epochs_without_improvement = np.inf, 0
    for epoch, loss in enumerate(losses, 1):
        epochs_without_improvement = epochs_without_improvement + 1 if loss > best - tol else 0
        best = min(best, loss)
        if epochs_without_improvement > patience:
            return epoch
    return len(losses)


# --- Early stopping -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tol", "patience"), [(1e-4, 3), (0.01, 2), (0.0, 1)])
def test_each_member_stops_by_the_rule_of_scikit_learn(tol, patience):
    est = fitted(**NOISY | {"tol": tol, "n_iter_no_change": patience})
    curves = np.array([row["member_valid_loss"] for row in est.history_]).T
    expected = [sklearn_stopping_epoch(curve, tol, patience) for curve in curves]
    assert est.net_.epochs_ == expected
    assert est.n_iter_ == max(expected) == len(est.history_)
    assert len(set(expected)) > 1


def test_a_stopped_member_repeats_its_last_value_in_the_curves():
    est = fitted(**NOISY)
    curves = np.array([row["member_valid_loss"] for row in est.history_]).T
    for curve, epochs in zip(curves, est.net_.epochs_, strict=True):
        np.testing.assert_array_equal(curve[epochs:], curve[epochs - 1])
    np.testing.assert_allclose([row["valid_loss"] for row in est.history_], curves.mean(0))


def test_the_weights_of_each_members_best_epoch_are_restored():
    est, data, _ = fit_and_record(**NOISY)
    curves = np.array([row["member_valid_loss"] for row in est.history_]).T
    losses = [member_log_loss(est, m, data, rows) for m, rows in enumerate(data.valid_rows)]
    np.testing.assert_allclose(losses, curves.min(1), rtol=1e-4)
    assert (curves.min(1) < curves[:, -1]).any()


def test_each_member_holds_out_other_rows_stratified_by_class():
    _, data, _ = fit_and_record(**NOISY)
    held = [frozenset(rows.tolist()) for rows in data.valid_rows]
    assert len(set(held)) == 5
    for train, valid in zip(data.train_rows, held, strict=True):
        assert sorted([*train.tolist(), *valid]) == list(range(120))
        assert len(valid) == 18
        assert abs(np.mean(Y[list(valid)]) - Y.mean()) < 1 / 18


def test_with_x_val_early_stopping_watches_it_and_no_row_is_held_out():
    est, data, _ = fit_and_record(**NOISY | {"ensemble_size": 1}, fit={"X_val": X_VAL, "y_val": Y_VAL})
    losses = [row["valid_loss"] for row in est.history_]
    assert log_loss(Y_VAL, est.predict_proba(X_VAL)) == pytest.approx(min(losses), rel=1e-4)
    assert min(losses) < losses[-1]
    assert len(data.train_rows[0]) == 120
    assert est.t_ == 120 * est.n_iter_


def test_with_x_val_the_best_epoch_is_restored_without_early_stopping_too():
    est = fitted(**NOISY | {"ensemble_size": 1, "early_stopping": False}, fit={"X_val": X_VAL, "y_val": Y_VAL})
    losses = [row["valid_loss"] for row in est.history_]
    assert log_loss(Y_VAL, est.predict_proba(X_VAL)) == pytest.approx(min(losses), rel=1e-4)


def test_sample_weight_val_counts_in_the_validation_loss():
    weight = np.random.default_rng(0).uniform(0.1, 3, 70)
    est = fitted(**NOISY | {"ensemble_size": 1}, fit={"X_val": X_VAL, "y_val": Y_VAL, "sample_weight_val": weight})
    best = min(row["valid_loss"] for row in est.history_)
    assert log_loss(Y_VAL, est.predict_proba(X_VAL), sample_weight=weight) == pytest.approx(best, rel=1e-4)
    assert log_loss(Y_VAL, est.predict_proba(X_VAL)) != pytest.approx(best, rel=1e-3)


def test_without_early_stopping_the_last_weights_are_kept():
    est, _, weights = fit_and_record(
        **PLAIN | CONSTANT | {"learning_rate_init": 0.3, "max_iter": 12, "n_iter_no_change": 100}
    )
    losses = est.loss_curve_
    assert torch.equal(param_buffer(est), weights[-1])
    assert min(losses) < losses[-1]


def test_without_early_stopping_the_training_loss_is_watched():
    est = fitted(**NOISY | {"early_stopping": False, "learning_rate_init": 0.2})
    curves = np.array([row["member_train_loss"] for row in est.history_]).T
    assert est.net_.epochs_ == [sklearn_stopping_epoch(curve, 1e-4, 3) for curve in curves]
    assert min(est.net_.epochs_) < 60


@pytest.mark.parametrize("patience", [1, 4])
def test_with_an_unreachable_tolerance_training_stops_as_in_scikit_learn(patience):
    settings = {"tol": 1e6, "n_iter_no_change": patience, "max_iter": 50, "random_state": 0}
    mlp = MLPClassifier((10,), **settings).fit(X, Y)
    assert fitted(**PLAIN | CONSTANT | settings).n_iter_ == mlp.n_iter_ == patience + 2


def test_with_infinite_n_iter_no_change_training_never_stops_early():
    assert fitted(**PLAIN | {"tol": 1e6, "n_iter_no_change": np.inf, "max_iter": 30}).n_iter_ == 30


def test_reaching_max_iter_warns_only_if_the_schedule_has_no_end():
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(max_iter=6\) reached"):
        NeuralClassifier(**PLAIN | CONSTANT).fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert NeuralClassifier(**PLAIN, learning_rate="cosine").fit(X, Y).n_iter_ == 6
        assert NeuralClassifier(**PLAIN, learning_rate="one_cycle").fit(X, Y).n_iter_ == 6


# --- Joint training gives each member the result of a single one ------------------------------------------------------

SETTINGS = [
    {"dropout": 0.0, "batch_size": 32},
    {"dropout": 0.3, "batch_size": 17, "hidden_layer_sizes": (9, 5)},
    {"dropout": 0.2, "batch_size": 101, "early_stopping": False},  # the last batch has 19 rows
    {"batch_size": 119, "early_stopping": False},  # the last batch has one row
    {"batch_size": 33, "solver": "sgd", "alpha": 0.01, "n_iter_no_change": 1, "learning_rate_init": 0.05},
    {"batch_size": 33, "batch_norm": True, "numeric_embedding": "periodic"},
]


def assert_joint_equals_single(cls=NeuralClassifier, y=Y, fit=None, **params):
    single = fitted(X, y, cls, fit, **SMALL | params | {"ensemble_size": 1})
    joint = fitted(X, y, cls, fit, **SMALL | params | {"ensemble_size": 5})
    epochs = single.n_iter_
    assert joint.net_.epochs_[0] == epochs
    assert torch.equal(param_buffer(joint)[0], param_buffer(single)[0])
    for name in ("train_loss", "valid_loss"):
        first_member = [row[f"member_{name}"][0] for row in joint.history_ if name in row]
        assert first_member[:epochs] == [row[name] for row in single.history_ if name in row]
    return joint


@pytest.mark.sample(3)
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_jointly_trained_member_equals_a_single_one_to_the_last_bit(activation, n_threads):
    for params in SETTINGS:
        assert_joint_equals_single(activation=activation, n_threads=n_threads, max_iter=3, **params)


def test_a_member_equals_a_single_one_if_others_stop_earlier():
    joint = assert_joint_equals_single(**NOISY | {"n_iter_no_change": 1, "ensemble_size": 5})
    assert len(set(joint.net_.epochs_)) > 1


def test_a_member_equals_a_single_one_with_sample_and_class_weights():
    weight = np.random.default_rng(0).uniform(0.1, 3, 120)
    assert_joint_equals_single(fit={"sample_weight": weight}, class_weight="balanced", label_smoothing=0.1)


def test_batches_whose_rows_all_have_weight_0_add_nothing_to_the_gradient():
    plain = {"solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False, "learning_rate": "constant", "alpha": 1.0}
    common = PLAIN | plain | {"batch_size": 30, "shuffle": False, "scaling": None, "class_weight": {0: 0.0, 1: 1.0}}
    y = np.repeat([0, 1], 60)  # the first two batches have weight 0
    two_batches, one_batch = fitted(X, y, **common), fitted(X[30:], y[30:], **common)
    assert math.isfinite(two_batches.loss_)
    torch.testing.assert_close(param_buffer(two_batches), param_buffer(one_batch))


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_wide_member_equals_a_single_one_with_several_threads(n_threads):
    assert_joint_equals_single(
        hidden_layer_sizes=(256, 128), batch_size=100, n_threads=n_threads, max_iter=2, early_stopping=False
    )


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "quantile", "poisson", "gamma"])
def test_a_member_of_a_regressor_equals_a_single_one(loss):
    y = np.exp(make_regression(120, 6, random_state=0)[1] / 200)
    assert_joint_equals_single(NeuralRegressor, y, loss=loss, batch_size=33)


def test_members_differ():
    rows = param_buffer(fitted(**SMALL, ensemble_size=3))
    assert not torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[1], rows[2])


# --- Members with different numbers of rows ---------------------------------------------------------------------------


def train_members(train_rows, members, shuffle=True, weight=None, rates=None, **plan):
    """Train these members, each on its first `train_rows` rows; return the net and the final weights by member."""
    numeric = torch.from_numpy(X).float()
    weight = None if weight is None else torch.from_numpy(weight).float()
    table = Table(numeric, None, torch.from_numpy(Y).float()[:, None], weight)
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
def test_members_with_different_numbers_of_rows_equal_single_ones(sizes, schedule):
    weight = np.random.default_rng(0).uniform(0.5, 2, 120)
    net, joint = train_members(sizes, range(len(sizes)), schedule=schedule, weight=weight)
    for m, size in enumerate(sizes):
        single_net, single = train_members([size], [m], schedule=schedule, weight=weight)
        assert torch.equal(joint[m], single[0])
        assert net.rows_seen_[m] == single_net.rows_seen_[0] == 4 * size
        assert net.history[-1, "valid_loss"] > 0


def test_members_with_different_numbers_of_rows_may_stop_at_different_epochs():
    sizes, plan = (100, 80, 80, 47), {"n_iter_no_change": 1, "restore_best": True, "max_iter": 40, "tol": 1e-3}
    net, joint = train_members(sizes, range(4), **plan)
    assert len(set(net.epochs_)) > 1
    for m, size in enumerate(sizes):
        single_net, single = train_members([size], [m], **plan)
        assert single_net.epochs_ == [net.epochs_[m]]
        assert torch.equal(joint[m], single[0])


def test_a_member_that_diverges_does_not_disturb_the_others():
    net, survivors = train_members([100, 100, 90], [0, 1, 2], rates=[0.01, 1e30, 0.01])
    assert net.diverged_members_ == {1: 1}
    assert net.failed_members_ == [1]
    assert torch.equal(survivors[0], train_members([100], [0])[1][0])
    assert survivors[1].isnan().all()
    assert torch.equal(survivors[2], train_members([90], [2])[1][0])


# --- Clipping, rows, dropout, random generators -----------------------------------------------------------------------


def test_with_clipping_joint_training_equals_single_training():
    """Some gradients are clipped, some are not, and some diverge."""
    settings = SMALL | {"ensemble_size": 1, "solver": "sgd", "learning_rate": "constant", "early_stopping": False}
    grid = [(0.5, 0.1), (None, 0.01), (1e-3, 5.0), (2.0, 0.1)]
    single = [
        fitted(**settings | {"max_grad_norm": max_norm, "learning_rate_init": rate, "alpha": 0.1}).loss_curve_
        for max_norm, rate in grid
    ]
    estimators = [
        NeuralClassifier(**settings | {"max_grad_norm": max_norm, "learning_rate_init": rate, "alpha": 0.1})
        for max_norm, rate in grid
    ]
    prepared = [est._prepare(*est._encode_all(X, Y)) for est in estimators]
    train_jointly([net for net, _ in prepared], [data for _, data in prepared])
    assert [[row["train_loss"] for row in net.history] for net, _ in prepared] == single


def test_the_gradient_norm_is_recorded_before_it_is_clipped():
    free, clipped = (
        fitted(**PLAIN | {"max_iter": 1, "batch_size": 120, "max_grad_norm": max_norm}, metrics="gradient_norm")
        for max_norm in (None, 1e-3)
    )
    assert clipped.history_[0]["gradient_norm"] == free.history_[0]["gradient_norm"] > 1e-3


def test_without_shuffling_batches_are_taken_in_row_order():
    """The reference is a loop with autograd and torch's SGD."""
    params = PLAIN | {"shuffle": False, "precision": "float64", "solver": "sgd", "momentum": 0.0, "activation": "tanh"}
    params |= {"learning_rate": "constant", "learning_rate_init": 0.1, "n_iter_no_change": 1000}
    est, data, weights = fit_and_record(**params)
    network = est.module_
    tensors = [network.view(weights[0], entry)[0].clone() for pair in network.linears() for entry in pair]
    for tensor in tensors:
        tensor.requires_grad_()
    solver = torch.optim.SGD(tensors, lr=0.1)
    numeric, target = data.table.numeric, data.table.target
    for _ in range(6):
        for start in range(0, 120, 32):
            x, y = numeric[start : start + 32], target[start : start + 32]
            z = torch.tanh(x @ tensors[0] + tensors[1]) @ tensors[2] + tensors[3]
            solver.zero_grad()
            torch.nn.functional.binary_cross_entropy_with_logits(z, y).backward()
            solver.step()
    entries = [entry for pair in network.linears() for entry in pair]
    for entry, tensor in zip(entries, tensors, strict=True):
        torch.testing.assert_close(network.view(param_buffer(est), entry)[0], tensor.detach(), rtol=1e-9, atol=1e-12)


def test_shuffling_changes_the_result():
    assert not torch.equal(param_buffer(fitted(**PLAIN, shuffle=False)), param_buffer(fitted(**PLAIN, shuffle=True)))


def test_dropout_changes_training_but_not_prediction():
    est, data, _ = fit_and_record(**PLAIN | {"dropout": 0.5})
    assert not torch.equal(param_buffer(est), param_buffer(fitted(**PLAIN)))
    np.testing.assert_array_equal(est.predict_proba(X), est.predict_proba(X))
    rows = torch.arange(120)
    assert log_loss(Y, est.predict_proba(X)) == pytest.approx(member_log_loss(est, 0, data, rows), rel=1e-5)


def test_a_random_state_gives_the_same_weights_for_any_state_of_the_global_generators():
    first = fitted(**NOISY)
    torch.manual_seed(123)
    np.random.seed(123)
    second = fitted(**NOISY)
    assert torch.equal(param_buffer(first), param_buffer(second))
    assert not torch.equal(param_buffer(first), param_buffer(fitted(**NOISY | {"random_state": 1})))


@pytest.mark.parametrize("params", [{}, {"solver": "lbfgs"}, {"solver": torch.optim.RMSprop}, {"n_threads": 2}])
def test_a_fit_does_not_change_the_settings_of_the_process(params):
    def state():
        numpy_state = np.random.get_state()[1].tolist()
        return torch.get_rng_state().tolist(), numpy_state, torch.get_num_threads(), torch.get_default_dtype()

    before = state()
    fitted(**SMALL | {"precision": "float64"} | params).predict(X)
    assert state() == before
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()


def test_a_failed_fit_restores_the_number_of_threads():
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="NaN or infinite"):
        NeuralClassifier(**PLAIN | {"n_threads": before + 1}, loss=NanAfter(0)).fit(X, Y)
    assert torch.get_num_threads() == before


def test_a_random_state_instance_gives_each_fit_another_seed():
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


def test_the_cosine_schedule_equals_that_of_torch():
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


def test_the_one_cycle_rate_rises_and_falls():
    """arXiv 1708.07120 with the constants of torch's OneCycleLR."""
    share = np.arange(10) / 10

    def half_cosine(start, stop, t):
        return stop + (start - stop) * (1 + math.cos(math.pi * t)) / 2

    expected = [
        half_cosine(0.01 / 25, 0.01, t / 0.3) if t < 0.3 else half_cosine(0.01, 0.01 / 25 / 1e4, (t - 0.3) / 0.7)
        for t in share
    ]
    assert rates(learning_rate="one_cycle") == pytest.approx(expected)


def test_a_constant_rate_does_not_change():
    assert rates(learning_rate="constant") == [0.01] * 10


@pytest.mark.parametrize("power_t", [0.5, 0.2])
def test_the_invscaling_schedule_equals_that_of_scikit_learn(power_t):
    settings = {"solver": "sgd", "learning_rate": "invscaling", "power_t": power_t}
    settings |= {"learning_rate_init": 0.01, "max_iter": 10}
    actual = rates(**settings, n_iter_no_change=100)
    assert actual == pytest.approx([0.01] + [0.01 / (120 * k + 1) ** power_t for k in range(1, 10)])
    mlp = quietly(MLPClassifier((10,), batch_size=30, **settings).fit, X, Y)
    assert 0.01 / (120 * 10 + 1) ** power_t == pytest.approx(mlp._optimizer.learning_rate)


def test_the_adaptive_schedule_divides_the_rate_and_stops_as_in_scikit_learn():
    settings = {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 1e-3, "max_iter": 200}
    settings |= {"tol": 1e6, "n_iter_no_change": 2, "batch_size": 30}
    mlp = MLPClassifier((10,), **settings).fit(X, Y)
    est = fitted(**PLAIN | settings)
    assert est.n_iter_ == mlp.n_iter_
    assert sorted({row["learning_rate"] for row in est.history_}, reverse=True) == pytest.approx(
        [1e-3 / 5**k for k in range(6)]
    )


def test_reduce_on_plateau_divides_the_rate_by_ten():
    actual = rates(learning_rate="reduce_on_plateau", tol=1e6, n_iter_no_change=2, max_iter=11)
    assert actual == pytest.approx([0.01] * 4 + [0.001] * 3 + [0.0001] * 3 + [0.00001])


# --- A loss that becomes NaN ------------------------------------------------------------------------------------------


class NanAfter:
    """A log loss that is NaN after a number of evaluations."""

    def __init__(self, calls):
        self.left = calls

    def __call__(self, z, y):
        self.left -= 1
        values = torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none")
        return values * math.nan if self.left < 0 else values


def test_a_loss_that_is_nan_from_the_start_raises_an_error_with_advice():
    with pytest.raises(ValueError, match=r"became NaN or infinite in epoch 1\. Try a smaller learning_rate_init"):
        NeuralClassifier(**PLAIN, loss=NanAfter(0)).fit(X, Y)


def test_a_huge_learning_rate_raises_an_error_with_advice():
    X, y = make_regression(120, 6, random_state=0)
    with pytest.raises(ValueError, match=r"became NaN or infinite in epoch 1\. Try a smaller learning_rate_init"):
        NeuralRegressor(**PLAIN, solver="sgd", activation="relu", learning_rate_init=1e20).fit(X, y)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_if_the_loss_becomes_nan_later_the_best_weights_are_kept(early_stopping):
    calls = 0

    def count(z, y):
        nonlocal calls
        calls += 1
        return torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none")

    params = PLAIN | {"early_stopping": early_stopping}
    NeuralClassifier(**params | {"max_iter": 1}, loss=count).fit(X, Y)
    recorder = WeightRecorder()
    est = NeuralClassifier(**params, loss=NanAfter(3 * calls + 1), callbacks=[recorder])
    with pytest.warns(UserWarning, match=r"in epoch 4\. .* The weights of the best epoch before are kept\."):
        est.fit(X, Y)
    losses = [row["valid_loss" if early_stopping else "train_loss"] for row in est.history_[:3]]
    best = 1 + int(np.argmin(losses))
    assert torch.equal(param_buffer(est), recorder.recorded.weights[best])
    assert np.isfinite(est.predict_proba(X)).all()
    assert est.n_iter_ == 4


# --- Resumed training -------------------------------------------------------------------------------------------------

STEADY = PLAIN | CONSTANT | {"shuffle": False, "n_iter_no_change": 1000}


def test_calls_of_partial_fit_equal_one_fit():
    """This holds without shuffling and with a constant learning rate."""
    whole = fitted(**STEADY)
    parts = NeuralClassifier(**STEADY)
    for _ in range(6):
        parts.partial_fit(X, Y, classes=[0, 1])
    assert torch.equal(param_buffer(parts), param_buffer(whole))
    assert parts.t_ == whole.t_ == 6 * 120
    assert parts.loss_curve_ == whole.loss_curve_


@pytest.mark.parametrize("solver", ["adam", "sgd", torch.optim.RMSprop])
def test_partial_fit_resumes_after_unpickling(solver):
    whole, parts = fitted(**STEADY | {"solver": solver}), NeuralClassifier(**STEADY | {"solver": solver})
    for _ in range(6):
        parts.partial_fit(X, Y, classes=[0, 1])
        parts = pickle.loads(pickle.dumps(parts))
    assert torch.equal(param_buffer(parts), param_buffer(whole))


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
def test_in_partial_fit_a_schedule_with_an_end_is_constant(schedule):
    """The number of calls is not known."""
    est = NeuralClassifier(**PLAIN | {"max_iter": 3, "learning_rate": schedule, "learning_rate_init": 0.01})
    for _ in range(8):
        before = None if not hasattr(est, "net_") else param_buffer(est).clone()
        est.partial_fit(X, Y, classes=[0, 1])
        assert before is None or not torch.equal(param_buffer(est), before)
    assert [row["learning_rate"] for row in est.history_] == [0.01] * 8


@pytest.mark.slow
def test_two_hundred_calls_of_partial_fit_reach_the_loss_of_fit():
    """The parameters are the defaults, and each call gets new rows."""
    X, y = make_classification(45_000, 8, n_informative=6, flip_y=0.1, random_state=0)
    new, labels = X[40_000:], y[40_000:]
    est, losses = NeuralClassifier(random_state=0), []
    for rows in np.array_split(np.arange(40_000), 200):
        est.partial_fit(X[rows], y[rows], classes=[0, 1])
        losses.append(log_loss(labels, est.predict_proba(new)))
    fit_loss = log_loss(labels, NeuralClassifier(random_state=0).fit(X[:1000], y[:1000]).predict_proba(new))
    assert np.mean(losses[-20:]) < fit_loss + 0.01
    assert np.mean(losses[-20:]) < np.mean(losses[40:60]) - 0.01  # it still improves after `max_iter` calls


def test_partial_fit_holds_no_rows_out():
    est = NeuralClassifier(**SMALL, early_stopping=True).partial_fit(X, Y, classes=[0, 1])
    assert est.t_ == 120
    assert "valid_loss" not in est.history_[-1]


def test_warm_start_resumes_from_the_fitted_weights():
    recorder = WeightRecorder()
    est = NeuralClassifier(**PLAIN, warm_start=True, callbacks=[recorder]).fit(X, Y)
    end = param_buffer(est).clone()
    est.fit(X, Y)
    assert torch.equal(recorder.recorded.weights[0], end)
    assert not torch.equal(param_buffer(est), end)
    assert len(est.loss_curve_) == 12
    assert (est.n_iter_, est.t_) == (6, 12 * 120)


def test_without_warm_start_a_second_fit_equals_the_first():
    est = NeuralClassifier(**PLAIN).fit(X, Y)
    first = param_buffer(est).clone()
    assert torch.equal(param_buffer(est.fit(X, Y)), first)
    assert len(est.history_) == 6


@pytest.mark.parametrize(
    ("name", "value", "built_with"),
    [
        ("hidden_layer_sizes", (11,), r"\(10,\)"),
        ("activation", "relu", "'silu'"),
        ("ensemble_size", 2, "1"),
        ("dropout", 0.5, r"\(0\.0,\)"),
        ("batch_norm", True, "False"),
    ],
)
def test_warm_start_refuses_another_network_and_names_the_parameter(name, value, built_with):
    est = NeuralClassifier(**PLAIN, warm_start=True).fit(X, Y).set_params(**{name: value})
    with pytest.raises(ValueError, match=f"^{name}=.*was built with {built_with}"):
        est.fit(X, Y)
    with pytest.raises(ValueError, match=f"^{name}=.*was built with {built_with}"):
        est.partial_fit(X, Y)


def test_warm_start_refuses_other_columns_and_new_classes():
    est = NeuralClassifier(**PLAIN, warm_start=True).fit(X, Y)
    with pytest.raises(ValueError, match="X has 5 features, but NeuralClassifier is expecting 6"):
        est.fit(X[:, :5], Y)
    with pytest.raises(ValueError, match=r"classes not in `self.classes_`: \[2\]"):
        est.fit(X, np.arange(120) % 3)

"""Resumed training: what `warm_start` and `partial_fit` keep, and what they refuse."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import scale
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import Callback, Freezer

from sknn import NeuralClassifier, NeuralRegressor, from_sklearn
from tests.common import QUICK, quietly


@pytest.fixture(scope="module")
def cancer():
    return load_breast_cancer(return_X_y=True, as_frame=True)


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return X, scale(y)


def test_warm_start_resumes_the_training(cancer):
    X, y = cancer
    clf = NeuralClassifier(warm_start=True, early_stopping=False, **QUICK | dict(learning_rate="cosine")).fit(X, y)
    first_loss = clf.loss_
    clf.fit(X, y)
    assert clf.loss_ < first_loss
    assert len(clf.loss_curve_) == 30
    assert clf.n_iter_ == 15


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"hidden_layer_sizes": (8,)}, "hidden_layer_sizes"),
        ({"ensemble_size": 3}, "ensemble_size"),
        ({"activation": "tanh"}, "activation"),
        ({"batch_norm": True}, "batch_norm"),
    ],
)
def test_warm_start_refuses_another_network_and_names_the_parameter(cancer, params, name):
    X, y = cancer
    clf = NeuralClassifier(warm_start=True, **QUICK).fit(X, y)
    with pytest.raises(ValueError, match=f"^{name}=.*was built with.*fit with warm_start=False"):
        clf.set_params(**params).fit(X, y)


def test_warm_start_refuses_other_columns_and_new_classes(cancer):
    X, y = cancer
    clf = NeuralClassifier(warm_start=True, **QUICK).fit(X, y)
    with pytest.raises(ValueError, match="feature names"):
        clf.fit(X.iloc[:, :5], y)
    with pytest.raises(ValueError, match=r"classes not in `self\.classes_`"):
        clf.fit(X, y + 1)


def test_the_first_call_of_partial_fit_needs_the_classes(cancer):
    X, y = cancer
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
        NeuralClassifier(**QUICK).partial_fit(X, y)
    clf = NeuralClassifier(**QUICK)
    clf.partial_fit(X[:200], np.zeros(200, dtype=int), classes=[0, 1])
    for _ in range(10):
        clf.partial_fit(X, y)
    assert clf.score(X, y) > 0.9
    assert clf.validation_scores_ is None  # nothing was held out


def test_partial_fit_refuses_balanced_class_weights_and_lbfgs(cancer):
    X, y = cancer
    with pytest.raises(ValueError, match=r"class_weight='balanced' is not supported for partial_fit"):
        NeuralClassifier(class_weight="balanced", **QUICK).partial_fit(X, y, classes=[0, 1])
    assert not hasattr(NeuralClassifier(solver="lbfgs"), "partial_fit")


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"loss": "poisson"}, "loss"),
        ({"numeric_embedding": "periodic"}, "numeric_embedding"),
        ({"precision": "float64"}, "precision"),
        ({"solver": "lbfgs"}, "solver"),
        ({"module": torch.nn.Linear}, "module"),
        ({"scaling": None}, "scaling"),
        ({"dropout": 0.5}, "dropout"),
    ],
)
def test_warm_start_refuses_changes_of_fixed_parameters(diabetes, params, name):
    X, y = diabetes
    reg = NeuralRegressor(warm_start=True, **QUICK).fit(X, y)
    before = reg.predict(X)
    with pytest.raises(ValueError, match=f"^{name}=.*was built with"):
        reg.set_params(**params).fit(X, np.abs(y))
    np.testing.assert_allclose(reg.predict(X), before, atol=1e-5)  # predicted in the new precision


def test_a_warm_start_with_another_solver_restores_its_own_best_epoch(diabetes):
    X, y = diabetes
    reg = NeuralRegressor(warm_start=True, **QUICK | dict(ensemble_size=1)).fit(
        X[:300], y[:300], X_val=X[300:], y_val=y[300:]
    )
    reg.set_params(solver="sgd", learning_rate_init=0.5, momentum=0.0, max_iter=3)
    reg.fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    loss = 0.5 * np.mean(((reg.predict(X[300:]) - y[300:]) / y[:300].std()) ** 2)
    assert -reg.best_validation_score_ == pytest.approx(loss, rel=1e-4)


def test_a_warm_start_that_diverges_leaves_the_model_unchanged(diabetes):
    X, y = diabetes
    reg = NeuralRegressor(warm_start=True, scaling=None, activation="relu", **QUICK).fit(X, y)
    before = reg.predict(X)
    with pytest.warns(UserWarning, match="became NaN or infinite"):
        reg.set_params(solver="sgd", learning_rate_init=1e30).fit(X, y)
    np.testing.assert_array_equal(reg.predict(X), before)


def test_a_partial_fit_that_diverges_warns_and_restores_the_weights(diabetes):
    X, y = diabetes
    params = QUICK | dict(learning_rate_init=1e6)
    reg = NeuralRegressor(solver="sgd", learning_rate="constant", scaling=None, activation="relu", **params)
    with pytest.raises(ValueError, match="became NaN or infinite in epoch 1"):
        reg.partial_fit(X, y)
    assert not hasattr(reg, "net_")
    reg.set_params(learning_rate_init=1e-3).partial_fit(X, y)
    before = reg.predict(X)
    reg.net_.optimizer_.param_groups[0]["lr"] = 1e6
    with pytest.warns(UserWarning, match="became NaN or infinite"):
        reg.partial_fit(X, y)
    np.testing.assert_array_equal(reg.predict(X), before)
    assert np.isfinite(reg.partial_fit(X, y).predict(X)).all()


@pytest.mark.parametrize(
    "params",
    [{"learning_rate": "invscaling"}, {"learning_rate": "adaptive", "tol": 10.0, "n_iter_no_change": 1}, {}],
    ids=["invscaling", "adaptive", "constant"],
)
def test_partial_fit_follows_the_schedules_of_scikit_learn(diabetes, params):
    X, y = diabetes
    settings = dict(solver="sgd", learning_rate_init=0.05, shuffle=False, hidden_layer_sizes=(8,), random_state=0)
    fitted = MLPRegressor(**settings | params).partial_fit(X, y)
    reg = from_sklearn(fitted, precision="float64")
    # `from_sklearn` takes the weights and resets the counters, so reset those of scikit-learn, too.
    mlp = MLPRegressor(**settings | params).partial_fit(X, y)
    mlp._optimizer.velocities = [np.zeros_like(v) for v in mlp._optimizer.velocities]
    mlp._optimizer.learning_rate, mlp.t_ = 0.05, 0
    mlp.best_loss_, mlp._no_improvement_count = np.inf, 0
    for _ in range(12):
        reg.partial_fit(X, y)
        mlp.partial_fit(X, y)
    np.testing.assert_allclose(reg.coefs_[0], mlp.coefs_[0], rtol=1e-8, atol=1e-10)


def test_partial_fit_after_fit_starts_a_new_solver(cancer):
    X, y = cancer
    clf = NeuralClassifier(n_iter_no_change=2, callbacks=[], **QUICK | dict(ensemble_size=4, max_iter=40)).fit(X, y)
    copied = pickle.loads(pickle.dumps(clf))
    before = clf.coefs_[0].copy()
    clf.partial_fit(X, y)
    moved = np.abs(clf.coefs_[0] - before).max(axis=(1, 2))
    assert (moved > 1e-4).all()
    np.testing.assert_array_equal(copied.partial_fit(X, y).coefs_[0], clf.coefs_[0])


def test_fit_and_partial_fit_can_follow_each_other(cancer):
    X, y = cancer
    clf = NeuralClassifier(warm_start=True, **QUICK).partial_fit(X, y, classes=[0, 1]).fit(X, y)
    assert len(clf.validation_scores_) == clf.n_iter_
    assert len(clf.loss_curve_) == clf.n_iter_ + 1
    clf.partial_fit(X, y)
    assert clf.validation_scores_ is None
    clf.fit(X[:400], y[:400], X_val=X[400:], y_val=y[400:])
    assert clf.score(X, y) > 0.9


def test_a_failed_fit_leaves_the_estimator_unchanged(cancer):
    X, y = cancer
    clf = NeuralClassifier(**QUICK).fit(X, y)
    before = clf.predict_proba(X)
    with pytest.raises(ValueError, match=r"module=.* gives an output of shape"):
        clf.set_params(module=lambda i, o: torch.nn.Linear(i, o + 1)).fit(X.iloc[:3, :2], ["a", "b", "c"])
    clf.set_params(module=None)
    assert clf.classes_.tolist() == [0, 1]
    np.testing.assert_array_equal(clf.predict_proba(X), before)
    fresh = NeuralClassifier(**QUICK)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        fresh.fit(X, np.linspace(0, 1, len(y)))
    assert not hasattr(fresh, "n_features_in_")


class FailsInEpoch(Callback):
    """Raises in an epoch while it is armed; the estimator trains with copies of it, which share the switch."""

    def __init__(self, error, epoch):
        self.error, self.epoch, self.switch = error, epoch, {"armed": False}

    def on_epoch_begin(self, net, **kwargs):
        self.epochs_begun_ = getattr(self, "epochs_begun_", 0) + 1

    def on_epoch_end(self, net, **kwargs):
        if self.switch["armed"] and self.epochs_begun_ == self.epoch:
            raise self.error("in the middle")


def batch_norm_module(in_features, out_features):
    return torch.nn.Sequential(
        torch.nn.Linear(in_features, 8),
        torch.nn.BatchNorm1d(8),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(8, out_features),
    )


def test_a_failed_partial_fit_leaves_a_custom_module_unchanged(cancer):
    """This includes what the parameter buffer does not hold: counters, generators and frozen parameters."""
    X, y = cancer
    fails = FailsInEpoch(RuntimeError, epoch=1)
    clf = NeuralClassifier(**QUICK, module=batch_norm_module, callbacks=[fails])
    clf.partial_fit(X, y, classes=[0, 1])
    generator_state = clf.module_.generator_modes[0].states["cpu"].clone()
    n_batches = clf.module_.members[0].get_buffer("1.num_batches_tracked").clone()
    before = clf.predict_proba(X)
    fails.switch["armed"] = True
    clf.set_params(callbacks=[Freezer(lambda name: True), fails])
    with pytest.raises(RuntimeError, match="in the middle"):
        clf.partial_fit(X, y)
    np.testing.assert_array_equal(clf.predict_proba(X), before)
    assert torch.equal(clf.module_.members[0].get_buffer("1.num_batches_tracked"), n_batches)
    assert all(p.requires_grad for p in clf.module_.parameters())
    assert torch.equal(clf.module_.generator_modes[0].states["cpu"], generator_state)


@pytest.mark.parametrize(
    ("params", "changed"),
    [
        ({}, {"loss": "poisson"}),
        ({"loss": "poisson"}, {"loss": "squared_error"}),
        ({"loss": "quantile", "quantile": [0.1, 0.9]}, {"quantile": 0.5}),
        ({"loss": "quantile", "quantile": 0.9}, {"loss": "squared_error"}),
        ({}, {"precision": "float64"}),
        ({"precision": "float32"}, {"precision": "auto"}),
        ({}, {"module": torch.nn.Linear, "scaling": None}),
        ({"module": torch.nn.Linear}, {"module": None, "solver": "lbfgs"}),
    ],
)
def test_set_params_does_not_change_a_fitted_model(diabetes, params, changed):
    X, y = diabetes
    y = np.abs(y)
    reg = NeuralRegressor(**QUICK | params).fit(X, y)
    before = reg.predict(X), reg.score(X, y), reg.out_activation_, pickle.loads(pickle.dumps(reg)).predict(X)
    reg.set_params(**changed)
    after = reg.predict(X), reg.score(X, y), reg.out_activation_, pickle.loads(pickle.dumps(reg)).predict(X)
    for actual, expected in zip(after, before, strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_rows_of_more_dimensions_are_predicted_by_the_fitted_module():
    X, y = np.random.default_rng(0).normal(size=(80, 2, 3)), np.arange(80) % 2
    clf = NeuralClassifier(**QUICK, module=flattening_module).fit(X, y)
    before = clf.predict_proba(X)
    np.testing.assert_array_equal(clf.set_params(module=None).predict_proba(X), before)


def flattening_module(in_features, out_features):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(int(np.prod(in_features)), out_features))


def test_class_weight_may_name_a_class_that_a_batch_lacks(cancer):
    X, y = cancer
    names = np.array(["a", "b"])[y]
    clf = NeuralClassifier(class_weight={"b": 5.0}, **QUICK)
    clf.partial_fit(X[names == "a"], names[names == "a"], classes=["a", "b", "c"]).partial_fit(X, names)
    assert set(clf.predict(X)) <= {"a", "b", "c"}
    assert (
        NeuralClassifier(class_weight={"b": 5.0}, **QUICK)
        .fit(X, names, X_val=X[names == "a"], y_val=names[names == "a"])
        .score(X, names)
        > 0.8
    )
    for weights in ({"z": 1.0}, {"a": -1.0}, {"a": 0.0, "b": 0.0}):
        with pytest.raises(ValueError, match="must give weights of 0 or more, not all 0, to labels of y"):
            NeuralClassifier(class_weight=weights, **QUICK).fit(X, names)


def test_a_moved_network_can_be_resumed():
    """Moving a network gives it other memory, which the kept solver has to use."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    settings = {"hidden_layer_sizes": (32,), "ensemble_size": 1, "random_state": 0}
    moved, unmoved = (NeuralClassifier(**settings).partial_fit(X, y, classes=[0, 1]) for _ in range(2))
    moved.module_.double().float()
    moved.module_.cpu()
    for _ in range(10):
        moved.partial_fit(X, y)
        unmoved.partial_fit(X, y)
    assert torch.equal(moved.module_.param_buffer, unmoved.module_.param_buffer)


@pytest.mark.parametrize("solver", ["adamw", "lbfgs"])
def test_a_fit_releases_the_memory_of_its_batches(solver):
    X, y = np.random.default_rng(0).normal(size=(200, 4)), np.arange(200) % 2
    clf = NeuralClassifier((16,), solver=solver, early_stopping=False, max_iter=3, random_state=0)
    quietly(clf.fit, X, y)
    assert [part.bound_layers() for part in clf.module_.parts if part.bound_layers()] == []


# --- A failed training changes nothing --------------------------------------------------------------------------------


class CallbackError(Exception):
    pass


class FailsAtCall(Callback):
    """Raises at the n-th call of one method after `arm`; its copies share the counters."""

    def __init__(self, method, n):
        self.calls_left = {}
        self.method, self.n = method, n

    def arm(self):
        self.calls_left[self.method] = self.n

    def notify(self, method):
        self.calls_left[method] = self.calls_left.get(method, 0) - 1
        if self.calls_left[method] == 0:
            raise CallbackError

    def on_train_begin(self, net, **kwargs):
        self.notify("on_train_begin")

    def on_epoch_begin(self, net, **kwargs):
        self.notify("on_epoch_begin")

    def on_batch_end(self, net, **kwargs):
        self.notify("on_batch_end")

    def on_epoch_end(self, net, **kwargs):
        self.notify("on_epoch_end")

    def on_train_end(self, net, **kwargs):
        self.notify("on_train_end")


def fit(clf, X, y):
    return quietly(clf.fit, X, y)


def partial_fit(clf, X, y):
    return clf.partial_fit(X, y, classes=[0, 1])


def partial_fit_after_fit(clf, X, y):
    return clf.partial_fit(X, y) if hasattr(clf, "net_") else clf.fit(X, y)


def fitted_state(clf, X):
    """Return predictions, the length of the history, and copies of fitted attributes."""
    names = ("history_", "loss_curve_", "loss_", "best_loss_", "validation_scores_", "n_iter_", "t_")
    attributes = [copy.deepcopy(getattr(clf, name)) for name in names]
    return [clf.predict_proba(X).tolist(), len(clf.net_.history), *attributes]


CALLS = [("on_train_begin", 1), ("on_epoch_begin", 1), ("on_batch_end", 2), ("on_epoch_end", 1), ("on_train_end", 1)]
LATE_CALLS = [("on_batch_end", 20), ("on_epoch_end", 3)]
TRAININGS = {
    "fit": (fit, {}, CALLS + LATE_CALLS),
    "warm start": (fit, {"warm_start": True}, CALLS + LATE_CALLS),
    "warm start of torch's solver": (fit, {"warm_start": True, "solver": torch.optim.RMSprop}, LATE_CALLS),
    "warm start of lbfgs": (fit, {"warm_start": True, "solver": "lbfgs", "max_iter": 5}, [LATE_CALLS[1]]),
    "partial_fit": (partial_fit, {}, CALLS),
    "partial_fit after fit": (partial_fit_after_fit, {}, [CALLS[2]]),
}
FAILURES = [(training, *call) for training, (_, _, calls) in TRAININGS.items() for call in calls]


@pytest.mark.sample(3)
@pytest.mark.parametrize(("training", "method", "n"), FAILURES)
def test_a_callback_that_fails_at_any_call_leaves_the_estimator_unchanged(cancer, training, method, n):
    X, y = cancer
    train, params, _ = TRAININGS[training]
    params = QUICK | {"batch_norm": True, "batch_size": 100} | params
    failing = FailsAtCall(method, n)
    clf, reference = (NeuralClassifier(**params, callbacks=callbacks) for callbacks in ([failing], None))
    for est in (clf, reference):
        train(est, X, y)
        if train is not partial_fit_after_fit:
            train(est, X, y)
    before = fitted_state(clf, X)

    failing.arm()
    with pytest.raises(CallbackError):
        train(clf, X, y)

    assert fitted_state(clf, X) == before
    np.testing.assert_array_equal(train(clf, X, y).predict_proba(X), train(reference, X, y).predict_proba(X))


@pytest.mark.parametrize(("method", "n"), CALLS)
@pytest.mark.parametrize("train", [fit, partial_fit])
def test_a_callback_that_fails_in_a_first_training_leaves_no_model(cancer, train, method, n):
    X, y = cancer
    failing = FailsAtCall(method, n)
    clf = NeuralClassifier(**QUICK, callbacks=[failing])
    failing.arm()
    with pytest.raises(CallbackError):
        train(clf, X, y)
    with pytest.raises(NotFittedError):
        check_is_fitted(clf)
    assert not [name for name in vars(clf) if name.endswith("_")]
    np.testing.assert_array_equal(
        train(clf, X, y).predict_proba(X), train(NeuralClassifier(**QUICK), X, y).predict_proba(X)
    )

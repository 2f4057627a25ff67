"""Training on: `warm_start` and `partial_fit`, what they keep, and what they refuse."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import scale
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import Callback, Freezer

from sknn import NeuralClassifier, NeuralRegressor, from_sklearn
from tests.common import QUICK


@pytest.fixture(scope="module")
def cancer():
    return load_breast_cancer(return_X_y=True, as_frame=True)


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return X, scale(y)


def test_warm_start_goes_on(cancer):
    X, y = cancer
    clf = NeuralClassifier(warm_start=True, early_stopping=False, **QUICK | dict(learning_rate="cosine")).fit(X, y)
    first = clf.loss_
    clf.fit(X, y)
    assert clf.loss_ < first
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
def test_warm_start_refuses_another_network_by_name(cancer, params, name):
    X, y = cancer
    clf = NeuralClassifier(warm_start=True, **QUICK).fit(X, y)
    with pytest.raises(ValueError, match=f"^{name}=.*was built with.*fit with warm_start=False"):
        clf.set_params(**params).fit(X, y)


def test_warm_start_refuses_other_columns_and_classes(cancer):
    X, y = cancer
    clf = NeuralClassifier(warm_start=True, **QUICK).fit(X, y)
    with pytest.raises(ValueError, match="feature names"):
        clf.fit(X.iloc[:, :5], y)
    with pytest.raises(ValueError, match=r"classes not in `self\.classes_`"):
        clf.fit(X, y + 1)


def test_partial_fit_needs_the_classes_first(cancer):
    X, y = cancer
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
        NeuralClassifier(**QUICK).partial_fit(X, y)
    clf = NeuralClassifier(**QUICK)
    clf.partial_fit(X[:200], np.zeros(200, dtype=int), classes=[0, 1])
    for _ in range(10):
        clf.partial_fit(X, y)
    assert clf.score(X, y) > 0.9
    assert clf.validation_scores_ is None  # nothing was held out


def test_partial_fit_refuses_balanced_classes_and_lbfgs(cancer):
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
def test_warm_start_refuses_what_a_network_keeps_for_life(diabetes, params, name):
    X, y = diabetes
    reg = NeuralRegressor(warm_start=True, **QUICK).fit(X, y)
    before = reg.predict(X)
    with pytest.raises(ValueError, match=f"^{name}=.*was built with"):
        reg.set_params(**params).fit(X, np.abs(y))
    np.testing.assert_allclose(reg.predict(X), before, atol=1e-5)  # in the new precision


def test_a_warm_start_keeps_the_best_epoch_of_its_own(diabetes):
    X, y = diabetes
    reg = NeuralRegressor(warm_start=True, **QUICK | dict(ensemble_size=1)).fit(
        X[:300], y[:300], X_val=X[300:], y_val=y[300:]
    )
    reg.set_params(solver="sgd", learning_rate_init=0.5, momentum=0.0, max_iter=3)
    reg.fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    now = 0.5 * np.mean(((reg.predict(X[300:]) - y[300:]) / y[:300].std()) ** 2)
    assert -reg.best_validation_score_ == pytest.approx(now, rel=1e-4)


def test_a_warm_start_that_diverges_leaves_the_model_as_it_was(diabetes):
    X, y = diabetes
    reg = NeuralRegressor(warm_start=True, scaling=None, activation="relu", **QUICK).fit(X, y)
    before = reg.predict(X)
    with pytest.warns(UserWarning, match="became NaN or infinite"):
        reg.set_params(solver="sgd", learning_rate_init=1e30).fit(X, y)
    np.testing.assert_array_equal(reg.predict(X), before)


def test_partial_fit_that_diverges_warns_and_goes_back(diabetes):
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
def test_partial_fit_follows_scikit_learns_schedules(diabetes, params):
    X, y = diabetes
    settings = dict(solver="sgd", learning_rate_init=0.05, shuffle=False, hidden_layer_sizes=(8,), random_state=0)
    mlp = MLPRegressor(**settings | params).partial_fit(X, y)
    ours = from_sklearn(mlp, precision="float64")
    # The weights are those after a step; the counters start afresh, so theirs do, too.
    theirs = MLPRegressor(**settings | params).partial_fit(X, y)
    theirs._optimizer.velocities = [np.zeros_like(v) for v in theirs._optimizer.velocities]
    theirs._optimizer.learning_rate, theirs.t_ = 0.05, 0
    theirs.best_loss_, theirs._no_improvement_count = np.inf, 0
    for _ in range(12):
        ours.partial_fit(X, y)
        theirs.partial_fit(X, y)
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-8, atol=1e-10)


def test_partial_fit_after_a_fit_starts_its_own_solver(cancer):
    X, y = cancer
    clf = NeuralClassifier(n_iter_no_change=2, callbacks=[], **QUICK | dict(ensemble_size=4, max_iter=40)).fit(X, y)
    copied = pickle.loads(pickle.dumps(clf))
    before = clf.coefs_[0].copy()
    clf.partial_fit(X, y)
    moved = np.abs(clf.coefs_[0] - before).max(axis=(1, 2))
    assert (moved > 1e-4).all()
    np.testing.assert_array_equal(copied.partial_fit(X, y).coefs_[0], clf.coefs_[0])


def test_fits_of_different_kinds_follow_each_other(cancer):
    X, y = cancer
    clf = NeuralClassifier(warm_start=True, **QUICK).partial_fit(X, y, classes=[0, 1]).fit(X, y)
    assert len(clf.validation_scores_) == clf.n_iter_
    assert len(clf.loss_curve_) == clf.n_iter_ + 1
    clf.partial_fit(X, y)
    assert clf.validation_scores_ is None
    clf.fit(X[:400], y[:400], X_val=X[400:], y_val=y[400:])
    assert clf.score(X, y) > 0.9


def test_a_failed_fit_leaves_the_estimator_as_it_was(cancer):
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
    """Raises in an epoch, as long as it is armed; the estimator trains copies of it, which share the switch."""

    def __init__(self, error, epoch):
        self.error, self.epoch, self.switch = error, epoch, {"armed": False}

    def on_epoch_begin(self, net, **kwargs):
        self.begun_ = getattr(self, "begun_", 0) + 1

    def on_epoch_end(self, net, **kwargs):
        if self.switch["armed"] and self.begun_ == self.epoch:
            raise self.error("in the middle")


def normalised(in_features, out_features):
    return torch.nn.Sequential(
        torch.nn.Linear(in_features, 8),
        torch.nn.BatchNorm1d(8),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(8, out_features),
    )


def test_a_failed_partial_fit_leaves_a_custom_module_as_it_was(cancer):
    """Also what is no number in the flat buffer: counters, and what a callback has frozen."""
    X, y = cancer
    fails = FailsInEpoch(RuntimeError, epoch=1)
    clf = NeuralClassifier(**QUICK, module=normalised, callbacks=[fails])
    clf.partial_fit(X, y, classes=[0, 1])
    drawn = clf.module_.generator_modes[0].states["cpu"].clone()
    counted = clf.module_.members[0].get_buffer("1.num_batches_tracked").clone()
    before = clf.predict_proba(X)
    fails.switch["armed"] = True
    clf.set_params(callbacks=[Freezer(lambda name: True), fails])
    with pytest.raises(RuntimeError, match="in the middle"):
        clf.partial_fit(X, y)
    np.testing.assert_array_equal(clf.predict_proba(X), before)
    assert torch.equal(clf.module_.members[0].get_buffer("1.num_batches_tracked"), counted)
    assert all(p.requires_grad for p in clf.module_.parameters())
    assert torch.equal(clf.module_.generator_modes[0].states["cpu"], drawn)


@pytest.mark.parametrize(
    ("built", "changed"),
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
def test_set_params_does_not_change_a_fitted_model(diabetes, built, changed):
    X, y = diabetes
    y = np.abs(y)
    reg = NeuralRegressor(**QUICK | built).fit(X, y)
    before = reg.predict(X), reg.score(X, y), reg.out_activation_, pickle.loads(pickle.dumps(reg)).predict(X)
    reg.set_params(**changed)
    now = reg.predict(X), reg.score(X, y), reg.out_activation_, pickle.loads(pickle.dumps(reg)).predict(X)
    for one, other in zip(now, before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_rows_of_more_dimensions_are_predicted_by_the_module_that_was_fitted():
    X, y = np.random.default_rng(0).normal(size=(80, 2, 3)), np.arange(80) % 2
    clf = NeuralClassifier(**QUICK, module=flattened).fit(X, y)
    before = clf.predict_proba(X)
    np.testing.assert_array_equal(clf.set_params(module=None).predict_proba(X), before)


def flattened(in_features, out_features):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(int(np.prod(in_features)), out_features))


def test_a_class_that_a_batch_lacks_keeps_its_weight(cancer):
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


def test_a_network_that_was_moved_trains_on():
    """What torch moves gets other memory, which the kept solver has to notice."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    settings = {"hidden_layer_sizes": (32,), "ensemble_size": 1, "random_state": 0}
    moved, left = (NeuralClassifier(**settings).partial_fit(X, y, classes=[0, 1]) for _ in range(2))
    moved.module_.double().float()
    moved.module_.cpu()
    for _ in range(10):
        moved.partial_fit(X, y)
        left.partial_fit(X, y)
    assert torch.equal(moved.module_.param_buffer, left.module_.param_buffer)


@pytest.mark.parametrize("solver", ["adamw", "lbfgs"])
def test_nothing_of_the_batches_stays_after_a_fit(solver):
    X, y = np.random.default_rng(0).normal(size=(200, 4)), np.arange(200) % 2
    clf = NeuralClassifier((16,), solver=solver, early_stopping=False, max_iter=3, random_state=0)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        clf.fit(X, y)
    assert clf.module_.bound_layers() == []


# --- All or nothing ---------------------------------------------------------------------------------------------------


class MistakeError(Exception):
    pass


class MakesAMistake(Callback):
    """Raises at the n-th call of one of skorch's methods, once it is armed; copies share what is armed."""

    def __init__(self, method, n):
        self.armed = {}
        self.method, self.n = method, n

    def arm(self):
        self.armed[self.method] = self.n

    def notify(self, method):
        self.armed[method] = self.armed.get(method, 0) - 1
        if self.armed[method] == 0:
            raise MistakeError

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
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        return clf.fit(X, y)


def partial_fit(clf, X, y):
    return clf.partial_fit(X, y, classes=[0, 1])


def partial_fit_after_fit(clf, X, y):
    return clf.partial_fit(X, y) if hasattr(clf, "net_") else clf.fit(X, y)


def whole_state(clf, X):
    names = ("history_", "loss_curve_", "loss_", "best_loss_", "validation_scores_", "n_iter_", "t_")
    return [clf.predict_proba(X).tolist(), len(clf.net_.history), *(copy.deepcopy(getattr(clf, n)) for n in names)]


MOMENTS = [("on_train_begin", 1), ("on_epoch_begin", 1), ("on_batch_end", 2), ("on_epoch_end", 1), ("on_train_end", 1)]
LATER = [("on_batch_end", 20), ("on_epoch_end", 3)]
WAYS = {
    "fit": (fit, {}, MOMENTS + LATER),
    "warm start": (fit, {"warm_start": True}, MOMENTS + LATER),
    "warm start of torch's solver": (fit, {"warm_start": True, "solver": torch.optim.RMSprop}, LATER),
    "warm start of lbfgs": (fit, {"warm_start": True, "solver": "lbfgs", "max_iter": 5}, [LATER[1]]),
    "partial_fit": (partial_fit, {}, MOMENTS),
    "partial_fit after fit": (partial_fit_after_fit, {}, [MOMENTS[2]]),
}
MISTAKES = [(way, *moment) for way, (_, _, moments) in WAYS.items() for moment in moments]


@pytest.mark.parametrize(("way", "method", "n"), MISTAKES)
def test_a_callbacks_mistake_at_any_moment_leaves_the_estimator_as_it_was(cancer, way, method, n):
    X, y = cancer
    train, params, _ = WAYS[way]
    params = QUICK | {"batch_norm": True, "batch_size": 100} | params
    mistake = MakesAMistake(method, n)
    clf, never = (NeuralClassifier(**params, callbacks=callbacks) for callbacks in ([mistake], None))
    for est in (clf, never):
        train(est, X, y)
        if train is not partial_fit_after_fit:
            train(est, X, y)
    before = whole_state(clf, X)

    mistake.arm()
    with pytest.raises(MistakeError):
        train(clf, X, y)

    assert whole_state(clf, X) == before
    np.testing.assert_array_equal(train(clf, X, y).predict_proba(X), train(never, X, y).predict_proba(X))


@pytest.mark.parametrize(("method", "n"), MOMENTS)
@pytest.mark.parametrize("train", [fit, partial_fit])
def test_a_callbacks_mistake_in_a_first_training_leaves_no_model(cancer, train, method, n):
    X, y = cancer
    mistake = MakesAMistake(method, n)
    clf = NeuralClassifier(**QUICK, callbacks=[mistake])
    mistake.arm()
    with pytest.raises(MistakeError):
        train(clf, X, y)
    with pytest.raises(NotFittedError):
        check_is_fitted(clf)
    assert not [name for name in vars(clf) if name.endswith("_")]
    np.testing.assert_array_equal(
        train(clf, X, y).predict_proba(X), train(NeuralClassifier(**QUICK), X, y).predict_proba(X)
    )

"""Joint training: each estimator gets the result of its single training, to the last bit."""

import signal

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from sknn import NeuralClassifier, NeuralRegressor
from sknn.network.activations import ACTIVATIONS
from sknn.training.joint import train_jointly
from sknn.utils.threads import threads
from tests.common import weights_of

CANCER = load_breast_cancer(return_X_y=True)
WINE = load_wine(return_X_y=True)
DIABETES = load_diabetes(return_X_y=True)
SMALL = {"hidden_layer_sizes": (9, 5), "ensemble_size": 2, "max_iter": 6, "random_state": 0, "batch_size": 32}
CANDIDATES = [
    {},
    {"learning_rate_init": 0.02},
    {"dropout": 0.0},
    {"dropout": (0.4, 0.0)},
    {"alpha": 0.3, "weight_decay": 0.0},
    {"weight_decay": 0.5},
    {"random_state": 3},
    {"tol": 10.0, "n_iter_no_change": 1},
    {"validation_fraction": 0.3},
]


def fit_jointly(estimators, rows, weights=None):
    """Return copies of the estimators, trained jointly, each on its own rows."""
    copies, nets, datasets = [clone(est) for est in estimators], [], []
    for k, (est, (X, y)) in enumerate(zip(copies, rows, strict=True)):
        table, n_rows = est._encode_all(X, y, None if weights is None else weights[k])
        net, data = est._prepare(table, n_rows)
        nets.append(net)
        datasets.append(data)
    with threads(1, 0):
        train_jointly(nets, datasets)
    for est, net in zip(copies, nets, strict=True):
        est._finish_fit(net)
    return copies


def folds(X, y, n=2):
    """Return the training rows of folds of different sizes."""
    index = np.arange(X.shape[0])
    return [(X[index % (k + 2) != 0], y[index % (k + 2) != 0]) for k in range(n)]


def without_times(history):
    times = ("seconds", "rows_per_second")
    return [{name: value for name, value in row.items() if name not in times} for row in history]


def assert_joint_equals_single(estimators, rows, weights=None):
    jointly_trained = fit_jointly(estimators, rows, weights)
    for k, (est, other, (X, y)) in enumerate(zip(estimators, jointly_trained, rows, strict=True)):
        est.set_params(n_threads=1).fit(X, y, sample_weight=None if weights is None else weights[k])
        assert torch.equal(weights_of(est), weights_of(other)), est
        np.testing.assert_array_equal(est.member_weights_, other.member_weights_)
        assert without_times(est.history_) == without_times(other.history_), est
        assert est.n_iter_ == other.n_iter_
        assert est.validation_scores_ == other.validation_scores_
        np.testing.assert_array_equal(est.predict(X), other.predict(X))
    return jointly_trained


def candidates_by_folds(base, candidates, X, y):
    """Return an estimator for each candidate and fold, and the rows of each."""
    pairs = [(clone(base).set_params(**params), rows) for params in candidates for rows in folds(X, y)]
    return [est for est, _ in pairs], [rows for _, rows in pairs]


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("data", [CANCER, WINE], ids=["binary", "multiclass"])
def test_jointly_trained_classifiers_equal_single_ones(data, early_stopping):
    base = NeuralClassifier(**SMALL, early_stopping=early_stopping)
    jointly_trained = assert_joint_equals_single(
        *candidates_by_folds(base, [*CANDIDATES, {"label_smoothing": 0.1}], *data)
    )
    if early_stopping:
        assert len({est.n_iter_ for est in jointly_trained}) > 1  # some stopped before others


def test_jointly_trained_regressors_equal_single_ones():
    assert_joint_equals_single(*candidates_by_folds(NeuralRegressor(**SMALL), CANDIDATES, *DIABETES))


@pytest.mark.sample(3)
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_joint_training_is_exact_with_every_activation(activation):
    base = NeuralClassifier(**SMALL, activation=activation)
    assert_joint_equals_single(
        *candidates_by_folds(base, [{}, {"learning_rate_init": 0.02}, {"dropout": 0.5}], *CANCER)
    )


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    "params",
    [
        {"solver": "adam", "learning_rate": "constant", "n_iter_no_change": 50},
        {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1, "n_iter_no_change": 1, "tol": 0.01},
        {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
        {"learning_rate": "one_cycle"},
        {"batch_norm": True},
        {"numeric_embedding": "periodic"},
        {"numeric_embedding": "piecewise_linear"},
        {"scaling": "standard"},
        {"metrics": ["accuracy", "roc_auc", "gradient_norm"], "scoring": "roc_auc"},
        {"metrics": ["balanced_accuracy"], "scoring": "balanced_accuracy"},
        {"precision": "float64"},
        {"hidden_layer_sizes": (), "dropout": 0.0},
        {"ensemble_size": 1},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Maximum iterations")
def test_joint_training_is_exact_with_every_setting(params):
    base = NeuralClassifier(**SMALL | params)
    X, y = CANCER
    assert_joint_equals_single(
        *candidates_by_folds(base, [{}, {"learning_rate_init": 0.05}, {"random_state": 1}], X[:200, :8], y[:200])
    )


def test_the_metrics_of_a_regressor_are_in_the_units_of_its_own_y():
    base = NeuralRegressor(**SMALL, metrics=["rmse", "r2"], scoring=None)
    X, y = DIABETES
    rows = [(X, y), (X, 100 * y), (X[:300], y[:300])]
    jointly_trained = assert_joint_equals_single([clone(base) for _ in rows], rows)
    first, second, _ = (est.history_[-1]["valid_rmse"] for est in jointly_trained)
    assert second > 50 * first


def test_each_estimator_has_its_own_row_weights():
    X, y = CANCER
    rng = np.random.default_rng(0)
    rows = folds(X, y, 3)
    base = NeuralClassifier(**SMALL)
    weights = [rng.uniform(0.1, 3, len(part[1])) for part in rows]
    assert_joint_equals_single([clone(base).set_params(alpha=0.1 * k) for k in range(3)], rows, weights)
    weighted = [clone(base).set_params(class_weight=w) for w in ("balanced", {0: 5.0}, {1: 0.2})]
    assert_joint_equals_single(weighted, rows)


def test_joint_training_is_exact_with_sparse_rows_and_category_codes():
    X, y = CANCER
    assert_joint_equals_single(
        *candidates_by_folds(NeuralClassifier(**SMALL), [{}, {"dropout": 0.0}], sp.csr_array(X[:, :6]), y)
    )
    codes = np.column_stack([X[:, :3], np.random.default_rng(0).integers(0, 20, len(X))])
    assert_joint_equals_single(
        *candidates_by_folds(NeuralClassifier(**SMALL, categorical_features=[3]), [{}, {"alpha": 1.0}], codes, y)
    )


def test_an_estimator_that_diverges_does_not_change_the_others():
    X, y = CANCER
    estimators = [NeuralClassifier(**SMALL, learning_rate_init=rate, scaling=None) for rate in (0.01, 1e30, 0.003)]
    copies, nets, datasets = [clone(est) for est in estimators], [], []
    for est in copies:
        net, data = est._prepare(*est._encode_all(X, y))
        nets.append(net)
        datasets.append(data)
    train_jointly(nets, datasets)
    assert [bool(net.failed_members_) for net in nets] == [False, True, False]
    with pytest.raises(ValueError, match="became NaN"):
        copies[1]._finish_fit(nets[1])
    for k in (0, 2):
        copies[k]._finish_fit(nets[k])
        assert torch.equal(weights_of(copies[k]), weights_of(estimators[k].fit(X, y)))


def test_jointly_trained_estimators_can_be_resumed():
    X, y = CANCER
    est, other = fit_jointly([NeuralClassifier(**SMALL), NeuralClassifier(**SMALL, alpha=0.1)], [(X, y)] * 2)
    assert len(est.partial_fit(X, y).history_) == len(est.loss_curve_) > len(other.loss_curve_) - 6
    other.set_params(warm_start=True).fit(X, y)
    assert other.score(X, y) > 0.9


@pytest.mark.usefixtures("ctrl_c_raises")
def test_an_interrupt_ends_the_whole_joint_training(monkeypatch):
    from sknn.training.net import TrainingNet

    def interrupted(self, *args, **kwargs):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(TrainingNet, "run_single_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit_jointly([NeuralClassifier(**SMALL)] * 2, [CANCER] * 2)

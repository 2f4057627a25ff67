"""The estimators follow scikit-learn's MLP from the same initial weights and with the same row order."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import scale

from sknn import NeuralClassifier, NeuralRegressor, from_sklearn
from tests.common import quietly

# With some solvers, a few epochs do not learn much.
pytestmark = pytest.mark.filterwarnings("ignore::sknn.TrainingWarning")

EPOCHS = 25
TOLERANCE = {"float32": 1e-4, "float64": 1e-8}


def table(kind):
    """Return features, target and weights for a kind of problem; with 130 rows the last batch is smaller."""
    if kind == "binary":
        X, y = make_classification(130, 7, random_state=0)
        y = np.array(["no", "yes"])[y]
    elif kind == "multiclass":
        X, y = make_classification(130, 7, n_informative=5, n_classes=4, random_state=0)
    elif kind == "multilabel":
        X, y = make_multilabel_classification(130, 7, n_classes=3, random_state=0)
    else:
        X, y = make_regression(130, 7, n_targets=2 if kind == "multioutput" else 1, random_state=0)
        y = scale(y)
        if kind == "poisson":
            y = np.random.default_rng(0).poisson(np.exp(y))
    return scale(X), y, np.random.default_rng(1).uniform(0.1, 3, 130)


def resume_both(mlp, est, X, y, weight):
    """Train both for another `EPOCHS` epochs."""
    for estimator in (mlp, est):
        estimator.set_params(warm_start=True, max_iter=EPOCHS)
        quietly(estimator.fit, X, y, sample_weight=weight)


def make_pair(kind, precision="float64", **params):
    """Return scikit-learn's MLP after one epoch, and the estimator converted from it."""
    X, y, _ = table(kind)
    cls = MLPRegressor if kind in ("single", "multioutput", "poisson") else MLPClassifier
    if kind == "poisson":
        params["loss"] = "poisson"
    settings = dict(
        hidden_layer_sizes=(12, 5), batch_size=32, shuffle=False, random_state=0, max_iter=1, n_iter_no_change=1000
    )
    mlp = cls(**settings | params)
    quietly(mlp.fit, X.astype(precision), y)
    return mlp, from_sklearn(mlp, precision=precision, n_threads=1)


@pytest.mark.sample(5)
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 0.5])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("kind", ["binary", "single"])
def test_the_estimator_follows_the_mlp(kind, solver, activation, alpha, weighted, precision):
    X, y, weight = table(kind)
    rate = 1e-2 if kind == "binary" else 3e-3
    mlp, est = make_pair(kind, precision, solver=solver, activation=activation, alpha=alpha, learning_rate_init=rate)
    resume_both(mlp, est, X.astype(precision), y, weight if weighted else None)
    tolerance = TOLERANCE[precision]
    assert len(est.loss_curve_) == EPOCHS
    np.testing.assert_allclose(est.loss_curve_, mlp.loss_curve_[1:], rtol=tolerance, atol=tolerance)
    for actual, expected in zip(est.coefs_ + est.intercepts_, mlp.coefs_ + mlp.intercepts_, strict=True):
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)
    assert est.n_iter_ == mlp.n_iter_
    assert est.out_activation_ == mlp.out_activation_
    assert (est.n_layers_, est.n_outputs_) == (mlp.n_layers_, mlp.n_outputs_)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "multioutput", "poisson"])
def test_the_estimator_follows_the_mlp_on_every_kind_of_target(kind, weighted):
    X, y, weight = table(kind)
    mlp, est = make_pair(kind, solver="adam", alpha=0.1, learning_rate_init=1e-2)
    resume_both(mlp, est, X, y, weight if weighted else None)
    np.testing.assert_allclose(est.loss_curve_, mlp.loss_curve_[1:], rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(est.coefs_[0], mlp.coefs_[0], rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(est.predict(X), mlp.predict(X), rtol=1e-7)


@pytest.mark.parametrize(
    "params",
    [
        {"learning_rate": "invscaling", "power_t": 0.3},
        {"learning_rate": "adaptive", "tol": 0.02, "n_iter_no_change": 2},
        {"momentum": 0.5, "nesterovs_momentum": False},
        {"momentum": 0.0},
    ],
    ids=str,
)
def test_sgd_follows_the_mlp(params):
    X, y, _ = table("binary")
    mlp, est = make_pair("binary", solver="sgd", learning_rate_init=0.3, **params)
    # invscaling counts the rows of all fits, and the estimator has to count those of the MLP, too.
    est.net_.member_states_[0].rows_seen = mlp.t_
    resume_both(mlp, est, X, y, None)
    np.testing.assert_allclose(est.loss_curve_, mlp.loss_curve_[1:], rtol=1e-8)
    np.testing.assert_allclose(est.coefs_[0], mlp.coefs_[0], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel", "single", "multioutput", "poisson"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_from_sklearn_copies_the_weights_of_a_fitted_mlp(kind, precision):
    X, _, _ = table(kind)
    mlp, est = make_pair(kind, precision)
    tolerance = 1e-5 if precision == "float32" else 1e-12
    if kind in ("single", "multioutput", "poisson"):
        np.testing.assert_allclose(est.predict(X), mlp.predict(X), rtol=tolerance, atol=tolerance)
    else:
        np.testing.assert_array_equal(est.predict(X), mlp.predict(X))
        np.testing.assert_allclose(est.predict_proba(X), mlp.predict_proba(X), rtol=tolerance, atol=tolerance)
        np.testing.assert_array_equal(est.classes_, mlp.classes_)
    assert est.loss_curve_ == mlp.loss_curve_
    assert est.n_features_in_ == 7


def test_an_unfitted_mlp_gives_an_unfitted_estimator_with_a_similar_score():
    X, y, _ = table("binary")
    mlp = MLPClassifier(random_state=0, max_iter=80, solver="sgd", learning_rate_init=0.05)
    est = from_sklearn(mlp)
    assert isinstance(est, NeuralClassifier)
    assert not hasattr(est, "coefs_")
    quietly(est.fit, X, y)
    quietly(mlp.fit, X, y)
    # The row order and the initial weights differ, so the results are equal up to noise.
    assert est.loss_ == pytest.approx(mlp.loss_, abs=0.1)
    assert abs(est.score(X, y) - mlp.score(X, y)) < 0.06


def test_lbfgs_reaches_the_minimum_of_a_convex_problem():
    X, y, weight = table("binary")
    est = from_sklearn(
        MLPClassifier((), solver="lbfgs", alpha=2.0, max_iter=2000, tol=1e-9, random_state=0), tol=1e-9
    ).fit(X, y, sample_weight=weight)
    reference = LogisticRegression(C=1 / 2.0, tol=1e-10, max_iter=10_000).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(est.coefs_[0].ravel(), reference.coef_.ravel(), atol=1e-5)
    np.testing.assert_allclose(est.intercepts_[0], reference.intercept_, atol=1e-5)


def test_the_estimators_accept_every_parameter_of_the_mlps():
    X, y, _ = table("binary")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        est = NeuralClassifier(**MLPClassifier(max_iter=3).get_params()).fit(X, y)
        assert est.score(X, y) > 0.4
        X, y, _ = table("single")
        assert NeuralRegressor(**MLPRegressor(max_iter=3).get_params()).fit(X, y).n_iter_ == 3


def test_the_estimator_has_every_fitted_attribute_of_the_mlp():
    mlp, est = make_pair("binary")
    missing = [name for name in vars(mlp) if name.endswith("_") and not name.startswith("_") and not hasattr(est, name)]
    assert missing == []
    assert est.best_loss_ == est.loss_curve_[0]


def test_from_sklearn_refuses_other_estimators():
    with pytest.raises(TypeError, match="must be an MLPClassifier or an MLPRegressor of scikit-learn; got Logistic"):
        from_sklearn(LogisticRegression())

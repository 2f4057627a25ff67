"""solver='lbfgs' against scipy's minimiser with gradients from autograd, and against convex models."""

import warnings

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss

from sknn import NeuralClassifier, NeuralRegressor
from tests.common import WeightRecorder, quietly

X, Y = make_classification(80, 5, n_informative=4, n_redundant=0, n_classes=3, flip_y=0.2, random_state=0)
X_REG, Y_REG = make_regression(80, 5, noise=20, random_state=0)
WEIGHT = np.random.default_rng(0).uniform(0.2, 3, 80)
SETTINGS = {"solver": "lbfgs", "ensemble_size": 1, "random_state": 0, "device": "cpu", "n_threads": 1, "max_iter": 500}
SETTINGS |= {"scaling": "robust"}
CONVEX = SETTINGS | {"hidden_layer_sizes": (), "scaling": None, "tol": 1e-9}


def fit_and_record(est, X, y, weight=None):
    """Fit the estimator; return it with its encoded table and its initial weights."""
    recorder = WeightRecorder()
    quietly(est.set_params(callbacks=[recorder]).fit, X, y, sample_weight=weight)
    return est, recorder.recorded.data.table, recorder.recorded.weights[0]


def member_params(network, param_buffer, m):
    """Return the weights and biases of a member, from input to output."""
    return [network.view(param_buffer, entry)[m] for pair in network.linears() for entry in pair]


def scipy_fit(start, table, loss, alpha, **options):
    """Minimise the loss of a tanh network with scipy; return the parameters, scipy's result and the losses."""
    weight = torch.ones(len(table), dtype=torch.float64) if table.weight is None else table.weight
    sizes, shapes = [t.numel() for t in start], [t.shape for t in start]

    def unpack(x):
        return [part.view(shape) for part, shape in zip(torch.split(torch.as_tensor(x), sizes), shapes, strict=True)]

    def objective(x):
        params = [part.clone().requires_grad_() for part in unpack(x)]
        z = torch.tanh(table.numeric @ params[0] + params[1]) @ params[2] + params[3]
        penalty = 0.5 * alpha * (params[0].square().sum() + params[2].square().sum())
        value = ((loss(z, table.target) * weight).sum() + penalty) / weight.sum()
        value.backward()
        return value.item(), torch.cat([p.grad.flatten() for p in params]).numpy()

    losses = []
    x = torch.cat([t.flatten() for t in start]).detach().numpy()
    options = {"gtol": 1e-4, "maxfun": 15000} | options
    record = lambda intermediate_result: losses.append(intermediate_result.fun)  # noqa: E731 - scipy reads the name
    result = minimize(objective, x, jac=True, method="L-BFGS-B", callback=record, options=options)
    return unpack(result.x), result, losses


def cross_entropy(z, y):
    return torch.nn.functional.cross_entropy(z, y.argmax(1), reduction="none")


def half_squared_error(z, y):
    return 0.5 * (z - y).square().sum(1)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize(
    ("cls", "X", "y", "loss"),
    [(NeuralClassifier, X, Y, cross_entropy), (NeuralRegressor, X_REG, Y_REG, half_squared_error)],
    ids=["classifier", "regressor"],
)
def test_lbfgs_takes_the_iterations_of_scipys_minimiser(cls, X, y, loss, weight):
    settings = SETTINGS | {"ensemble_size": 2, "activation": "tanh", "alpha": 0.5, "max_iter": 25}
    est, table, start = fit_and_record(cls((4,), **settings), X, y, weight)
    for m in range(2):
        params, result, losses = scipy_fit(member_params(est.module_, start, m), table, loss, alpha=0.5, maxiter=25)
        assert est.net_.epochs_[m] == result.nit
        actual_losses = [row["member_train_loss"][m] for row in est.history_]
        np.testing.assert_allclose(actual_losses[: len(losses)], losses, rtol=1e-7)
        for expected, actual in zip(
            params, member_params(est.module_, est.module_.param_buffer.detach(), m), strict=True
        ):
            torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.1, 3.0])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
def test_a_linear_classifier_converges_to_logistic_regression(alpha, weight):
    est = NeuralClassifier(**CONVEX, alpha=alpha).fit(X, Y, sample_weight=weight)
    reference = LogisticRegression(C=1 / alpha, tol=1e-10, max_iter=10_000).fit(X, Y, sample_weight=weight)
    np.testing.assert_allclose(est.predict_proba(X), reference.predict_proba(X), atol=2e-4)
    np.testing.assert_allclose(est.coefs_[0].T, reference.coef_, atol=1e-3)


def test_a_linear_binary_classifier_converges_to_logistic_regression():
    y = (Y > 0).astype(int)
    est = NeuralClassifier(**CONVEX, alpha=1.0).fit(X, y)
    reference = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(X, y)
    np.testing.assert_allclose(est.coefs_[0][:, 0], reference.coef_[0], atol=1e-3)
    np.testing.assert_allclose(est.intercepts_[0], reference.intercept_, atol=1e-3)


@pytest.mark.parametrize("alpha", [0.1, 30.0])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
def test_a_linear_regressor_converges_to_ridge(alpha, weight):
    est = NeuralRegressor(**CONVEX, alpha=alpha).fit(X_REG, Y_REG, sample_weight=weight)
    reference = Ridge(alpha=alpha).fit(X_REG, Y_REG, sample_weight=weight)
    np.testing.assert_allclose(est.coefs_[0][:, 0], reference.coef_, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(est.predict(X_REG), reference.predict(X_REG), rtol=1e-3, atol=0.05)


def test_a_row_of_weight_three_counts_as_three_rows():
    weight = np.random.default_rng(1).integers(0, 4, 80)
    weighted = NeuralClassifier(**CONVEX, alpha=1.0).fit(X, Y, sample_weight=weight)
    repeated = NeuralClassifier(**CONVEX, alpha=1.0).fit(np.repeat(X, weight, axis=0), np.repeat(Y, weight))
    np.testing.assert_allclose(weighted.coefs_[0], repeated.coefs_[0], atol=1e-3)


def test_reaching_max_iter_warns():
    with pytest.warns(
        ConvergenceWarning, match=r"lbfgs ended after 3 iterations, before it converged: it reached max_iter=3 or"
    ):
        est = NeuralClassifier((4,), **SETTINGS | {"max_iter": 3}).fit(X, Y)
    assert est.n_iter_ == 3


def test_reaching_max_fun_warns():
    with pytest.warns(ConvergenceWarning, match=r"before it converged: .* or max_fun=5"):
        est = NeuralClassifier((4,), **SETTINGS, max_fun=5).fit(X, Y)
    assert est.n_iter_ <= 5


def test_a_convex_problem_converges_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        est = NeuralClassifier(**CONVEX, alpha=1.0).fit(X, Y)
    assert est.n_iter_ < 500


def test_the_history_holds_the_loss_of_each_iteration():
    est = NeuralClassifier(**CONVEX).fit(X, Y)
    losses = est.loss_curve_
    assert len(losses) == len(est.history_) == est.n_iter_
    assert [row["epoch"] for row in est.history_] == list(range(1, est.n_iter_ + 1))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == pytest.approx(log_loss(Y, est.predict_proba(X)), rel=1e-9)
    assert est.t_ == est.n_iter_ * 80
    assert est.validation_scores_ is None


def test_a_converged_member_repeats_its_last_loss_in_the_history():
    est = NeuralClassifier((3,), **SETTINGS | {"ensemble_size": 3, "alpha": 1.0}).fit(X, Y)
    epochs, curves = est.net_.epochs_, np.array([row["member_train_loss"] for row in est.history_]).T
    assert len(set(epochs)) > 1
    assert est.n_iter_ == max(epochs) == curves.shape[1]
    for curve, n in zip(curves, epochs, strict=True):
        np.testing.assert_array_equal(curve[n:], curve[n - 1])
    np.testing.assert_allclose(est.loss_curve_, curves.mean(0))


def test_a_jointly_trained_member_equals_a_single_one():
    settings = SETTINGS | {"max_iter": 20}
    single, _, _ = fit_and_record(NeuralClassifier((4,), **settings), X, Y)
    joint, _, _ = fit_and_record(NeuralClassifier((4,), **settings | {"ensemble_size": 3}), X, Y)
    assert torch.equal(joint.module_.param_buffer[0], single.module_.param_buffer[0])


def test_lbfgs_ignores_dropout_schedules_and_early_stopping():
    plain, _, _ = fit_and_record(
        NeuralClassifier((4,), **SETTINGS | {"max_iter": 20}, dropout=0.0, early_stopping=False), X, Y
    )
    other, _, _ = fit_and_record(
        NeuralClassifier((4,), **SETTINGS | {"max_iter": 20}, dropout=0.5, learning_rate="one_cycle", batch_size=7),
        X,
        Y,
    )
    assert torch.equal(other.module_.param_buffer, plain.module_.param_buffer)


def test_validation_rows_are_refused():
    with pytest.raises(ValueError, match=r"X_val was given with solver='lbfgs', which has no early stopping"):
        NeuralClassifier(**SETTINGS).fit(X, Y, X_val=X, y_val=Y)


def test_the_loss_is_that_of_smoothed_labels():
    est = NeuralClassifier(**CONVEX, label_smoothing=0.3).fit(X, Y)
    smoothed = np.eye(3)[Y] * 0.7 + 0.1
    expected = -(smoothed * np.log(est.predict_proba(X))).sum(1).mean()
    assert est.loss_ == pytest.approx(expected, rel=1e-9)


def test_lbfgs_computes_in_float64_unless_precision_says_otherwise():
    assert NeuralClassifier(**CONVEX).fit(X, Y).module_.param_buffer.dtype is torch.float64
    low, _, _ = fit_and_record(NeuralClassifier(**CONVEX, precision="float32"), X, Y)
    assert low.module_.param_buffer.dtype is torch.float32


def test_warm_start_resumes_from_the_fitted_weights():
    est, _, _ = fit_and_record(NeuralClassifier((4,), **SETTINGS | {"max_iter": 5}, warm_start=True), X, Y)
    end = est.module_.param_buffer.detach().clone()
    est, _, start = fit_and_record(est, X, Y)
    assert torch.equal(start, end)
    assert len(est.loss_curve_) == 10
    assert est.loss_curve_[5] <= est.loss_curve_[4]


def test_a_nan_loss_raises_an_error():
    def nan(z, y):
        return (z * torch.nan).sum(1)

    with pytest.raises(ValueError, match="The training loss became NaN or infinite in epoch 1"):
        NeuralClassifier(**CONVEX, loss=nan).fit(X, Y)


def test_lbfgs_has_no_partial_fit():
    est = NeuralClassifier(solver="lbfgs")
    assert not hasattr(est, "partial_fit")
    with pytest.raises(AttributeError, match="has no attribute 'partial_fit'") as error:
        est.partial_fit(X, Y)
    assert "partial_fit needs a stochastic solver" in str(error.value.__cause__)

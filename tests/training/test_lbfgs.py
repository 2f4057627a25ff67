"""solver='lbfgs' against scipy's minimiser with autograd's gradients, and against convex models."""

import warnings

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from skorch.callbacks import Callback

from sknn import NeuralClassifier, NeuralRegressor

X, Y = make_classification(80, 5, n_informative=4, n_redundant=0, n_classes=3, flip_y=0.2, random_state=0)
X_REG, Y_REG = make_regression(80, 5, noise=20, random_state=0)
WEIGHT = np.random.default_rng(0).uniform(0.2, 3, 80)
SETTINGS = {"solver": "lbfgs", "ensemble_size": 1, "random_state": 0, "device": "cpu", "n_threads": 1, "max_iter": 500}
SETTINGS |= {"scaling": "robust"}
CONVEX = SETTINGS | {"hidden_layer_sizes": (), "scaling": None, "tol": 1e-9}


class StartWitness(Callback):
    """Keeps the data and the initial weights."""

    def __init__(self):
        self.seen = {}

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.seen["data"], self.seen["flat"] = X, net.module_.param_buffer.clone()


def watched(est, X, y, weight=None):
    """The estimator fitted, with its data and its initial weights."""
    witness = StartWitness()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        est.set_params(callbacks=[witness]).fit(X, y, sample_weight=weight)
    return est, witness.seen["data"].table, witness.seen["flat"]


def member(network, param_buffer, m):
    """Weights and biases of a member, from input to output."""
    return [network.view(param_buffer, entry)[m] for pair in network.linears() for entry in pair]


def minimised(start, table, loss, alpha, **options):
    """What scipy makes of a tanh network, its gradient by autograd; also the result object and the losses."""
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
    note = lambda intermediate_result: losses.append(intermediate_result.fun)  # noqa: E731 - scipy looks at the name
    result = minimize(objective, x, jac=True, method="L-BFGS-B", callback=note, options=options)
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
def test_lbfgs_is_scipys_minimiser_with_the_networks_own_gradient(cls, X, y, loss, weight):
    settings = SETTINGS | {"ensemble_size": 2, "activation": "tanh", "alpha": 0.5, "max_iter": 25}
    est, table, start = watched(cls((4,), **settings), X, y, weight)
    for m in range(2):
        params, result, losses = minimised(member(est.module_, start, m), table, loss, alpha=0.5, maxiter=25)
        assert est.net_.epochs_[m] == result.nit
        ours = [row["member_train_loss"][m] for row in est.history_]
        np.testing.assert_allclose(ours[: len(losses)], losses, rtol=1e-7)
        for theirs, own in zip(params, member(est.module_, est.module_.param_buffer.detach(), m), strict=True):
            torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.1, 3.0])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
def test_a_linear_classifier_converges_to_logistic_regression(alpha, weight):
    ours = NeuralClassifier(**CONVEX, alpha=alpha).fit(X, Y, sample_weight=weight)
    theirs = LogisticRegression(C=1 / alpha, tol=1e-10, max_iter=10_000).fit(X, Y, sample_weight=weight)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=2e-4)
    np.testing.assert_allclose(ours.coefs_[0].T, theirs.coef_, atol=1e-3)


def test_a_linear_binary_classifier_converges_to_logistic_regression():
    y = (Y > 0).astype(int)
    ours = NeuralClassifier(**CONVEX, alpha=1.0).fit(X, y)
    theirs = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(X, y)
    np.testing.assert_allclose(ours.coefs_[0][:, 0], theirs.coef_[0], atol=1e-3)
    np.testing.assert_allclose(ours.intercepts_[0], theirs.intercept_, atol=1e-3)


@pytest.mark.parametrize("alpha", [0.1, 30.0])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["unweighted", "weighted"])
def test_a_linear_regressor_converges_to_ridge(alpha, weight):
    ours = NeuralRegressor(**CONVEX, alpha=alpha).fit(X_REG, Y_REG, sample_weight=weight)
    theirs = Ridge(alpha=alpha).fit(X_REG, Y_REG, sample_weight=weight)
    np.testing.assert_allclose(ours.coefs_[0][:, 0], theirs.coef_, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(ours.predict(X_REG), theirs.predict(X_REG), rtol=1e-3, atol=0.05)


def test_a_row_of_weight_three_is_three_rows():
    weight = np.random.default_rng(1).integers(0, 4, 80)
    weighted = NeuralClassifier(**CONVEX, alpha=1.0).fit(X, Y, sample_weight=weight)
    repeated = NeuralClassifier(**CONVEX, alpha=1.0).fit(np.repeat(X, weight, axis=0), np.repeat(Y, weight))
    np.testing.assert_allclose(weighted.coefs_[0], repeated.coefs_[0], atol=1e-3)


def test_reaching_max_iter_is_worth_a_warning():
    with pytest.warns(
        ConvergenceWarning, match=r"lbfgs ended after 3 iterations, before it converged: it reached max_iter=3 or"
    ):
        est = NeuralClassifier((4,), **SETTINGS | {"max_iter": 3}).fit(X, Y)
    assert est.n_iter_ == 3


def test_reaching_max_fun_is_worth_a_warning():
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


def test_a_member_that_has_converged_keeps_its_last_loss():
    est = NeuralClassifier((3,), **SETTINGS | {"ensemble_size": 3, "alpha": 1.0}).fit(X, Y)
    epochs, curves = est.net_.epochs_, np.array([row["member_train_loss"] for row in est.history_]).T
    assert len(set(epochs)) > 1
    assert est.n_iter_ == max(epochs) == curves.shape[1]
    for curve, n in zip(curves, epochs, strict=True):
        np.testing.assert_array_equal(curve[n:], curve[n - 1])
    np.testing.assert_allclose(est.loss_curve_, curves.mean(0))


def test_a_members_result_does_not_depend_on_its_company():
    settings = SETTINGS | {"max_iter": 20}
    alone, _, _ = watched(NeuralClassifier((4,), **settings), X, Y)
    together, _, _ = watched(NeuralClassifier((4,), **settings | {"ensemble_size": 3}), X, Y)
    assert torch.equal(together.module_.param_buffer[0], alone.module_.param_buffer[0])


def test_dropout_schedules_and_held_out_rows_play_no_part():
    plain, _, _ = watched(
        NeuralClassifier((4,), **SETTINGS | {"max_iter": 20}, dropout=0.0, early_stopping=False), X, Y
    )
    other, _, _ = watched(
        NeuralClassifier((4,), **SETTINGS | {"max_iter": 20}, dropout=0.5, learning_rate="one_cycle", batch_size=7),
        X,
        Y,
    )
    assert torch.equal(other.module_.param_buffer, plain.module_.param_buffer)


def test_validation_rows_are_refused():
    with pytest.raises(ValueError, match=r"X_val was given with solver='lbfgs', which has no early stopping"):
        NeuralClassifier(**SETTINGS).fit(X, Y, X_val=X, y_val=Y)


def test_label_smoothing_counts():
    est = NeuralClassifier(**CONVEX, label_smoothing=0.3).fit(X, Y)
    smooth = np.eye(3)[Y] * 0.7 + 0.1
    expected = -(smooth * np.log(est.predict_proba(X))).sum(1).mean()
    assert est.loss_ == pytest.approx(expected, rel=1e-9)


def test_it_computes_in_double_precision_unless_told_otherwise():
    assert NeuralClassifier(**CONVEX).fit(X, Y).module_.param_buffer.dtype is torch.float64
    single, _, _ = watched(NeuralClassifier(**CONVEX, precision="float32"), X, Y)
    assert single.module_.param_buffer.dtype is torch.float32


def test_warm_start_goes_on_from_the_weights_there_are():
    est, _, _ = watched(NeuralClassifier((4,), **SETTINGS | {"max_iter": 5}, warm_start=True), X, Y)
    end = est.module_.param_buffer.detach().clone()
    est, _, start = watched(est, X, Y)
    assert torch.equal(start, end)
    assert len(est.loss_curve_) == 10
    assert est.loss_curve_[5] <= est.loss_curve_[4]


def test_a_loss_that_is_nan_is_an_error_with_advice():
    def nan(z, y):
        return (z * torch.nan).sum(1)

    with pytest.raises(ValueError, match="The training loss became NaN or infinite in epoch 1"):
        NeuralClassifier(**CONVEX, loss=nan).fit(X, Y)


def test_partial_fit_is_not_there():
    est = NeuralClassifier(solver="lbfgs")
    assert not hasattr(est, "partial_fit")
    with pytest.raises(AttributeError, match="has no attribute 'partial_fit'") as error:
        est.partial_fit(X, Y)
    assert "partial_fit needs a stochastic solver" in str(error.value.__cause__)

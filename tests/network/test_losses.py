"""Losses: values against scikit-learn and torch, gradients against autograd and finite differences."""

import pickle

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torch.nn import functional

from sknn.network.losses import (
    AbsoluteError,
    BinaryCrossEntropy,
    CallableLoss,
    Gamma,
    Huber,
    Loss,
    Pinball,
    Poisson,
    SoftmaxCrossEntropy,
    SquaredError,
)

MEMBERS, ROWS, OUTPUTS = 2, 6, 3
QUANTILES = (0.1, 0.5, 0.9)


def smooth_l1(z, y):
    return functional.smooth_l1_loss(z, y, reduction="none")


def one_number_per_row(z, y):
    return ((z - y) ** 4).sum(1)


def normal(*shape, seed=0):
    return torch.randn(MEMBERS, ROWS, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def one_hot():
    return functional.one_hot(normal(OUTPUTS, seed=1).argmax(2), OUTPUTS).double()


def counts():
    return normal(OUTPUTS, seed=1).abs().mul(3).floor()  # some of them 0


CASES = {
    "softmax": (SoftmaxCrossEntropy(), one_hot()),
    "softmax_smoothed": (SoftmaxCrossEntropy(), one_hot() * 0.9 + 0.1 / OUTPUTS),
    "binary": (BinaryCrossEntropy(), (normal(OUTPUTS, seed=1) > 0).double()),
    "binary_smoothed": (BinaryCrossEntropy(), (normal(OUTPUTS, seed=1) > 0) * 0.8 + 0.1),
    "squared_error": (SquaredError(), normal(OUTPUTS, seed=1)),
    "absolute_error": (AbsoluteError(), normal(OUTPUTS, seed=1)),
    "huber": (Huber(0.7), normal(OUTPUTS, seed=1)),
    "quantile": (Pinball((0.3,)), normal(OUTPUTS, seed=1)),
    "quantiles": (Pinball(QUANTILES), normal(1, seed=1)),
    "poisson": (Poisson(), counts()),
    "gamma": (Gamma(), normal(OUTPUTS, seed=1).abs() + 0.1),
    "callable": (CallableLoss(smooth_l1, SquaredError()), normal(OUTPUTS, seed=1)),
    "callable_of_rows": (CallableLoss(one_number_per_row, SquaredError()), normal(OUTPUTS, seed=1)),
}
every_case = pytest.mark.parametrize(("loss", "y"), CASES.values(), ids=CASES)


class HandWritten(torch.autograd.Function):
    """The sum of a loss with its hand-written gradient, computed as in the training loop."""

    @staticmethod
    def forward(ctx, z, loss, y):
        ctx.loss, ctx.y = loss, y
        ctx.save_for_backward(z)
        with torch.inference_mode():
            total = loss.values(z.detach().clone(), y.clone()).sum()
        return total.clone()

    @staticmethod
    def backward(ctx, grad):
        with torch.inference_mode():
            gradient = ctx.loss.gradient(ctx.saved_tensors[0].clone(), ctx.y.clone())
        return gradient.clone() * grad, None, None


def test_every_loss_is_tested():
    assert {type(loss) for loss, _ in CASES.values()} == set(Loss.__subclasses__())


@every_case
def test_the_gradient_agrees_with_autograd(loss, y):
    z = normal(OUTPUTS).requires_grad_()
    expected = torch.autograd.grad(loss.values(z, y).sum(), z)[0]
    with torch.inference_mode():
        actual = loss.gradient(z.detach().clone(), y.clone())
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


@every_case
def test_the_gradient_agrees_with_finite_differences(loss, y):
    assert torch.autograd.gradcheck(HandWritten.apply, (normal(OUTPUTS).requires_grad_(), loss, y))


@every_case
def test_the_gradient_is_a_new_tensor_and_does_not_change_output_or_target(loss, y):
    z, target = normal(OUTPUTS), y.clone()
    with torch.inference_mode():
        loss.gradient(z, target).zero_()
    assert torch.equal(z, normal(OUTPUTS))
    assert torch.equal(target, y)


@every_case
def test_the_loss_of_a_member_is_the_same_singly_and_jointly(loss, y):
    z = normal(OUTPUTS)
    joint = loss.rows(z, y)
    assert joint.shape == (MEMBERS, ROWS)
    assert all(torch.equal(loss.rows(z[m : m + 1], y[m : m + 1])[0], joint[m]) for m in range(MEMBERS))


def sklearn_means(function, y, p, **kwargs):
    """Return a metric of scikit-learn for each member, summed over outputs."""
    return [sum(function(y[m, :, k], p[m, :, k], **kwargs) for k in range(p.shape[2])) for m in range(len(p))]


SKLEARN_LOSSES = {
    "softmax": lambda y, p: [reference.log_loss(y[m], p[m]) for m in range(MEMBERS)],
    "binary": lambda y, p: sklearn_means(reference.log_loss, y, p, labels=[0, 1]),
    "squared_error": lambda y, p: [reference.mean_squared_error(y[m], p[m]) / 2 for m in range(MEMBERS)],
    "absolute_error": lambda y, p: sklearn_means(reference.mean_absolute_error, y, p),
    "quantile": lambda y, p: sklearn_means(reference.mean_pinball_loss, y, p, alpha=0.3),
    "poisson": lambda y, p: np.divide(sklearn_means(reference.mean_poisson_deviance, y, p), 2),
    "gamma": lambda y, p: np.divide(sklearn_means(reference.mean_gamma_deviance, y, p), 2),
}


@pytest.mark.parametrize("name", SKLEARN_LOSSES)
def test_the_mean_over_rows_agrees_with_scikit_learn_after_the_link(name):
    loss, y = CASES[name]
    z = normal(OUTPUTS)
    expected = SKLEARN_LOSSES[name](y.numpy(), loss.link(z).numpy())
    np.testing.assert_allclose(loss.rows(z, y).mean(1), expected, rtol=1e-10)


def test_several_quantiles_have_a_pinball_loss_each_for_one_target():
    loss, y = CASES["quantiles"]
    z = normal(OUTPUTS)
    for m in range(MEMBERS):
        expected = sum(reference.mean_pinball_loss(y[m], z[m, :, k], alpha=q) for k, q in enumerate(QUANTILES))
        assert loss.rows(z, y)[m].mean().item() == pytest.approx(expected)


@pytest.mark.parametrize("delta", [0.1, 1.0, 5.0])
def test_huber_agrees_with_torch(delta):
    z, y = normal(OUTPUTS), normal(OUTPUTS, seed=1)
    torch.testing.assert_close(Huber(delta).values(z, y), functional.huber_loss(z, y, reduction="none", delta=delta))


def test_the_poisson_loss_of_a_count_of_zero_is_its_mean():
    z = normal(OUTPUTS)
    torch.testing.assert_close(Poisson().values(z, torch.zeros_like(z)), z.exp())


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(), BinaryCrossEntropy()])
def test_extreme_outputs_neither_overflow_nor_give_nan(loss):
    z = torch.tensor([[[1e4, -1e4], [-1e4, 1e4]]])
    y = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    per_output = 1e4 if isinstance(loss, BinaryCrossEntropy) else 2e4 / 2
    torch.testing.assert_close(loss.rows(z, y), torch.tensor([[0.0, 2 * per_output]]))
    torch.testing.assert_close(loss.gradient(z, y), torch.tensor([[[0.0, 0.0], [-1.0, 1.0]]]))


LINKS = {
    "softmax": lambda z: torch.softmax(z, -1),
    "binary": torch.sigmoid,
    "poisson": torch.exp,
    "gamma": torch.exp,
    "quantiles": lambda z: z.sort(-1).values,
}


@every_case
def test_the_link_maps_outputs_to_the_scale_of_the_target(loss, y):
    name = next(key for key, case in CASES.items() if case[0] is loss)
    z = normal(OUTPUTS)
    expected = LINKS.get(name.removesuffix("_smoothed"), lambda z: z)(z)
    torch.testing.assert_close(loss.link(z), expected)


def test_sorting_quantiles_never_increases_the_loss():
    loss, y = CASES["quantiles"]
    z = normal(OUTPUTS).mul(3)
    assert (loss.rows(loss.link(z), y) <= loss.rows(z, y) + 1e-12).all()
    assert (loss.link(z).diff(dim=-1) >= 0).all()


@pytest.mark.parametrize("default", [SoftmaxCrossEntropy(), Poisson()])
def test_a_callable_loss_has_the_link_of_the_loss_that_it_replaces(default):
    z = normal(OUTPUTS)
    assert torch.equal(CallableLoss(smooth_l1, default).link(z), default.link(z))


def averaged(z, y):
    return ((z - y) ** 2).mean()


def listed(z, y):
    return [0.0] * len(z)


@pytest.mark.parametrize(("function", "actual"), [(averaged, r"\(\)"), (listed, "list")])
def test_a_callable_that_does_not_return_a_loss_per_row_raises(function, actual):
    loss = CallableLoss(function, SquaredError())
    message = (
        rf"loss=<function {function.__name__} at .*> has to return one loss per row, a tensor of shape \(12,\) or "
        rf"\(12, 3\); got {actual}\. Do not average: a loss of torch needs reduction='none'\."
    )
    with pytest.raises(ValueError, match=message):
        loss.values(normal(OUTPUTS), normal(OUTPUTS, seed=1))


def test_the_base_class_raises_the_name_of_a_loss_without_a_method():
    with pytest.raises(NotImplementedError, match=r"^Loss$"):
        Loss().values(normal(1), normal(1))
    with pytest.raises(NotImplementedError, match=r"^Loss$"):
        Loss().gradient(normal(1), normal(1))


def test_a_quantile_loss_can_be_differentiated_and_pickled_after_a_training():
    loss = Pinball((0.1, 0.9))
    with torch.inference_mode():
        loss.gradient(torch.zeros(1, 4, 2), torch.ones(1, 4, 1))
    z = torch.zeros(1, 4, 2, requires_grad=True)
    loss.values(z, torch.ones(1, 4, 1)).sum().backward()
    assert z.grad[0, 0].tolist() == pytest.approx([-0.1, -0.9])
    assert pickle.loads(pickle.dumps(loss))._tensors == {}

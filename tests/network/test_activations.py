"""Activations: values against torch, derivatives against autograd and finite differences, exact joint training."""

import math

import pytest
import torch
from torch.nn import functional

from sknn.network.activations import ACTIVATIONS, in_whole_vectors, sigmoid, softplus

OTHER_NAMES = {"identity": lambda x: x.clone(), "logistic": torch.sigmoid}
EXTREMES = torch.tensor([-1e4, -100.0, -30.0, -1e-4, 0.0, 1e-4, 30.0, 100.0, 1e4])

every_activation = pytest.mark.parametrize("name", ACTIVATIONS)


def reference(name):
    return OTHER_NAMES.get(name) or getattr(functional, name)


def points(*shape):
    """Numbers on both sides of 0, far enough from kinks for finite differences."""
    return torch.linspace(-4, 4, math.prod(shape), dtype=torch.float64).view(shape)


SHAPES = [(2, 3, 4), (2, 4, 8)]  # the second fills whole vectors
both_forms = pytest.mark.parametrize("shape", SHAPES, ids=["with_rest", "in_whole_vectors"])


def by_hand(name, x, grad):
    function, function_backward = ACTIVATIONS[name]
    with torch.inference_mode():
        y, saved = function(x.clone())
        y = y.clone()
        return y, function_backward(grad.clone(), saved)


class HandWritten(torch.autograd.Function):
    """An activation with its hand-written derivative, for gradcheck."""

    @staticmethod
    def forward(ctx, x, name):
        ctx.name = name
        ctx.save_for_backward(x)
        return by_hand(name, x, torch.ones_like(x))[0].clone()

    @staticmethod
    def backward(ctx, grad):
        return by_hand(ctx.name, *ctx.saved_tensors, grad)[1].clone(), None


@every_activation
@both_forms
def test_values_are_those_of_torch(name, shape):
    x = points(*shape)
    torch.testing.assert_close(by_hand(name, x, x)[0], reference(name)(x), rtol=1e-12, atol=1e-12)


@every_activation
@both_forms
def test_the_derivative_agrees_with_autograd(name, shape):
    x = points(*shape).requires_grad_()
    grad = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    expected = torch.autograd.grad(reference(name)(x), x, grad)[0]
    torch.testing.assert_close(by_hand(name, x.detach(), grad)[1], expected, rtol=1e-12, atol=1e-12)


@every_activation
@both_forms
def test_the_derivative_agrees_with_finite_differences(name, shape):
    assert torch.autograd.gradcheck(HandWritten.apply, (points(*shape).requires_grad_(), name))


@every_activation
@both_forms
def test_under_autograd_values_are_the_same_and_differentiable(name, shape):
    x = points(*shape).requires_grad_()
    assert torch.equal(ACTIVATIONS[name][0](x)[0], by_hand(name, x.detach(), x.detach())[0])
    assert torch.autograd.gradcheck(lambda t: ACTIVATIONS[name][0](t)[0], x)


@every_activation
def test_huge_numbers_have_finite_values_and_derivatives(name):
    x = EXTREMES.clone().requires_grad_()
    expected = reference(name)(x)
    slope = torch.autograd.grad(expected.sum(), x)[0]
    y, grad = by_hand(name, EXTREMES, torch.ones_like(EXTREMES))
    torch.testing.assert_close(y, expected.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(grad, slope, rtol=1e-5, atol=1e-6)


@every_activation
@pytest.mark.parametrize("threads", [1, 2])
def test_a_member_has_the_same_bits_singly_and_jointly(name, threads):
    generator, different = torch.Generator().manual_seed(0), []
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    for rows in (1, 2, 5, 7, 9, 15, 16, 31, 32, 100):
        for width in (1, 2, 3, 10, 32, 64, 100):
            x, grad = torch.randn(2, 20, rows, width, generator=generator).mul_(3)
            y, x_grad = by_hand(name, x, grad)
            for members in (2, 5, 20):
                m, last = members - 1, slice(members - 1, members)
                joint = by_hand(name, x[:members], grad[:members])
                single = by_hand(name, x[last], grad[last])
                if not all(
                    torch.equal(part[m], one[0]) and torch.equal(whole[m], one[0])
                    for part, whole, one in zip(joint, (y, x_grad), single, strict=True)
                ):
                    different.append((members, rows, width))
    torch.set_num_threads(before)
    assert different == []


@every_activation
def test_a_number_has_the_same_bits_at_any_address(name):
    x, grad = torch.randn(2, 100, generator=torch.Generator().manual_seed(0)).mul_(3)
    expected = by_hand(name, x, grad)
    for start in range(1, 20):
        actual = by_hand(name, x[start:], grad[start:])
        assert all(torch.equal(part, whole[start:]) for part, whole in zip(actual, expected, strict=True)), start


def test_whole_vectors_depend_on_the_size_of_a_member_and_on_the_number_of_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    assert in_whole_vectors(torch.empty(3, 4, 8))
    assert not in_whole_vectors(torch.empty(8, 4, 3))
    assert not in_whole_vectors(torch.empty(3, 4, 16)[..., :8])
    torch.set_num_threads(2)
    assert not in_whole_vectors(torch.empty(3, 4, 8))
    assert in_whole_vectors(torch.empty(3, 8, 8))
    torch.set_num_threads(before)


def test_sigmoid_and_softplus_agree_with_torch_to_the_rounding_error_of_one():
    x = torch.linspace(-50, 50, 101, dtype=torch.float64)
    torch.testing.assert_close(sigmoid(x), torch.sigmoid(x), rtol=0, atol=5e-16)
    torch.testing.assert_close(softplus(x), torch.logaddexp(x, torch.zeros_like(x)), rtol=1e-15, atol=1e-15)

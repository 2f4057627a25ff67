"""Activation functions: each one's value and derivative, side by side.

Every activation is built from functions that give the same bits wherever a number lies in memory.  torch's own sigmoid,
SiLU, mish, log1p, softplus, ELU, SELU and GELU are not among them: their vector body and scalar tail differ in the last
bit.  A function `f` returns its value and what its derivative needs; `f_backward` turns the gradient of the value,
which it may overwrite, into that of the argument.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805
LEAKY_SLOPE = 0.01  # torch's default


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)), by way of tanh."""
    return torch.tanh(x * 0.5).mul(0.5).add_(0.5)


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)) to within a rounding of 1, for any x without overflow."""
    return torch.log(1 + torch.exp(-x.abs())) + torch.clamp(x, min=0)


def identity(x: Tensor) -> tuple[Tensor, Any]:
    return x, None


def identity_backward(grad: Tensor, saved: Any) -> Tensor:
    return grad


def relu(x: Tensor) -> tuple[Tensor, Any]:
    y = torch.relu(x) if torch.is_grad_enabled() else torch.relu_(x)
    return y, y


def relu_backward(grad: Tensor, y: Tensor) -> Tensor:
    return torch.ops.aten.threshold_backward(grad, y, 0)


def tanh(x: Tensor) -> tuple[Tensor, Any]:
    y = torch.tanh(x)
    return y, y


def tanh_backward(grad: Tensor, y: Tensor) -> Tensor:
    return torch.ops.aten.tanh_backward(grad, y)


def logistic(x: Tensor) -> tuple[Tensor, Any]:
    y = sigmoid(x)
    return y, y


def logistic_backward(grad: Tensor, y: Tensor) -> Tensor:
    return torch.ops.aten.sigmoid_backward(grad, y)


def silu(x: Tensor) -> tuple[Tensor, Any]:
    """x sigmoid(x)."""
    s = sigmoid(x)
    y = x * s
    return y, (s, y)


def silu_backward(grad: Tensor, saved: tuple[Tensor, Tensor]) -> Tensor:
    s, y = saved
    return grad.mul_(torch.addcmul(s, y, 1 - s))


def gelu(x: Tensor) -> tuple[Tensor, Any]:
    """x times the normal distribution function of x."""
    cdf = torch.erf(x * math.sqrt(0.5)).mul(0.5).add_(0.5)
    return x * cdf, (x, cdf)


def gelu_backward(grad: Tensor, saved: tuple[Tensor, Tensor]) -> Tensor:
    x, cdf = saved
    density = torch.exp(x.square().mul_(-0.5)).mul_(1 / math.sqrt(2 * math.pi))
    return grad.mul_(torch.addcmul(cdf, x, density))


def elu(x: Tensor) -> tuple[Tensor, Any]:
    """x where positive, exp(x) - 1 elsewhere."""
    y = torch.where(x > 0, x, torch.expm1(torch.clamp(x, max=0)))
    return y, y


def elu_backward(grad: Tensor, y: Tensor) -> Tensor:
    return grad.mul_(torch.clamp(y + 1, max=1))


def selu(x: Tensor) -> tuple[Tensor, Any]:
    """The ELU scaled so that a deep network keeps mean 0 and variance 1 (arXiv 1706.02515)."""
    negative = torch.expm1(torch.clamp(x, max=0)) * SELU_ALPHA
    y = torch.where(x > 0, x, negative) * SELU_SCALE
    return y, y


def selu_backward(grad: Tensor, y: Tensor) -> Tensor:
    return grad.mul_(torch.where(y > 0, SELU_SCALE, y + SELU_SCALE * SELU_ALPHA))


def mish(x: Tensor) -> tuple[Tensor, Any]:
    """x tanh(log(1 + exp(x))) (arXiv 1908.08681)."""
    t = torch.tanh(softplus(x))
    return x * t, (x, t)


def mish_backward(grad: Tensor, saved: tuple[Tensor, Tensor]) -> Tensor:
    x, t = saved
    return grad.mul_(torch.addcmul(t, x * sigmoid(x), 1 - t * t))


def leaky_relu(x: Tensor) -> tuple[Tensor, Any]:
    return torch.nn.functional.leaky_relu(x, LEAKY_SLOPE), x


def leaky_relu_backward(grad: Tensor, x: Tensor) -> Tensor:
    return torch.ops.aten.leaky_relu_backward(grad, x, LEAKY_SLOPE, False)


ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {
    "identity": (identity, identity_backward),
    "logistic": (logistic, logistic_backward),
    "tanh": (tanh, tanh_backward),
    "relu": (relu, relu_backward),
    "silu": (silu, silu_backward),
    "gelu": (gelu, gelu_backward),
    "elu": (elu, elu_backward),
    "selu": (selu, selu_backward),
    "mish": (mish, mish_backward),
    "leaky_relu": (leaky_relu, leaky_relu_backward),
}

"""Activation functions, each with its derivative.

A function `f` returns its value and the tensors that its derivative needs. `f_backward` turns the gradient of the
value, which it may overwrite, into the gradient of the argument.

The value for a number does not depend on the number's position in memory, to the last bit. torch's sigmoid, SiLU, ELU,
SELU and GELU guarantee this only if each member's values fill whole vectors, because their vector code and the scalar
code for the rest differ in the last bit. Otherwise these functions are built from others without that difference,
which takes two to five times as long. Softplus and mish are always built, because torch's log1p has it for all sizes.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805
LEAKY_SLOPE = 0.01  # torch's default
VECTOR_SIZE = 32  # elements that torch's kernels process at a time: two registers of 16

ONE = torch.tensor(1.0)  # saves converting a Python float to a tensor at every call

aten = torch.ops.aten


def in_whole_vectors(x: Tensor) -> bool:
    """Return whether each member's values fill whole vectors, so that torch's kernels have no scalar rest.

    This needs a contiguous (M, B, n) tensor. torch divides the values equally among threads, so each thread's share
    has to fill whole vectors, too.
    """
    if x.dim() != 3 or not x.is_contiguous():
        return False
    return x.shape[1] * x.shape[2] % _whole_size(torch.get_num_threads()) == 0


@cache
def _whole_size(threads: int) -> int:
    return VECTOR_SIZE * math.lcm(*range(1, threads + 1))


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)), by torch's kernel if its result does not depend on positions in memory."""
    if in_whole_vectors(x):
        return torch.sigmoid(x)
    if torch.is_grad_enabled():
        return (torch.exp(-x) + 1).reciprocal()
    return x.neg().exp_().add_(ONE).reciprocal_()


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), accurate to the rounding error of 1, without overflow."""
    return torch.log(1 + torch.exp(-x.abs())) + torch.clamp(x, min=0)


def identity(x: Tensor) -> tuple[Tensor, Any]:
    return x, None


def identity_backward(grad: Tensor, saved: Any) -> Tensor:
    return grad


def relu(x: Tensor) -> tuple[Tensor, Any]:
    y = torch.relu(x) if torch.is_grad_enabled() else torch.relu_(x)
    return y, y


def relu_backward(grad: Tensor, y: Tensor) -> Tensor:
    return grad.mul_(y.sign_())  # two public calls, faster than torch's private one


def tanh(x: Tensor) -> tuple[Tensor, Any]:
    y = torch.tanh(x)
    return y, y


def tanh_backward(grad: Tensor, y: Tensor) -> Tensor:
    return aten.tanh_backward.default(grad, y)


def logistic(x: Tensor) -> tuple[Tensor, Any]:
    y = sigmoid(x)
    return y, y


def logistic_backward(grad: Tensor, y: Tensor) -> Tensor:
    return aten.sigmoid_backward.default(grad, y)


def silu(x: Tensor) -> tuple[Tensor, Any]:
    """x sigmoid(x)."""
    return (functional.silu(x) if in_whole_vectors(x) else x * sigmoid(x)), x


def silu_backward(grad: Tensor, x: Tensor) -> Tensor:
    if in_whole_vectors(x):
        return aten.silu_backward.default(grad, x)
    s = sigmoid(x)
    return grad.mul_(torch.addcmul(s, x * s, 1 - s))


def gelu(x: Tensor) -> tuple[Tensor, Any]:
    """x times the standard normal distribution function of x."""
    return (functional.gelu(x) if in_whole_vectors(x) else x * _normal_cdf(x)), x


def gelu_backward(grad: Tensor, x: Tensor) -> Tensor:
    if in_whole_vectors(x):
        return aten.gelu_backward.default(grad, x)
    density = torch.exp(x.square().mul_(-0.5)).mul_(1 / math.sqrt(2 * math.pi))
    return grad.mul_(torch.addcmul(_normal_cdf(x), x, density))


def _normal_cdf(x: Tensor) -> Tensor:
    return torch.erf(x * math.sqrt(0.5)).mul(0.5).add_(0.5)


def elu(x: Tensor) -> tuple[Tensor, Any]:
    """x where positive, exp(x) - 1 elsewhere."""
    y = functional.elu(x) if in_whole_vectors(x) else torch.where(x > 0, x, torch.expm1(torch.clamp(x, max=0)))
    return y, y


def elu_backward(grad: Tensor, y: Tensor) -> Tensor:
    return grad.mul_(torch.clamp(y + 1, max=1))


def selu(x: Tensor) -> tuple[Tensor, Any]:
    """Return the ELU, scaled so that activations keep mean 0 and variance 1 in a deep network (arXiv 1706.02515)."""
    if in_whole_vectors(x):
        y = functional.selu(x)
    else:
        y = torch.where(x > 0, x, torch.expm1(torch.clamp(x, max=0)) * SELU_ALPHA) * SELU_SCALE
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
    return functional.leaky_relu(x, LEAKY_SLOPE), x


def leaky_relu_backward(grad: Tensor, x: Tensor) -> Tensor:
    return aten.leaky_relu_backward.default(grad, x, LEAKY_SLOPE, False)


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

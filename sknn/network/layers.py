"""The layers of a network: each one's parameters, forward and backward, over a leading members axis.

Shapes: M members (networks that train side by side), B rows of a batch.  A layer maps (M, B, in) to (M, B, out).

A layer owns no memory of its own.  It declares the shapes of one member's parameters; the network lays all of them out
in one flat buffer and hands the layer views of it, for all members or a run of them.  The one `run` serves everyone:
the hand-written step calls it without autograd and then `backward`; with autograd it is the reference that the tests
compare `backward` with, and what anyone gets who calls the layer as a module.

For a training, `bind` ties a layer to its views and to the size of a batch, once for thousands of steps: what it gives
is a pair of functions with nothing left to look up.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sknn.network.activations import ACTIVATIONS
from sknn.network.products import (
    ALIGNMENT,
    aligned,
    aligned_empty,
    column_sums_into,
    multiply,
    product_with,
    transposed_product_into,
)

Views = tuple[Tensor, ...]
Forward = Callable[..., Tensor]
Backward = Callable[[Tensor], Tensor | None]

BIAS_SPREAD = 0.5
BIAS_LR_SCALE = 0.3
OUTPUT_SHARE = 0.1
INPUT_SCALE_LR_SCALE = 6.0  # RealMLP's
BATCH_NORM_EPSILON = 1e-5  # torch's default
BATCH_NORM_MOMENTUM = 0.1  # torch's default


class Layer(nn.Module):
    """Base class: a layer without parameters.

    Attributes
    ----------
    shapes : dict of str to tuple
        One member's parameters and statistics, in the order in which `run` takes them.
    decayed : frozenset of str
        Those that `alpha` and `weight_decay` shrink.
    statistics : frozenset of str
        Those that are not trained: running means, bin edges.
    lr_scales : dict of str to float
        What the learning rate of those that are not to learn at the usual one is multiplied by, where the solver goes
        by kinds of parameters.
    """

    decayed: ClassVar[frozenset[str]] = frozenset()
    statistics: ClassVar[frozenset[str]] = frozenset()
    lr_scales: ClassVar[dict[str, float]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.shapes: dict[str, tuple[int, ...]] = {}

    def reset(self, params: dict[str, Tensor], generator: torch.Generator) -> None:
        """Set one member's parameters to their initial values."""

    def run(self, x: Any, params: Views, noise: Tensor | None = None) -> tuple[Tensor, Any]:
        """Return the layer's output and what `backward` needs."""
        raise NotImplementedError(type(self).__name__)

    def backward(self, grad: Tensor, saved: Any, params: Views, grads: Views, needs_input_grad: bool) -> Tensor | None:
        """Write the parameters' gradients into `grads`; return the input's gradient if it is `needs_input_grad`.

        `grad`, the gradient of the output, may be overwritten.
        """
        raise NotImplementedError(type(self).__name__)

    def forward(self, x: Any) -> Tensor:
        return self.run(x, tuple(getattr(self, name) for name in self.shapes))[0]

    def bind(
        self, params: Views, grads: Views, rows: int, needs_input_grad: bool, reuse_output: bool = False
    ) -> tuple[Forward, Backward]:
        """Return `run` and `backward` as functions of a batch, and of its output's gradient, alone.

        Both are for these views and this number of rows, and share what `run` saves for `backward`.  With
        `reuse_output`, each batch overwrites the output of the batch before.
        """
        return bound(self.run, self.backward, params, grads, needs_input_grad)


def bound(
    run: Callable, pull_back: Callable, params: Views, grads: Views, needs_input_grad: bool
) -> tuple[Forward, Backward]:
    """Two functions as `Layer.bind` gives them, of a layer's `run` and `backward`."""
    saved: Any = None

    def forward(x: Any, noise: Tensor | None = None) -> Tensor:
        nonlocal saved
        y, saved = run(x, params, noise)
        return y

    def backward(grad: Tensor) -> Tensor | None:
        return pull_back(grad, saved, params, grads, needs_input_grad)

    return forward, backward


class Linear(Layer):
    """x @ weight + bias: (M, B, in) -> (M, B, out).

    Parameters
    ----------
    in_features, out_features : int
    gain : float or None, default=6.0
        Weights and bias start uniform in +-sqrt(gain / (in + out)): Glorot's rule with scikit-learn's factors, 2 for
        the logistic activation and 6 for the others.  With None, weights start normal with variance 1 / in, and
        biases with `BIAS_SPREAD`, so that units bend in different places from the start.
    product_dtype : torch.dtype, optional
        The products are computed in this type (bfloat16), while the parameters keep theirs.
    """

    decayed = frozenset({"weight"})
    lr_scales: ClassVar[dict[str, float]] = {"bias": BIAS_LR_SCALE}
    weight: Tensor
    bias: Tensor

    def __init__(
        self, in_features: int, out_features: int, gain: float | None = 6.0, product_dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.in_features, self.out_features, self.gain = in_features, out_features, gain
        self.product_dtype = product_dtype
        self.shapes = {"weight": (in_features, out_features), "bias": (1, out_features)}

    def reset(self, params: dict[str, Tensor], generator: torch.Generator) -> None:
        if self.gain is None:
            params["weight"].normal_(std=1 / math.sqrt(self.in_features), generator=generator)
            params["bias"].normal_(std=BIAS_SPREAD, generator=generator)
            return
        bound = math.sqrt(self.gain / (self.in_features + self.out_features))
        params["weight"].uniform_(-bound, bound, generator=generator)
        params["bias"].uniform_(-bound, bound, generator=generator)

    def run(self, x: Tensor, params: Views, noise: Tensor | None = None) -> tuple[Tensor, Any]:
        weight, bias = params
        if self.product_dtype is None:
            return multiply(x, weight, bias), x
        low = x.to(self.product_dtype)
        return multiply(low, weight.to(self.product_dtype)).to(weight.dtype) + bias, low

    def backward(self, grad: Tensor, saved: Any, params: Views, grads: Views, needs_input_grad: bool) -> Tensor | None:
        weight, (weight_grad, bias_grad) = params[0], grads
        torch.sum(grad, 1, keepdim=True, out=bias_grad)
        if self.product_dtype is None:
            transposed_product_into(weight_grad, grad.shape[1])(saved, grad)
            return multiply(aligned(grad), weight.transpose(1, 2)) if needs_input_grad else None
        low = grad.to(self.product_dtype)
        weight_grad.copy_(saved.transpose(1, 2) @ low)
        return (low @ weight.to(self.product_dtype).transpose(1, 2)).to(grad.dtype) if needs_input_grad else None

    def bind(
        self, params: Views, grads: Views, rows: int, needs_input_grad: bool, reuse_output: bool = False
    ) -> tuple[Forward, Backward]:
        if self.product_dtype is not None:  # a subclass's run and backward take more than weight and bias
            return bound(partial(Linear.run, self), partial(Linear.backward, self), params, grads, needs_input_grad)
        (weight, bias), (weight_grad, bias_grad) = params, grads
        product = product_with(weight, bias, rows, reuse_output)
        weight_gradient = transposed_product_into(weight_grad, rows)
        bias_gradient = column_sums_into(bias_grad, rows)
        input_gradient = product_with(weight.transpose(1, 2), None, rows, reuse_output=True)
        is_aligned = rows * self.out_features % ALIGNMENT == 0
        saved: Any = None

        def forward(x: Tensor, noise: Tensor | None = None) -> Tensor:
            nonlocal saved
            saved = x
            return product(x)

        def backward(grad: Tensor) -> Tensor | None:
            bias_gradient(grad)
            weight_gradient(saved, grad)
            if not needs_input_grad:
                return None
            return input_gradient(grad if is_aligned else aligned(grad))

        return forward, backward

    def effective_weight(self) -> Tensor:
        """What the layer's input is multiplied by, (M, in, out)."""
        return self.weight

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


class OutputLinear(Linear):
    """The last layer, which with `gain=None` starts near 0: a network that has seen nothing has no opinion."""

    def reset(self, params: dict[str, Tensor], generator: torch.Generator) -> None:
        super().reset(params, generator)
        if self.gain is None:
            params["weight"].mul_(OUTPUT_SHARE)
            params["bias"].zero_()


class ScaledLinear(Linear):
    """A linear layer whose inputs are first multiplied by numbers that are learned: (x * scale) @ weight + bias.

    The scale starts at 1 and learns fast, so that columns that matter soon count for more (RealMLP's scaling layer,
    arXiv 2407.04491).  It is multiplied into the weight, which is smaller than a batch.
    """

    lr_scales: ClassVar[dict[str, float]] = Linear.lr_scales | {"scale": INPUT_SCALE_LR_SCALE}
    scale: Tensor

    def __init__(self, in_features: int, out_features: int, **options: Any) -> None:
        super().__init__(in_features, out_features, **options)
        self.shapes |= {"scale": (in_features, 1)}

    def reset(self, params: dict[str, Tensor], generator: torch.Generator) -> None:
        super().reset(params, generator)
        params["scale"].fill_(1.0)

    def run(self, x: Tensor, params: Views, noise: Tensor | None = None) -> tuple[Tensor, Any]:
        weight, bias, scale = params
        return super().run(x, (weight * scale, bias), noise)

    def backward(self, grad: Tensor, saved: Any, params: Views, grads: Views, needs_input_grad: bool) -> Tensor | None:
        weight, bias, scale = params
        x_grad = super().backward(grad, saved, (weight * scale, bias), grads[:2], needs_input_grad)
        self._share(params, grads)
        return x_grad

    def bind(
        self, params: Views, grads: Views, rows: int, needs_input_grad: bool, reuse_output: bool = False
    ) -> tuple[Forward, Backward]:
        weight, bias, scale = params
        scaled = aligned_empty(weight, *weight.shape)
        linear_forward, linear_backward = super().bind((scaled, bias), grads[:2], rows, needs_input_grad, reuse_output)

        def forward(x: Tensor, noise: Tensor | None = None) -> Tensor:
            torch.mul(weight, scale, out=scaled)
            return linear_forward(x)

        def backward(grad: Tensor) -> Tensor | None:
            x_grad = linear_backward(grad)
            self._share(params, grads)
            return x_grad

        return forward, backward

    def effective_weight(self) -> Tensor:
        return self.weight * self.scale

    @staticmethod
    def _share(params: Views, grads: Views) -> None:
        """Turn the gradient of weight * scale into those of both."""
        (weight, _, scale), (weight_grad, _, scale_grad) = params, grads
        torch.sum(weight_grad * weight, 2, keepdim=True, out=scale_grad)
        weight_grad.mul_(scale)


class Activation(Layer):
    """An elementwise function, by its name in `ACTIVATIONS`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self._value, self._pull_back = ACTIVATIONS[name]

    def run(self, x: Tensor, params: Views, noise: Tensor | None = None) -> tuple[Tensor, Any]:
        return self._value(x)

    def backward(self, grad: Tensor, saved: Any, params: Views, grads: Views, needs_input_grad: bool) -> Tensor | None:
        return self._pull_back(grad, saved)

    def bind(
        self, params: Views, grads: Views, rows: int, needs_input_grad: bool, reuse_output: bool = False
    ) -> tuple[Forward, Backward]:
        value, pull_back = self._value, self._pull_back
        saved: Any = None

        def forward(x: Tensor, noise: Tensor | None = None) -> Tensor:
            nonlocal saved
            y, saved = value(x)
            return y

        def backward(grad: Tensor) -> Tensor:
            return pull_back(grad, saved)

        return forward, backward

    def extra_repr(self) -> str:
        return self.name


class Dropout(Layer):
    """Multiplies by `noise`: 0 for a dropped unit, 1 / (1 - rate) for a kept one.

    The training loop draws the noise of many steps at once; without it (in prediction) the layer does nothing.
    """

    def __init__(self, width: int, rate: float) -> None:
        super().__init__()
        self.width, self.rate = width, rate

    def run(self, x: Tensor, params: Views, noise: Tensor | None = None) -> tuple[Tensor, Any]:
        return (x, None) if noise is None else (x * noise, noise)

    def backward(self, grad: Tensor, saved: Any, params: Views, grads: Views, needs_input_grad: bool) -> Tensor | None:
        return grad if saved is None else grad.mul_(saved)

    def bind(
        self, params: Views, grads: Views, rows: int, needs_input_grad: bool, reuse_output: bool = False
    ) -> tuple[Forward, Backward]:
        factors: Tensor | None = None
        out: Tensor | None = None  # kept: large memory that is asked for anew at each step costs more than to fill it

        def forward(x: Tensor, noise: Tensor | None = None) -> Tensor:
            nonlocal factors, out
            factors = noise
            if noise is None:
                return x
            if out is None:
                out = torch.empty_like(x)
            return torch.mul(x, noise, out=out)

        def backward(grad: Tensor) -> Tensor:
            return grad if factors is None else grad.mul_(factors)

        return forward, backward

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.rate, self.training)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


class BatchNorm(Layer):
    """Batch normalisation (arXiv 1502.03167), with torch's epsilon and momentum; each row counts once.

    In training mode by the batch's own mean and variance, which also move the running ones; otherwise by those.
    """

    statistics = frozenset({"running_mean", "running_var"})

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.shapes = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (1, width))

    def reset(self, params: dict[str, Tensor], generator: torch.Generator) -> None:
        for name, value in {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}.items():
            params[name].fill_(value)

    def run(self, x: Tensor, params: Views, noise: Tensor | None = None) -> tuple[Tensor, Any]:
        weight, bias, running_mean, running_var = params
        if self.training:
            mean = x.mean(1, keepdim=True)
            centred = x - mean
            var = centred.square().mean(1, keepdim=True)
            self._follow(running_mean, mean)
            self._follow(running_var, var * (x.shape[1] / max(x.shape[1] - 1, 1)))
        else:
            centred, var = x - running_mean, running_var
        inverse = 1 / torch.sqrt(var + BATCH_NORM_EPSILON)
        normed = centred * inverse
        return torch.addcmul(bias, normed, weight), (normed, inverse)

    def backward(self, grad: Tensor, saved: Any, params: Views, grads: Views, needs_input_grad: bool) -> Tensor | None:
        normed, inverse = saved
        weight_grad, bias_grad = grads[:2]
        torch.sum(grad, 1, keepdim=True, out=bias_grad)
        torch.sum(grad * normed, 1, keepdim=True, out=weight_grad)
        rows = grad.shape[1]
        centred = grad - bias_grad / rows - normed * (weight_grad / rows)
        return centred.mul_(params[0] * inverse)

    @staticmethod
    def _follow(running: Tensor, value: Tensor) -> None:
        # `.data`, because the weights of the same buffer may be waiting for autograd.
        running.data.lerp_(value.detach(), BATCH_NORM_MOMENTUM)

    def extra_repr(self) -> str:
        return f"width={self.width}"

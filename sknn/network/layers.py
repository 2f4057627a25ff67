"""The layers of a network: parameters, forward and backward, over a leading members axis.

Shapes: M members (networks that are trained jointly), B rows of a batch. A layer maps (M, B, in) to (M, B, out).

A layer owns no memory. It declares the shapes of one member's parameters. The network allocates all of them in one
buffer, and passes each layer views of it, for all members or for some neighbouring ones.

`Layer.bind` holds a layer's whole computation. It takes the views and the number of rows of a batch, and returns two
functions, forward and backward, that do no further lookups. `run` and `forward` call it. The most common layers
override `run`, so that predictions need no `bind`. Tests compare the backward with autograd through `run`.
"""

import math
from collections.abc import Callable
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

Tensors = tuple[Tensor, ...]
Forward = Callable[..., Tensor]  # (input, dropout noise or None) -> output
Backward = Callable[[Tensor], Tensor | None]  # gradient of the output -> gradient of the input

BIAS_STD = 0.5
BIAS_LR_SCALE = 0.3
OUTPUT_WEIGHT_SCALE = 0.1
INPUT_SCALE_LR_SCALE = 6.0  # as in RealMLP
BATCH_NORM_EPSILON = 1e-5  # torch's default
BATCH_NORM_MOMENTUM = 0.1  # torch's default


class Layer(nn.Module):
    """Base class: a layer without parameters.

    Attributes
    ----------
    shapes : dict of str to tuple
        Shapes of one member's parameters and statistics, in the order in which `bind` takes them.
    decayed : frozenset of str
        Names of the parameters that `alpha` and `weight_decay` shrink.
    statistics : frozenset of str
        Names of the tensors that are not trained: running means, bin edges.
    lr_scales : dict of str to float
        Factors of the learning rate for some parameters; only some solvers use them.
    """

    decayed: ClassVar[frozenset[str]] = frozenset()
    statistics: ClassVar[frozenset[str]] = frozenset()
    lr_scales: ClassVar[dict[str, float]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.shapes: dict[str, tuple[int, ...]] = {}

    def reset(self, params: dict[str, Tensor], generator: torch.Generator) -> None:
        """Set one member's parameters to their initial values."""

    def bind(
        self, params: Tensors, grads: Tensors, rows: int, needs_input_grad: bool = False, reuse_output: bool = False
    ) -> tuple[Forward, Backward]:
        """Return the layer's forward and backward for these parameters and for batches of this number of rows.

        The forward maps a batch to the layer's output. The backward takes the gradient of that output, which it may
        overwrite, and writes the parameters' gradients into `grads`. It returns the gradient of the input, or None
        unless `needs_input_grad`. With `reuse_output`, each output may overwrite the one before.
        """
        raise NotImplementedError(type(self).__name__)

    def run(self, x: Any, params: Tensors, noise: Tensor | None = None) -> Tensor:
        """Return the layer's output for one batch, without a backward."""
        return self.bind(params, (), x.shape[1])[0](x, noise)

    def forward(self, x: Any) -> Tensor:
        return self.run(x, tuple(getattr(self, name) for name in self.shapes))


class Linear(Layer):
    """x @ weight + bias: (M, B, in) -> (M, B, out).

    Parameters
    ----------
    in_features, out_features : int
    gain : float or None, default=6.0
        Weights and biases start uniform in +-sqrt(gain / (in + out)): Glorot's rule with scikit-learn's factors, 2 for
        the logistic activation and 6 for the others. With None, weights start normal with variance 1 / in, and
        biases normal with standard deviation `BIAS_STD`, so that units have different thresholds.
    product_dtype : torch.dtype, optional
        Type in which products are computed (bfloat16). The parameters keep theirs.
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
            params["bias"].normal_(std=BIAS_STD, generator=generator)
            return
        limit = math.sqrt(self.gain / (self.in_features + self.out_features))
        params["weight"].uniform_(-limit, limit, generator=generator)
        params["bias"].uniform_(-limit, limit, generator=generator)

    def bind(
        self, params: Tensors, grads: Tensors, rows: int, needs_input_grad: bool = False, reuse_output: bool = False
    ) -> tuple[Forward, Backward]:
        if self.product_dtype is not None:
            return self._bind_low_precision(params, grads, needs_input_grad)
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

    def _bind_low_precision(self, params: Tensors, grads: Tensors, needs_input_grad: bool) -> tuple[Forward, Backward]:
        dtype, weight, (weight_grad, bias_grad) = self.product_dtype, params[0], grads
        saved: Any = None

        def forward(x: Tensor, noise: Tensor | None = None) -> Tensor:
            nonlocal saved
            saved = x.to(dtype)
            return Linear.run(self, saved, params)

        def backward(grad: Tensor) -> Tensor | None:
            torch.sum(grad, 1, keepdim=True, out=bias_grad)
            low = grad.to(dtype)
            weight_grad.copy_(saved.transpose(1, 2) @ low)
            return (low @ weight.to(dtype).transpose(1, 2)).to(grad.dtype) if needs_input_grad else None

        return forward, backward

    def run(self, x: Tensor, params: Tensors, noise: Tensor | None = None) -> Tensor:
        weight, bias = params
        if self.product_dtype is None:
            return multiply(x, weight, bias)
        return multiply(x.to(self.product_dtype), weight.to(self.product_dtype)).to(weight.dtype) + bias

    def effective_weight(self) -> Tensor:
        """Return the matrix that multiplies the layer's input, (M, in, out)."""
        return self.weight

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


class OutputLinear(Linear):
    """The last layer. With `gain=None` its weights start small, so that the first outputs are near 0."""

    def reset(self, params: dict[str, Tensor], generator: torch.Generator) -> None:
        super().reset(params, generator)
        if self.gain is None:
            params["weight"].mul_(OUTPUT_WEIGHT_SCALE)
            params["bias"].zero_()


class ScaledLinear(Linear):
    """A linear layer with a learned factor for each input: (x * scale) @ weight + bias.

    The scale starts at 1 and learns fast, so that columns that matter soon count for more (RealMLP's scaling layer,
    arXiv 2407.04491). The weight is scaled, since it is smaller than a batch.
    """

    lr_scales: ClassVar[dict[str, float]] = Linear.lr_scales | {"scale": INPUT_SCALE_LR_SCALE}
    scale: Tensor

    def __init__(self, in_features: int, out_features: int, **options: Any) -> None:
        super().__init__(in_features, out_features, **options)
        self.shapes |= {"scale": (in_features, 1)}

    def reset(self, params: dict[str, Tensor], generator: torch.Generator) -> None:
        super().reset(params, generator)
        params["scale"].fill_(1.0)

    def bind(
        self, params: Tensors, grads: Tensors, rows: int, needs_input_grad: bool = False, reuse_output: bool = False
    ) -> tuple[Forward, Backward]:
        (weight, bias, scale), (weight_grad, bias_grad, scale_grad) = params, grads
        scaled = aligned_empty(weight, *weight.shape)
        linear_forward, linear_backward = super().bind(
            (scaled, bias), (weight_grad, bias_grad), rows, needs_input_grad, reuse_output
        )

        def forward(x: Tensor, noise: Tensor | None = None) -> Tensor:
            torch.mul(weight, scale, out=scaled)
            return linear_forward(x)

        def backward(grad: Tensor) -> Tensor | None:
            x_grad = linear_backward(grad)
            torch.sum(weight_grad * weight, 2, keepdim=True, out=scale_grad)
            weight_grad.mul_(scale)
            return x_grad

        return forward, backward

    def run(self, x: Tensor, params: Tensors, noise: Tensor | None = None) -> Tensor:
        weight, bias, scale = params
        return super().run(x, (weight * scale, bias))

    def effective_weight(self) -> Tensor:
        return self.weight * self.scale


class Activation(Layer):
    """An elementwise function, given by its name in `ACTIVATIONS`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def bind(
        self, params: Tensors, grads: Tensors, rows: int, needs_input_grad: bool = False, reuse_output: bool = False
    ) -> tuple[Forward, Backward]:
        function, function_backward = ACTIVATIONS[self.name]
        saved: Any = None

        def forward(x: Tensor, noise: Tensor | None = None) -> Tensor:
            nonlocal saved
            y, saved = function(x)
            return y

        def backward(grad: Tensor) -> Tensor:
            return function_backward(grad, saved)

        return forward, backward

    def run(self, x: Tensor, params: Tensors, noise: Tensor | None = None) -> Tensor:
        return ACTIVATIONS[self.name][0](x)[0]

    def extra_repr(self) -> str:
        return self.name


class Dropout(Layer):
    """Multiplies its input by `noise`: 0 for a dropped unit, 1 / (1 - rate) for a kept one.

    The training loop draws the noise of many steps at once. Without noise, as in a prediction, the layer does nothing.
    """

    def __init__(self, width: int, rate: float) -> None:
        super().__init__()
        self.width, self.rate = width, rate

    def bind(
        self, params: Tensors, grads: Tensors, rows: int, needs_input_grad: bool = False, reuse_output: bool = False
    ) -> tuple[Forward, Backward]:
        saved: Tensor | None = None
        out: Tensor | None = None  # reused, because allocating large memory in each step costs more than filling it

        def forward(x: Tensor, noise: Tensor | None = None) -> Tensor:
            nonlocal saved, out
            saved = noise
            if noise is None:
                return x
            y = torch.mul(x, noise, out=out)
            if reuse_output:
                out = y
            return y

        def backward(grad: Tensor) -> Tensor:
            return grad if saved is None else grad.mul_(saved)

        return forward, backward

    def run(self, x: Tensor, params: Tensors, noise: Tensor | None = None) -> Tensor:
        return x if noise is None else x * noise

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.rate, self.training)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


class BatchNorm(Layer):
    """Batch normalisation (arXiv 1502.03167) with torch's epsilon and momentum. Each row counts once.

    In training mode, it uses the batch's own mean and variance, and moves the running ones towards them. In
    evaluation mode, it uses the running ones.
    """

    statistics = frozenset({"running_mean", "running_var"})

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.shapes = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (1, width))

    def reset(self, params: dict[str, Tensor], generator: torch.Generator) -> None:
        for name, value in {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}.items():
            params[name].fill_(value)

    def bind(
        self, params: Tensors, grads: Tensors, rows: int, needs_input_grad: bool = False, reuse_output: bool = False
    ) -> tuple[Forward, Backward]:
        weight, bias, running_mean, running_var = params
        saved: Any = None

        def forward(x: Tensor, noise: Tensor | None = None) -> Tensor:
            nonlocal saved
            if self.training:
                mean = x.mean(1, keepdim=True)
                centred = x - mean
                var = centred.square().mean(1, keepdim=True)
                _move_statistic(running_mean, mean)
                _move_statistic(running_var, var * (rows / max(rows - 1, 1)))
            else:
                centred, var = x - running_mean, running_var
            inverse = 1 / torch.sqrt(var + BATCH_NORM_EPSILON)
            normed = centred * inverse
            saved = normed, inverse
            return torch.addcmul(bias, normed, weight)

        def backward(grad: Tensor) -> Tensor:
            normed, inverse = saved
            weight_grad, bias_grad = grads[:2]
            torch.sum(grad, 1, keepdim=True, out=bias_grad)
            torch.sum(grad * normed, 1, keepdim=True, out=weight_grad)
            centred = grad - bias_grad / rows - normed * (weight_grad / rows)
            return centred.mul_(weight * inverse)

        return forward, backward

    def extra_repr(self) -> str:
        return f"width={self.width}"


def _move_statistic(running: Tensor, value: Tensor) -> None:
    # `.data` hides this from autograd, which may have saved weights in the same buffer.
    running.data.lerp_(value.detach(), BATCH_NORM_MOMENTUM)

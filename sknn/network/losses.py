"""Losses: values for each row and output, and gradients, over a members axis.

`z` (M, B, K) is the network's output before the link, `y` (M, B, K) the encoded target. Training minimises the
weighted mean over rows of the sum of `values` over outputs. `gradient` is the derivative of that sum for each row.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from sknn.network.activations import sigmoid, softplus

SMALLEST_PROBABILITY = 1e-7  # 0 has no logarithm


class Loss(torch.nn.Module):
    """Base class. `link` maps the network's output to the scale of the target: probabilities, means, values."""

    # As scikit-learn's MLP, which reports the squared error as a mean over outputs and other losses as a sum.
    reports_mean_over_outputs = False
    outputs_are_exclusive = False  # whether the outputs of a row are one distribution

    def values(self, z: Tensor, y: Tensor) -> Tensor:
        """Return the loss of each row and output, (M, B, K) or (M, B, 1)."""
        raise NotImplementedError(type(self).__name__)

    def gradient(self, z: Tensor, y: Tensor) -> Tensor:
        """Return the derivative of the sum of `values` over outputs by `z`, as a new (M, B, K) tensor."""
        raise NotImplementedError(type(self).__name__)

    def link(self, z: Tensor) -> Tensor:
        return z

    def inverse_link(self, p: Tensor) -> Tensor:
        """Return an output that the link maps to `p`: the loss of a mean of predictions is that of such an output."""
        return p

    def rows(self, z: Tensor, y: Tensor) -> Tensor:
        """Return the loss of each row as it is reported, (M, B)."""
        values = self.values(z, y)
        return values.mean(-1) if self.reports_mean_over_outputs else values.sum(-1)


class SoftmaxCrossEntropy(Loss):
    """Log loss of classes that exclude each other; `y` holds one-hot (or smoothed) rows."""

    outputs_are_exclusive = True

    def values(self, z: Tensor, y: Tensor) -> Tensor:
        return -(torch.log_softmax(z, -1) * y)

    def gradient(self, z: Tensor, y: Tensor) -> Tensor:
        return torch.softmax(z, -1).sub_(y)

    def link(self, z: Tensor) -> Tensor:
        return torch.softmax(z, -1)

    def inverse_link(self, p: Tensor) -> Tensor:
        return p.clamp(min=SMALLEST_PROBABILITY).log()


class BinaryCrossEntropy(Loss):
    """Log loss of each output separately, for a binary or multilabel target."""

    def values(self, z: Tensor, y: Tensor) -> Tensor:
        return softplus(z) - z * y

    def gradient(self, z: Tensor, y: Tensor) -> Tensor:
        return sigmoid(z).sub_(y)

    def link(self, z: Tensor) -> Tensor:
        return sigmoid(z)

    def inverse_link(self, p: Tensor) -> Tensor:
        return torch.logit(p, SMALLEST_PROBABILITY)


class SquaredError(Loss):
    """Half the squared error, as in scikit-learn's MLP."""

    reports_mean_over_outputs = True

    def values(self, z: Tensor, y: Tensor) -> Tensor:
        return (z - y).square().mul(0.5)

    def gradient(self, z: Tensor, y: Tensor) -> Tensor:
        return z - y


class AbsoluteError(Loss):
    """The absolute error, which the median minimises."""

    def values(self, z: Tensor, y: Tensor) -> Tensor:
        return (z - y).abs()

    def gradient(self, z: Tensor, y: Tensor) -> Tensor:
        return (z - y).sign_()


class Huber(Loss):
    """Half the squared error up to `delta` (in units of the scaled target), linear beyond."""

    def __init__(self, delta: float) -> None:
        super().__init__()
        self.delta = delta

    def values(self, z: Tensor, y: Tensor) -> Tensor:
        error = (z - y).abs()
        near = torch.clamp(error, max=self.delta)
        return near * (error - 0.5 * near)

    def gradient(self, z: Tensor, y: Tensor) -> Tensor:
        return (z - y).clamp_(-self.delta, self.delta)


class Pinball(Loss):
    """The quantile loss. With several quantiles, the network has an output for each; all are compared with the same
    target column.

    Sorting the outputs of a row never increases the loss (Chernozhukov, Fernandez-Val and Galichon 2010,
    "Quantile and probability curves without crossing"), so the link sorts them, and the curves never cross.
    """

    def __init__(self, quantiles: tuple[float, ...]) -> None:
        super().__init__()
        self.quantiles = quantiles  # increasing
        self._tensors: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def _quantiles_like(self, z: Tensor) -> Tensor:
        """Return the quantiles with the device and type of `z`, from the cache if possible."""
        key = z.device, z.dtype
        if key not in self._tensors:
            with torch.inference_mode(False):
                self._tensors[key] = torch.tensor(self.quantiles, dtype=z.dtype, device=z.device)
        return self._tensors[key]

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_tensors": {}}

    def values(self, z: Tensor, y: Tensor) -> Tensor:
        error, q = y - z, self._quantiles_like(z)
        return torch.maximum(q * error, (q - 1) * error)

    def gradient(self, z: Tensor, y: Tensor) -> Tensor:
        return (z > y).to(z.dtype).sub_(self._quantiles_like(z))

    def link(self, z: Tensor) -> Tensor:
        return z.sort(-1).values if len(self.quantiles) > 1 else z


class Poisson(Loss):
    """Half the Poisson deviance with a log link, as in scikit-learn's MLP; `y` is at least 0."""

    def values(self, z: Tensor, y: Tensor) -> Tensor:
        return torch.exp(z) - y * z + torch.xlogy(y, y) - y

    def gradient(self, z: Tensor, y: Tensor) -> Tensor:
        return torch.exp(z).sub_(y)

    def link(self, z: Tensor) -> Tensor:
        return torch.exp(z)

    def inverse_link(self, p: Tensor) -> Tensor:
        return p.clamp(min=torch.finfo(p.dtype).tiny).log()


class Gamma(Loss):
    """Half the gamma deviance with a log link; `y` is positive."""

    def values(self, z: Tensor, y: Tensor) -> Tensor:
        return z + y * torch.exp(-z) - torch.log(y) - 1

    def gradient(self, z: Tensor, y: Tensor) -> Tensor:
        return 1 - y * torch.exp(-z)

    def link(self, z: Tensor) -> Tensor:
        return torch.exp(z)

    def inverse_link(self, p: Tensor) -> Tensor:
        return p.clamp(min=torch.finfo(p.dtype).tiny).log()


class CallableLoss(Loss):
    """A user's function of (output, target), both (rows, K), that returns (rows,) or (rows, K) losses.

    The link is that of `default`, the loss that the estimator would use otherwise.
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], default: Loss) -> None:
        super().__init__()
        self.function, self.default = function, default
        self.outputs_are_exclusive = default.outputs_are_exclusive

    def link(self, z: Tensor) -> Tensor:
        return self.default.link(z)

    def inverse_link(self, p: Tensor) -> Tensor:
        return self.default.inverse_link(p)

    def values(self, z: Tensor, y: Tensor) -> Tensor:
        values = self.function(z.flatten(0, 1), y.flatten(0, 1))
        rows = z.shape[0] * z.shape[1]
        if not isinstance(values, Tensor) or values.shape[:1] != (rows,):
            actual = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(
                f"loss={self.function!r} has to return one loss per row, a tensor of shape ({rows},) or "
                f"({rows}, {z.shape[2]}); got {actual}. Do not average: a loss of torch needs reduction='none'."
            )
        return values.reshape(z.shape[0], z.shape[1], -1)

    def gradient(self, z: Tensor, y: Tensor) -> Tensor:
        # Autograd needs tensors that were made outside of inference mode, so copy.
        with torch.inference_mode(False), torch.enable_grad():
            z = z.detach().clone().requires_grad_()
            return torch.autograd.grad(self.values(z, y.clone()).sum(), z)[0].contiguous()

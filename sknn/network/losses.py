"""Losses: the value for each row and output, and the gradient, over a members axis.

`z` (M, B, K) is the network's output before its link, `y` (M, B, K) the encoded target.  A network is trained on the
sum over outputs of `values`, averaged over rows by weight; `gradient` is the derivative of that sum for one row.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from sknn.network.activations import sigmoid, softplus


class Loss(torch.nn.Module):
    """Base class.  `link` maps the network's output to the scale of the target: probabilities, means, values."""

    # scikit-learn's MLP reports the squared error as a mean over outputs, and every other loss as a sum.
    reports_mean_over_outputs = False
    outputs_exclude_each_other = False  # whether the outputs are one distribution

    def values(self, z: Tensor, y: Tensor) -> Tensor:
        """The loss of each row and output, (M, B, K) or (M, B, 1)."""
        raise NotImplementedError(type(self).__name__)

    def gradient(self, z: Tensor, y: Tensor) -> Tensor:
        """A new (M, B, K) tensor: the derivative of `values`, summed over outputs, by `z`."""
        raise NotImplementedError(type(self).__name__)

    def link(self, z: Tensor) -> Tensor:
        return z

    def rows(self, z: Tensor, y: Tensor) -> Tensor:
        """The loss of each row as it is reported, (M, B)."""
        values = self.values(z, y)
        return values.mean(-1) if self.reports_mean_over_outputs else values.sum(-1)


class SoftmaxCrossEntropy(Loss):
    """Log loss of classes that exclude each other; `y` holds one-hot (or smoothed) rows."""

    outputs_exclude_each_other = True

    def values(self, z: Tensor, y: Tensor) -> Tensor:
        return -(torch.log_softmax(z, -1) * y)

    def gradient(self, z: Tensor, y: Tensor) -> Tensor:
        return torch.softmax(z, -1).sub_(y)

    def link(self, z: Tensor) -> Tensor:
        return torch.softmax(z, -1)


class BinaryCrossEntropy(Loss):
    """Log loss of each output on its own: a binary target, or a multilabel one."""

    def values(self, z: Tensor, y: Tensor) -> Tensor:
        return softplus(z) - z * y

    def gradient(self, z: Tensor, y: Tensor) -> Tensor:
        return sigmoid(z).sub_(y)

    def link(self, z: Tensor) -> Tensor:
        return sigmoid(z)


class SquaredError(Loss):
    """Half the squared error, as in scikit-learn's MLP."""

    reports_mean_over_outputs = True

    def values(self, z: Tensor, y: Tensor) -> Tensor:
        return (z - y).square().mul(0.5)

    def gradient(self, z: Tensor, y: Tensor) -> Tensor:
        return z - y


class AbsoluteError(Loss):
    """The distance from y, whose minimum is the median."""

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
    """The quantile loss; with several quantiles, an output each, for one and the same target column.

    Sorting the outputs of a row never increases the loss (Chernozhukov, Fernandez-Val and Galichon 2010,
    "Quantile and probability curves without crossing"), so the link sorts, and the curves never cross.
    """

    def __init__(self, quantiles: tuple[float, ...]) -> None:
        super().__init__()
        self.quantiles = quantiles  # increasing
        self._tensors: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def _on(self, z: Tensor) -> Tensor:
        """The quantiles beside `z`, brought there once."""
        key = z.device, z.dtype
        if key not in self._tensors:
            with torch.inference_mode(False):
                self._tensors[key] = torch.tensor(self.quantiles, dtype=z.dtype, device=z.device)
        return self._tensors[key]

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_tensors": {}}

    def values(self, z: Tensor, y: Tensor) -> Tensor:
        error, q = y - z, self._on(z)
        return torch.maximum(q * error, (q - 1) * error)

    def gradient(self, z: Tensor, y: Tensor) -> Tensor:
        return (z > y).to(z.dtype).sub_(self._on(z))

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


class Gamma(Loss):
    """Half the gamma deviance with a log link; `y` is positive."""

    def values(self, z: Tensor, y: Tensor) -> Tensor:
        return z + y * torch.exp(-z) - torch.log(y) - 1

    def gradient(self, z: Tensor, y: Tensor) -> Tensor:
        return 1 - y * torch.exp(-z)

    def link(self, z: Tensor) -> Tensor:
        return torch.exp(z)


class CallableLoss(Loss):
    """A user's function of (output, target), both (rows, K), that returns (rows,) or (rows, K) losses.

    The link is that of `own`, the loss that would stand here otherwise.
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], own: Loss) -> None:
        super().__init__()
        self.function, self.own = function, own
        self.outputs_exclude_each_other = own.outputs_exclude_each_other

    def link(self, z: Tensor) -> Tensor:
        return self.own.link(z)

    def values(self, z: Tensor, y: Tensor) -> Tensor:
        values = self.function(z.flatten(0, 1), y.flatten(0, 1))
        rows = z.shape[0] * z.shape[1]
        if not isinstance(values, Tensor) or values.shape[:1] != (rows,):
            got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(
                f"loss={self.function!r} has to return one loss per row, a tensor of shape ({rows},) or "
                f"({rows}, {z.shape[2]}); got {got}. Leave the average out: for a loss of torch, reduction='none'."
            )
        return values.reshape(z.shape[0], z.shape[1], -1)

    def gradient(self, z: Tensor, y: Tensor) -> Tensor:
        # Autograd needs ordinary tensors, which copies made outside inference mode are.
        with torch.inference_mode(False), torch.enable_grad():
            z = z.detach().clone().requires_grad_()
            return torch.autograd.grad(self.values(z, y.clone()).sum(), z)[0].contiguous()

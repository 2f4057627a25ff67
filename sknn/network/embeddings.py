"""Embeddings: layers that turn a table's numbers and category codes into inputs of the first linear layer.

They come first in a network, so their backward returns no gradient of the input.
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from sknn.network.layers import Backward, Forward, Layer, Tensors

CATEGORY_WIDTH = 8  # as in RealMLP (arXiv 2407.04491)
LEVEL_DROPOUT = 0.1  # share of the codes that training replaces by "unknown", so that its vector is trained
EMBEDDING_LR_SCALE = 0.3
PERIODIC_FREQUENCIES = 16  # RealMLP's sizes and standard deviation of the frequencies
PERIODIC_WIDTH = 3
PERIODIC_STD = 0.1
PIECEWISE_BINS = 48  # TabM's sizes (arXiv 2410.24210)
PIECEWISE_WIDTH = 16
OPEN_END = 1e30  # finite, so that a product with 0 stays 0


class CategoricalEmbedding(Layer):
    """A learned vector for each level: codes (M, B, features) -> (M, B, features * width).

    `noise` is a mask, as in `Dropout`: where it is 0, code 0 (missing or unknown) replaces the code. So the vector of
    code 0 is trained even if no training row has it. It starts at 0.

    Parameters
    ----------
    n_levels : list of int
        Levels of each feature, including code 0.
    """

    def __init__(self, n_levels: list[int]) -> None:
        super().__init__()
        self.n_levels = list(n_levels)
        self.starts: Tensor
        self.shapes = {"weight": (sum(n_levels), CATEGORY_WIDTH)}
        starts = torch.tensor([0, *n_levels[:-1]]).cumsum(0)
        self.register_buffer("starts", starts, persistent=False)
        self.width, self.rate = len(n_levels), LEVEL_DROPOUT
        self.out_features = len(n_levels) * CATEGORY_WIDTH

    def reset(self, params: dict[str, Tensor], generator: torch.Generator) -> None:
        params["weight"].normal_(generator=generator)
        params["weight"][self.starts] = 0  # without level dropout, as with lbfgs, unknown levels add nothing

    def bind(
        self, params: Tensors, grads: Tensors, rows: int, needs_input_grad: bool = False, reuse_output: bool = False
    ) -> tuple[Forward, Backward]:
        saved: Any = None

        def forward(x: Tensor, noise: Tensor | None = None) -> Tensor:
            nonlocal saved
            levels = (x if noise is None else torch.where(noise > 0, x, 0)) + self.starts
            member = torch.arange(levels.shape[0], device=levels.device)[:, None, None]
            saved = member, levels
            return params[0][member, levels].flatten(2)

        def backward(grad: Tensor) -> None:
            member, levels = saved
            values = grad.reshape(*levels.shape, CATEGORY_WIDTH)
            grads[0].zero_()
            grads[0].index_put_((member.expand_as(levels), levels), values, accumulate=True)

        return forward, backward

    def extra_repr(self) -> str:
        return f"n_levels={self.n_levels}, width={CATEGORY_WIDTH}"


class NumericEmbedding(Layer):
    """Expands each number into several terms, and maps these by a small linear layer for each feature.

    (M, B, features) -> (M, B, features * out_width). A subclass defines the terms: `expand` returns them,
    (M, features, B, terms), and `expand_backward` writes the gradients of its parameters.
    """

    terms: int
    width: int
    lr_scales: ClassVar[dict[str, float]] = dict.fromkeys(("weight", "bias", "frequency", "phase"), EMBEDDING_LR_SCALE)
    keeps_number: bool  # whether the output also holds the number itself

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features
        self.shapes = {"weight": (n_features, self.terms, self.width), "bias": (n_features, 1, self.width)}
        self.out_features = n_features * (self.width + self.keeps_number)

    def reset(self, params: dict[str, Tensor], generator: torch.Generator) -> None:
        limit = 1 / math.sqrt(self.terms)
        params["weight"].uniform_(-limit, limit, generator=generator)
        params["bias"].uniform_(-limit, limit, generator=generator)

    def bind(
        self, params: Tensors, grads: Tensors, rows: int, needs_input_grad: bool = False, reuse_output: bool = False
    ) -> tuple[Forward, Backward]:
        weight, bias, *rest = params
        saved: Any = None

        def forward(x: Tensor, noise: Tensor | None = None) -> Tensor:
            nonlocal saved
            columns = x.transpose(1, 2).unsqueeze(3)  # (M, features, B, 1)
            terms, for_backward = self.expand(columns, rest)
            saved = columns, terms, for_backward
            embedded = (terms @ weight + bias).transpose(1, 2)  # (M, B, features, width)
            if self.keeps_number:
                embedded = torch.cat([embedded, x.unsqueeze(3)], 3)
            return embedded.flatten(2)

        def backward(grad: Tensor) -> None:
            columns, terms, for_backward = saved
            shape = (*grad.shape[:2], self.n_features, self.width + self.keeps_number)
            grad = grad.reshape(shape)[..., : self.width].transpose(1, 2)  # (M, features, B, width)
            grads[0].copy_(terms.transpose(2, 3) @ grad)
            torch.sum(grad, 2, keepdim=True, out=grads[1])
            self.expand_backward(grad, columns, params, grads, for_backward)

        return forward, backward

    def expand(self, columns: Tensor, params: list[Tensor]) -> tuple[Tensor, Any]:
        """Return the terms of each number, and what `expand_backward` needs."""
        raise NotImplementedError(type(self).__name__)

    def expand_backward(self, grad: Tensor, columns: Tensor, params: Tensors, grads: Tensors, saved: Any) -> None:
        """Write the gradients of the parameters that `expand` uses, from the gradient of the embedding."""

    def extra_repr(self) -> str:
        return f"n_features={self.n_features}, width={self.width}"


class PeriodicEmbedding(NumericEmbedding):
    """cos(2 pi (x frequency + phase)), a small linear layer, and x itself: PBLD of RealMLP (arXiv 2407.04491)."""

    terms, width, keeps_number = PERIODIC_FREQUENCIES, PERIODIC_WIDTH, True

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features)
        shape = (n_features, 1, self.terms)
        self.shapes |= {"frequency": shape, "phase": shape}

    def reset(self, params: dict[str, Tensor], generator: torch.Generator) -> None:
        super().reset(params, generator)
        params["frequency"].normal_(std=PERIODIC_STD, generator=generator)
        params["phase"].uniform_(-0.5, 0.5, generator=generator)

    def expand(self, columns: Tensor, params: list[Tensor]) -> tuple[Tensor, Any]:
        frequency, phase = params
        angle = (columns * frequency + phase) * (2 * math.pi)
        return torch.cos(angle), angle

    def expand_backward(self, grad: Tensor, columns: Tensor, params: Tensors, grads: Tensors, saved: Any) -> None:
        slope = (grad @ params[0].transpose(2, 3)).mul_(torch.sin(saved)).mul_(-2 * math.pi)
        torch.sum(slope * columns, 2, keepdim=True, out=grads[2])
        torch.sum(slope, 2, keepdim=True, out=grads[3])


class PiecewiseLinearEmbedding(NumericEmbedding):
    """For each bin of a feature, the fraction of the bin below the number (arXiv 2203.05556), then a linear layer.

    A bin below the number gives 1, and a bin above it 0. The number's own bin gives the position in it, from 0 to 1.
    The first bin has no lower end and the last one no upper end, so that the embedding goes on growing outside the
    training range.
    """

    terms, width, keeps_number = PIECEWISE_BINS, PIECEWISE_WIDTH, False
    statistics = frozenset({"start", "rate", "floor", "ceiling"})

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features)
        self.shapes |= dict.fromkeys(("start", "rate", "floor", "ceiling"), (n_features, 1, self.terms))

    def reset(self, params: dict[str, Tensor], generator: torch.Generator) -> None:
        super().reset(params, generator)
        for name in sorted(self.statistics):
            params[name].zero_()

    @staticmethod
    @torch.no_grad()
    def set_bins(params: dict[str, Tensor], edges: list[Tensor]) -> None:
        """Set one member's bins from each feature's increasing edges. Bins that a feature does not need stay at 0."""
        for j, ends in enumerate(edges):
            n = len(ends) - 1
            params["start"][j, 0, :n] = ends[:-1]
            params["rate"][j, 0, :n] = 1 / ends.diff()
            params["ceiling"][j, 0, :n] = 1
            if n:
                params["floor"][j, 0, 0] = -OPEN_END
                params["ceiling"][j, 0, n - 1] = OPEN_END

    def expand(self, columns: Tensor, params: list[Tensor]) -> tuple[Tensor, Any]:
        start, rate, floor, ceiling = params
        return torch.clamp((columns - start) * rate, floor, ceiling), None


NUMERIC_EMBEDDINGS: dict[str, type[NumericEmbedding]] = {
    "periodic": PeriodicEmbedding,
    "piecewise_linear": PiecewiseLinearEmbedding,
}

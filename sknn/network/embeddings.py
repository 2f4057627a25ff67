"""Embeddings: what turns a table's numbers and category codes into the inputs of the first linear layer.

They stand first in a network, so no gradient of their input is ever asked for.
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from sknn.network.layers import Layer, Views

CATEGORY_WIDTH = 8  # as in RealMLP (arXiv 2407.04491)
# The share of a training's codes that are taken for unknown, so that the vector of unknown levels is trained.
LEVEL_DROPOUT = 0.1
EMBEDDING_LR_SCALE = 0.3
PERIODIC_FREQUENCIES = 16  # RealMLP's sizes and spread
PERIODIC_WIDTH = 3
PERIODIC_SPREAD = 0.1
PIECEWISE_BINS = 48  # TabM's sizes (arXiv 2410.24210)
PIECEWISE_WIDTH = 16
OPEN_END = 1e30  # finite, so that a product with 0 stays 0


class CategoricalEmbedding(Layer):
    """A learned vector per level: codes (M, B, features) -> (M, B, features * width).

    With `noise`, as for `Dropout`, codes whose factor is 0 are taken for code 0 (missing or unknown).  So its vector is
    trained also where no row of the fit has it; it starts at 0.

    Parameters
    ----------
    n_levels : list of int
        Levels of each feature, with code 0 (missing or unknown) counted.
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
        params["weight"][self.starts] = 0  # also where dropping is off, as with lbfgs, unknown levels add nothing

    def run(self, x: Tensor, params: Views, noise: Tensor | None = None) -> tuple[Tensor, Any]:
        levels = (x if noise is None else torch.where(noise > 0, x, 0)) + self.starts
        member = torch.arange(levels.shape[0], device=levels.device)[:, None, None]
        return params[0][member, levels].flatten(2), (member, levels)

    def backward(self, grad: Tensor, saved: Any, params: Views, grads: Views, needs_input_grad: bool) -> None:
        member, levels = saved
        values = grad.reshape(*levels.shape, CATEGORY_WIDTH)
        grads[0].zero_()
        grads[0].index_put_((member.expand_as(levels), levels), values, accumulate=True)

    def extra_repr(self) -> str:
        return f"n_levels={self.n_levels}, width={CATEGORY_WIDTH}"


class NumericEmbedding(Layer):
    """Expands each number into several, then maps them by a linear layer of the feature's own.

    (M, B, features) -> (M, B, features * out_width).  A subclass says how a number is expanded: `expand` gives
    (M, features, B, terms), and `expand_backward` its gradients.
    """

    terms: int
    width: int
    lr_scales: ClassVar[dict[str, float]] = dict.fromkeys(("weight", "bias", "frequency", "phase"), EMBEDDING_LR_SCALE)
    keeps_number: bool  # whether the number itself stands beside its embedding

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features
        self.shapes = {"weight": (n_features, self.terms, self.width), "bias": (n_features, 1, self.width)}
        self.out_features = n_features * (self.width + self.keeps_number)

    def reset(self, params: dict[str, Tensor], generator: torch.Generator) -> None:
        bound = 1 / math.sqrt(self.terms)
        params["weight"].uniform_(-bound, bound, generator=generator)
        params["bias"].uniform_(-bound, bound, generator=generator)

    def run(self, x: Tensor, params: Views, noise: Tensor | None = None) -> tuple[Tensor, Any]:
        weight, bias, *rest = params
        columns = x.transpose(1, 2).unsqueeze(3)  # (M, features, B, 1)
        terms, saved = self.expand(columns, rest)
        embedded = (terms @ weight + bias).transpose(1, 2)  # (M, B, features, width)
        if self.keeps_number:
            embedded = torch.cat([embedded, x.unsqueeze(3)], 3)
        return embedded.flatten(2), (columns, terms, saved)

    def backward(self, grad: Tensor, saved: Any, params: Views, grads: Views, needs_input_grad: bool) -> None:
        columns, terms, rest = saved
        shape = (*grad.shape[:2], self.n_features, self.width + self.keeps_number)
        grad = grad.reshape(shape)[..., : self.width].transpose(1, 2)  # (M, features, B, width)
        grads[0].copy_(terms.transpose(2, 3) @ grad)
        torch.sum(grad, 2, keepdim=True, out=grads[1])
        self.expand_backward(grad, columns, params, grads, rest)

    def expand(self, columns: Tensor, params: list[Tensor]) -> tuple[Tensor, Any]:
        raise NotImplementedError(type(self).__name__)

    def expand_backward(self, grad: Tensor, columns: Tensor, params: Views, grads: Views, saved: Any) -> None:
        """Write the gradients of what `expand` learns, given that of the embedding."""

    def extra_repr(self) -> str:
        return f"n_features={self.n_features}, width={self.width}"


class PeriodicEmbedding(NumericEmbedding):
    """cos(2 pi (x frequency + phase)), a small linear layer, and x itself: PBLD of RealMLP (arXiv 2407.04491)."""

    terms, width, keeps_number = PERIODIC_FREQUENCIES, PERIODIC_WIDTH, True

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features)
        waves = (n_features, 1, self.terms)
        self.shapes |= {"frequency": waves, "phase": waves}

    def reset(self, params: dict[str, Tensor], generator: torch.Generator) -> None:
        super().reset(params, generator)
        params["frequency"].normal_(std=PERIODIC_SPREAD, generator=generator)
        params["phase"].uniform_(-0.5, 0.5, generator=generator)

    def expand(self, columns: Tensor, params: list[Tensor]) -> tuple[Tensor, Any]:
        frequency, phase = params
        angle = (columns * frequency + phase) * (2 * math.pi)
        return torch.cos(angle), angle

    def expand_backward(self, grad: Tensor, columns: Tensor, params: Views, grads: Views, saved: Any) -> None:
        slope = (grad @ params[0].transpose(2, 3)).mul_(torch.sin(saved)).mul_(-2 * math.pi)
        torch.sum(slope * columns, 2, keepdim=True, out=grads[2])
        torch.sum(slope, 2, keepdim=True, out=grads[3])


class PiecewiseLinearEmbedding(NumericEmbedding):
    """How far a number has come through each of a feature's bins (arXiv 2203.05556), then a linear layer.

    A bin below the number gives 1, one above it 0, and its own the fraction passed; the first has no lower end and the
    last no upper end, so that the embedding goes on growing outside the training range.
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
        """Set one member's bins from each feature's increasing edges; a feature with fewer leaves the rest at 0."""
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

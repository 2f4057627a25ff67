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
MEAN_FOLDS = 5  # of the training rows, for the means of the target
EMBEDDING_LR_SCALE = 0.3
PERIODIC_FREQUENCIES = 16  # RealMLP's sizes and standard deviation of the frequencies
PERIODIC_WIDTH = 3
PERIODIC_STD = 0.1
PIECEWISE_BINS = 48  # as in TabM (arXiv 2410.24210)
PIECEWISE_WIDTH = 8  # half of TabM's: as accurate, and the first layer costs half


class CategoricalEmbedding(Layer):
    """A learned vector for each level, and perhaps target means: codes (M, B, features) -> (M, B, features * width).

    `noise` is a mask, as in `Dropout`: where it is 0, code 0 (missing or unknown) replaces the code. So the vector of
    code 0 is trained even if no training row has it. It starts at 0.

    With `n_means`, means of the target over a level's training rows follow its vector. They are statistics; see
    `sknn.training.target_means`. There is a table of means over all training rows, and one for each fold of these rows,
    with means over the rows outside the fold. A training row in fold k (1, 2, ...) has the level's code plus k times
    `total_levels`, and takes the means of its fold's table. Other rows have the level's code itself.

    Parameters
    ----------
    n_levels : list of int
        Levels of each feature, including code 0.
    n_means : int, default=0
        Values of a level that are means of the target.
    """

    statistics = frozenset({"means"})
    means: Tensor

    def __init__(self, n_levels: list[int], n_means: int = 0) -> None:
        super().__init__()
        self.n_levels, self.n_means, self.total_levels = list(n_levels), n_means, sum(n_levels)
        self.starts: Tensor
        self.shapes = {"weight": (self.total_levels, CATEGORY_WIDTH)}
        if n_means:
            self.shapes["means"] = ((MEAN_FOLDS + 1) * self.total_levels, n_means)
        starts = torch.tensor([0, *n_levels[:-1]]).cumsum(0)
        self.register_buffer("starts", starts, persistent=False)
        self.width, self.rate = len(n_levels), LEVEL_DROPOUT
        self.out_features = len(n_levels) * (CATEGORY_WIDTH + n_means)

    def reset(self, params: dict[str, Tensor], generator: torch.Generator) -> None:
        params["weight"].normal_(generator=generator)
        params["weight"][self.starts] = 0  # without level dropout, as with lbfgs, unknown levels add nothing
        if self.n_means:
            params["means"].zero_()

    def bind(
        self, params: Tensors, grads: Tensors, rows: int, needs_input_grad: bool = False, reuse_output: bool = False
    ) -> tuple[Forward, Backward]:
        saved: Any = None

        def forward(x: Tensor, noise: Tensor | None = None) -> Tensor:
            nonlocal saved
            codes = x % self.total_levels if self.n_means else x
            fold_starts = x - codes
            levels = (codes if noise is None else torch.where(noise > 0, codes, 0)) + self.starts
            member = torch.arange(levels.shape[0], device=levels.device)[:, None, None]
            saved = member, levels
            vectors = params[0][member, levels]
            if self.n_means:
                vectors = torch.cat([vectors, params[1][member, levels + fold_starts]], 3)
            return vectors.flatten(2)

        def backward(grad: Tensor) -> None:
            member, levels = saved
            values = grad.reshape(*levels.shape, CATEGORY_WIDTH + self.n_means)[..., :CATEGORY_WIDTH]
            grads[0].zero_()
            grads[0].index_put_((member.expand_as(levels), levels), values, accumulate=True)

        return forward, backward

    def extra_repr(self) -> str:
        means = f", n_means={self.n_means}" if self.n_means else ""
        return f"n_levels={self.n_levels}, width={CATEGORY_WIDTH}{means}"


class NumericEmbedding(Layer):
    """Expands each number into several outputs, with weights of its own for each feature.

    (M, B, features) -> (M, B, features * out_width).
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

    def bind(
        self, params: Tensors, grads: Tensors, rows: int, needs_input_grad: bool = False, reuse_output: bool = False
    ) -> tuple[Forward, Backward]:
        weight, bias, frequency, phase = params
        saved: Any = None

        def forward(x: Tensor, noise: Tensor | None = None) -> Tensor:
            nonlocal saved
            columns = x.transpose(1, 2).unsqueeze(3)  # (M, features, B, 1)
            angle = (columns * frequency + phase) * (2 * math.pi)
            waves = torch.cos(angle)
            saved = columns, angle, waves
            embedded = (waves @ weight + bias).transpose(1, 2)  # (M, B, features, width)
            return torch.cat([embedded, x.unsqueeze(3)], 3).flatten(2)

        def backward(grad: Tensor) -> None:
            columns, angle, waves = saved
            grad = grad.reshape(*grad.shape[:2], self.n_features, self.width + 1)[..., : self.width]
            grad = grad.transpose(1, 2)  # (M, features, B, width)
            grads[0].copy_(waves.transpose(2, 3) @ grad)
            torch.sum(grad, 2, keepdim=True, out=grads[1])
            slope = (grad @ weight.transpose(2, 3)).mul_(torch.sin(angle)).mul_(-2 * math.pi)
            torch.sum(slope * columns, 2, keepdim=True, out=grads[2])
            torch.sum(slope, 2, keepdim=True, out=grads[3])

        return forward, backward


class PiecewiseLinearEmbedding(NumericEmbedding):
    """A piecewise-linear function of each number: a linear layer on its shares of bins (arXiv 2203.05556).

    A bin below the number has the share 1, and a bin above it 0. The share of the number's own bin is its position in
    it, from 0 to 1. The first bin has no lower end and the last one no upper end, so that the function goes on outside
    the training range.

    The sum over the bins is not computed. `prepare` gives a number's position, the index of its bin plus the share of
    this bin; then the output is a sum over whole bins, the same for all numbers in the bin, plus a share of one weight.
    All members have the same bins. `bind` and `run` take positions, and `forward` numbers.
    """

    terms, width, keeps_number = PIECEWISE_BINS, PIECEWISE_WIDTH, False
    statistics = frozenset({"start", "rate"})
    start: Tensor
    rate: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features)
        self.shapes |= dict.fromkeys(("start", "rate"), (n_features, self.terms))

    def reset(self, params: dict[str, Tensor], generator: torch.Generator) -> None:
        super().reset(params, generator)
        for name in sorted(self.statistics):
            params[name].zero_()

    @staticmethod
    @torch.no_grad()
    def set_bins(params: dict[str, Tensor], edges: list[Tensor]) -> None:
        """Set one member's bins from each feature's increasing edges. Bins that a feature does not need stay at 0."""
        largest = torch.finfo(params["rate"].dtype).max
        for j, ends in enumerate(edges):
            n = len(ends) - 1
            params["start"][j, :n] = ends[:-1]
            params["rate"][j, :n] = (1 / ends.double().diff()).clamp(max=largest)

    def prepare(self, x: Tensor) -> Tensor:
        """Return the position of each number: its bin, counted from 0, plus its share of the bin."""
        start, rate = self.start[0].to(x), self.rate[0].to(x)
        columns = x.movedim(-1, 0).flatten(1).contiguous()
        inner = torch.where(rate > 0, start, torch.inf)[:, 1:].contiguous()
        bins = torch.searchsorted(inner, columns, right=True)
        share = (columns - start.gather(1, bins)) * rate.gather(1, bins)
        return (bins + share).view(x.shape[-1], *x.shape[:-1]).movedim(0, -1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.prepare(x))

    def bind(
        self, params: Tensors, grads: Tensors, rows: int, needs_input_grad: bool = False, reuse_output: bool = False
    ) -> tuple[Forward, Backward]:
        weight, bias, _, rate = params
        last = ((rate > 0).sum(2) - 1).clamp(min=0)[:, None].to(rate)  # (M, 1, features)
        first = torch.arange(0, weight.shape[:3].numel(), self.terms, device=rate.device).view_as(last)
        saved: Any = None

        def forward(x: Tensor, noise: Tensor | None = None) -> Tensor:
            nonlocal saved
            bins = x.clamp(min=0).minimum(last).long()  # (M, B, features)
            share = (x - bins).reshape(-1, 1)
            bins = (bins + first).flatten()
            saved = bins, share
            of_bins_below = weight.cumsum(2).sub_(weight).add_(bias)
            rising = weight.reshape(-1, self.width).index_select(0, bins).mul_(share)
            return rising.add_(of_bins_below.view(-1, self.width).index_select(0, bins)).view(*x.shape[:2], -1)

        def backward(grad: Tensor) -> None:
            bins, share = saved
            grad = grad.reshape(-1, self.width)
            # For each bin, the sums over the numbers in it: of the gradient, and of the gradient times the share.
            sums = grad.new_zeros(weight.shape[:3].numel(), 2 * self.width)
            sums.index_put_((bins,), torch.cat([grad, grad * share], 1), accumulate=True)
            whole, part = sums.view(*weight.shape[:3], 2, self.width).unbind(3)
            up_to = whole.cumsum(2)
            total = up_to[:, :, -1:]
            torch.sub(total, up_to, out=grads[0])
            grads[0].add_(part)
            grads[1].copy_(total)

        return forward, backward


NUMERIC_EMBEDDINGS: dict[str, type[NumericEmbedding]] = {
    "periodic": PeriodicEmbedding,
    "piecewise_linear": PiecewiseLinearEmbedding,
}

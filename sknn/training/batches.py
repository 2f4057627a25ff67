"""Gather the rows of several batches at a time, and give each batch as a view of them.

Members hold indices into one table, and never copies of its rows.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, repeat

import torch
from torch import Tensor

from sknn.network.base import Inputs
from sknn.training.blocks import Block
from sknn.training.dropout import DropoutNoise
from sknn.training.table import Table


@dataclass(slots=True)
class Batch:
    """What some members train on in one step.

    Attributes
    ----------
    members : slice
    step_groups : list of slice
        Groups of members with equally many steps so far.
    rows : Tensor of shape (M, B)
        Indices into the table.
    inputs : Inputs
    target : Tensor of shape (M, B, K)
        The target, with labels smoothed.
    noise : sequence of Tensor of shape (M, B, width)
        The factors of each dropout layer.
    scale : Tensor of shape () or (M, B, 1)
        The factor of a row's gradient: the row's share of the batch's weight.
    inverse_weight : float or Tensor of shape (M,)
        1 over the batch's weight.
    start : int
        The number of rows before it in the epoch.
    """

    members: slice
    step_groups: list[slice]
    rows: Tensor
    inputs: Inputs
    target: Tensor
    noise: Sequence[Tensor]
    scale: Tensor | float
    inverse_weight: float | Tensor
    start: int


class Chunk:
    """The rows of some neighbouring blocks of the same members, gathered at once.

    The rows of a batch lie side by side. For two members and a block of two batches::

        batch 0             batch 1
        member 0, member 1, member 0, member 1

    The blocks follow one another. `length` below is the number of rows in the chunk, over all members.

    Parameters
    ----------
    table : Table
    rows : sequence of Tensor
        Each member's rows, in the order of the epoch.
    blocks : list of Block
    step_groups : list of slice
        Groups of members with equally many rows.
    noise : DropoutNoise
    smoothing : Tensor of shape (members,), optional
        The label smoothing of each member.
    """

    def __init__(
        self,
        table: Table,
        rows: Sequence[Tensor],
        blocks: list[Block],
        step_groups: list[slice],
        noise: DropoutNoise,
        smoothing: Tensor | None = None,
    ) -> None:
        self.blocks, self.step_groups, self.members = blocks, step_groups, blocks[0].members
        self.shapes = [(b.n_batches, b.members.stop - b.members.start, b.size) for b in blocks]
        self.rows = torch.cat([rows_of(block, rows) for block in blocks])
        self.inputs, self.target = table.inputs(self.rows), table.target[self.rows]
        if smoothing is not None:
            of_rows = [smoothing[self.members][:, None].expand(shape).reshape(-1, 1) for shape in self.shapes]
            self.target = smooth_labels(self.target, torch.cat(of_rows), table.n_choices)
        self.noises = [noise.draw(self.members, n, size, self.target) for n, _, size in self.shapes]
        self.inverse_weights: list[Tensor] = []  # 1 over the batches' weights (batches, M), if rows have weights
        self.shares: list[Tensor] = []  # and each row's share (batches, M, size) of its batch's weight
        if table.weight is not None:
            weights = self.by_batch(table.weight[self.rows])
            self.inverse_weights = [inverse(w.sum(2)) for w in weights]
            self.shares = [w * each[..., None] for w, each in zip(weights, self.inverse_weights, strict=True)]

    def copy_from(self, other: "Chunk") -> None:
        """Copy the rows of a chunk of the same shape into this one's memory."""
        pairs = [(self.inputs.numeric, other.inputs.numeric), (self.target, other.target), (self.rows, other.rows)]
        if self.inputs.codes is not None and other.inputs.codes is not None:
            pairs.append((self.inputs.codes, other.inputs.codes))
        for noise, other_noise in zip(self.noises, other.noises, strict=True):
            pairs += zip(noise, other_noise, strict=True)
        pairs += zip(self.shares, other.shares, strict=True)
        pairs += zip(self.inverse_weights, other.inverse_weights, strict=True)
        for destination, source in pairs:
            destination.copy_(source)

    @property
    def n_batches(self) -> int:
        return sum(block.n_batches for block in self.blocks)

    def by_batch(self, t: Tensor) -> list[Tensor]:
        """Split values of the rows (length, ...) into a view (batches, M, size, ...) for each block."""
        parts = t.split([math.prod(shape) for shape in self.shapes])
        return [part.view(*shape, *t.shape[1:]) for part, shape in zip(parts, self.shapes, strict=True)]

    def by_member(self, t: Tensor) -> Tensor:
        """Reorder values of the rows (length, ...) to (M, rows, ...)."""
        return torch.cat([part.transpose(0, 1).flatten(1, 2) for part in self.by_batch(t)], 1)

    def joined(self, outputs: Sequence[Tensor]) -> Tensor:
        """Return the batches' outputs (M, size, K) as (length, K)."""
        each = iter(outputs)
        parts = [torch.cat(list(islice(each, block.n_batches))).flatten(0, 1) for block in self.blocks]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def batches(self) -> Iterator[Batch]:
        """Return the batches as views."""
        inputs, rows = self.inputs.split(self.by_batch), self.by_batch(self.rows)
        targets = self.by_batch(self.target)
        for i, (block, (n, _, size)) in enumerate(zip(self.blocks, self.shapes, strict=True)):
            scales: Iterable[Tensor] = repeat(self.target.new_full((), 1 / size), n)
            inverse_weights: Iterable[Tensor | float] = repeat(1 / size, n)
            if self.shares:
                scales, inverse_weights = self.shares[i].unsqueeze(3).unbind(), self.inverse_weights[i].unbind()
            noises = (
                zip(*(layer.unbind() for layer in self.noises[i]), strict=True) if self.noises[i] else repeat((), n)
            )
            starts = range(block.start, block.stop, size)
            parts = rows[i].unbind(), inputs[i].unbind(), targets[i].unbind(), noises, scales, inverse_weights, starts
            yield from map(partial(Batch, self.members, self.step_groups), *parts)

    def penalties_of(self, squares: Tensor) -> Tensor:
        """Return each batch's L2 term times its rows (batches, M); `squares` comes from `add_l2_gradient`."""
        if not self.inverse_weights:  # without weights, each row counts as 1
            return squares / 2
        sizes = [size for n, _, size in self.shapes for _ in range(n)]
        return squares / 2 * squares.new_tensor(sizes)[:, None] * torch.cat(self.inverse_weights)

    def totals_of(self, losses: Tensor) -> Tensor:
        """Return each batch's weighted mean of `losses` (length,), times its rows: (batches, M)."""
        if self.shares:
            losses = losses * torch.cat([(share * share.shape[2]).flatten() for share in self.shares])
        parts = [part.sum(2) for part in self.by_batch(losses)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def rows_of(block: Block, rows: Sequence[Tensor]) -> Tensor:
    """Return a block's rows, batch by batch; `rows` are each member's, in the order of the epoch."""
    of_members = [r[block.start : block.stop] for r in rows[block.members]]
    if len(of_members) == 1:
        return of_members[0]
    return torch.stack(of_members).view(len(of_members), -1, block.size).transpose(0, 1).flatten()


def inverse(weights: Tensor) -> Tensor:
    """Return 1 over the weights of batches; 0 for a batch whose rows all have weight 0, which has no gradient."""
    return torch.where(weights > 0, 1 / weights.clamp_min(torch.finfo(weights.dtype).tiny), 0)


def smooth_labels(target: Tensor, smoothing: Tensor, n_choices: int) -> Tensor:
    """Move a share `smoothing` (n, 1) of each row's labels (n, K) to the uniform distribution over its choices."""
    return target * (1 - smoothing) + smoothing / n_choices

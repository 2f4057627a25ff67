"""The order in which each member goes through its rows: batches, gathered in chunks.

Members hold indices into one table and never copies of it.  Rows are gathered for several batches at a time, in chunks
of bounded size, and a batch is a view of a chunk.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, islice, repeat
from typing import Any

import torch
from torch import Tensor

from sknn.network.base import Inputs
from sknn.training.dropout import DropoutNoise
from sknn.training.table import Table

CHUNK_VALUES = 1 << 19  # gathered at once, over all members: 2 MB stay near the core, and chunks are few

VALIDATION_ROWS = 1024  # of a member, evaluated at once, whoever its company is: the last bits depend on their number
VALIDATED_AT_ONCE = 8192  # rows, over members


@dataclass(frozen=True)
class Block:
    """Batches of one size, that neighbouring members take together from row `start` to row `stop` of their order."""

    members: slice
    start: int
    stop: int
    size: int

    @property
    def n_batches(self) -> int:
        return (self.stop - self.start) // self.size

    def step_groups(self, sizes: Sequence[int]) -> list[slice]:
        """The block's members, split where their numbers of rows (and so of steps) differ."""
        first, last = self.members.start, self.members.stop
        return [slice(first + run.start, first + run.stop) for run in equal_runs(sizes[first:last])]


@dataclass(slots=True)
class Batch:
    """What some members train on in one step.

    Attributes
    ----------
    members : slice
    step_groups : list of slice
        The members, split where they have not taken the same number of steps.
    rows : Tensor of shape (M, B)
        Places in the table.
    inputs : Inputs
    target : Tensor of shape (M, B, K)
        With its labels smoothed.
    noise : sequence of Tensor of shape (M, B, width)
        For each dropout layer.
    scale : Tensor of shape () or (M, B, 1)
        What a row's gradient is multiplied by: its share of the batch's weight.
    per_weight : float or Tensor of shape (M,)
        1 over the batch's weight.
    start : int
        Rows of the epoch that came before.
    """

    members: slice
    step_groups: list[slice]
    rows: Tensor
    inputs: Inputs
    target: Tensor
    noise: Sequence[Tensor]
    scale: Tensor | float
    per_weight: float | Tensor
    start: int


class Chunk:
    """Some neighbouring blocks of the same members, whose rows are gathered at once.

    Rows lie batch by batch, so that each batch is without gaps: those of the first block's first batch, member after
    member, then its second, and so on.  `length` below is their number over all members.

    Parameters
    ----------
    table : Table
    rows : sequence of Tensor
        Every member's rows, in its order.
    blocks : list of Block
    step_groups : list of slice
        The members, split where their numbers of rows differ.
    noise : DropoutNoise
    smoothing : Tensor of shape (members,), optional
        Of each member's labels.
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
        self.rows = torch.cat([self._rows_of(rows, b, shape) for b, shape in zip(blocks, self.shapes, strict=True)])
        self.inputs, self.target = table.inputs(self.rows), table.target[self.rows]
        if smoothing is not None:
            own = [smoothing[self.members][:, None].expand(shape).reshape(-1, 1) for shape in self.shapes]
            self.target = smooth_labels(self.target, torch.cat(own), table.n_choices)
        self.noises = [noise.draw(self.members, n, size, self.target) for n, _, size in self.shapes]
        self.per_weights: list[Tensor] = []  # 1 over the batches' weights (batches, M), if rows have weights
        self.shares: list[Tensor] = []  # and each row's share (batches, M, size) of its batch's
        if table.weight is not None:
            weights = self.by_batch(table.weight[self.rows])
            self.per_weights = [inverse(w.sum(2)) for w in weights]
            self.shares = [w * each[..., None] for w, each in zip(weights, self.per_weights, strict=True)]

    @staticmethod
    def _rows_of(rows: Sequence[Tensor], block: Block, shape: tuple[int, int, int]) -> Tensor:
        """The block's rows, batch by batch."""
        n, members, size = shape
        own = [r[block.start : block.stop] for r in rows[block.members]]
        return own[0] if members == 1 else torch.stack(own).view(members, n, size).transpose(0, 1).flatten()

    def copy_from(self, other: "Chunk") -> None:
        """Take over the rows of a chunk of the same shape, in the memory of one's own."""
        pairs = [(self.inputs.numeric, other.inputs.numeric), (self.target, other.target), (self.rows, other.rows)]
        if self.inputs.codes is not None and other.inputs.codes is not None:
            pairs.append((self.inputs.codes, other.inputs.codes))
        for mine, theirs in zip(self.noises, other.noises, strict=True):
            pairs += zip(mine, theirs, strict=True)
        pairs += zip(self.shares, other.shares, strict=True)
        pairs += zip(self.per_weights, other.per_weights, strict=True)
        for own, new in pairs:
            own.copy_(new)

    @property
    def n_batches(self) -> int:
        return sum(block.n_batches for block in self.blocks)

    def by_batch(self, t: Tensor) -> list[Tensor]:
        """What belongs to the rows, (length, ...), as (batches, M, size, ...) of each block."""
        parts = t.split([math.prod(shape) for shape in self.shapes])
        return [part.view(*shape, *t.shape[1:]) for part, shape in zip(parts, self.shapes, strict=True)]

    def by_member(self, t: Tensor) -> Tensor:
        """What belongs to the rows, (length, ...), as (M, rows, ...)."""
        return torch.cat([part.transpose(0, 1).flatten(1, 2) for part in self.by_batch(t)], 1)

    def joined(self, outputs: Sequence[Tensor]) -> Tensor:
        """The batches' outputs (M, size, K), one after another, as (length, K)."""
        each = iter(outputs)
        parts = [torch.cat(list(islice(each, block.n_batches))).flatten(0, 1) for block in self.blocks]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def batches(self) -> Iterator[Batch]:
        inputs, rows = self.inputs.of_each(self.by_batch), self.by_batch(self.rows)
        targets = self.by_batch(self.target)
        for i, (block, (n, _, size)) in enumerate(zip(self.blocks, self.shapes, strict=True)):
            scales: Iterable[Tensor] = repeat(self.target.new_full((), 1 / size), n)
            per_weights: Iterable[Tensor | float] = repeat(1 / size, n)
            if self.shares:
                scales, per_weights = self.shares[i].unsqueeze(3).unbind(), self.per_weights[i].unbind()
            noises = (
                zip(*(layer.unbind() for layer in self.noises[i]), strict=True) if self.noises[i] else repeat((), n)
            )
            starts = range(block.start, block.stop, size)
            parts = rows[i].unbind(), inputs[i].unbind(), targets[i].unbind(), noises, scales, per_weights, starts
            yield from map(partial(Batch, self.members, self.step_groups), *parts)

    def penalties_of(self, squares: Tensor) -> Tensor:
        """The batches' L2 terms times their rows (batches, M), from what the solver's `add_l2_gradient` returned."""
        if not self.per_weights:  # a batch weighs as much as it has rows
            return squares / 2
        sizes = [size for n, _, size in self.shapes for _ in range(n)]
        return squares / 2 * squares.new_tensor(sizes)[:, None] * torch.cat(self.per_weights)

    def totals_of(self, losses: Tensor) -> Tensor:
        """Of each batch, the weighted mean of the rows' losses (length,) times the batch's rows: (batches, M)."""
        if self.shares:
            losses = losses * torch.cat([(share * share.shape[2]).flatten() for share in self.shares])
        parts = [part.sum(2) for part in self.by_batch(losses)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def inverse(weights: Tensor) -> Tensor:
    """1 over the weights of batches; 0 where class weights leave nothing of one, which adds nothing to a gradient."""
    return torch.where(weights > 0, 1 / weights.clamp_min(torch.finfo(weights.dtype).tiny), 0)


def smooth_labels(target: Tensor, smoothing: Tensor, n_choices: int) -> Tensor:
    """Move `smoothing` (n, 1) of each row's labels (n, K) to the uniform distribution over its choices."""
    return target * (1 - smoothing) + smoothing / n_choices


def split_rows(n_rows: int, batch_size: int, join_last_row: bool) -> tuple[int, int]:
    """Number of full batches, and size of the last one (0 if there is none).

    >>> split_rows(100, 32, join_last_row=False)
    (3, 4)
    >>> split_rows(97, 32, join_last_row=True)
    (2, 33)
    """
    full, rest = divmod(n_rows, batch_size)
    if rest == 1 and full and join_last_row:
        return full - 1, batch_size + 1
    return full, rest


def epoch_blocks(sizes: Sequence[int], batch_size: int, join_last_row: bool = False) -> list[Block]:
    """How members with these numbers of rows, largest first, go through an epoch without padding.

    Full batches are taken by all members that have them; then each run of members of one size takes its last batch.

    >>> for block in epoch_blocks([100, 100, 70], 32):
    ...     print(block)
    Block(members=slice(0, 3, None), start=0, stop=64, size=32)
    Block(members=slice(0, 2, None), start=64, stop=96, size=32)
    Block(members=slice(0, 2, None), start=96, stop=100, size=4)
    Block(members=slice(2, 3, None), start=64, stop=70, size=6)
    """
    parts = [split_rows(n, batch_size, join_last_row) for n in sizes]
    blocks, done = [], 0
    for full in sorted({full for full, _ in parts}):
        if full > done:
            takes = [other >= full for other, _ in parts]  # not a prefix where a last row joined the batch before
            start, stop = done * batch_size, full * batch_size
            blocks += [Block(run, start, stop, batch_size) for run in equal_runs(takes) if takes[run.start]]
            done = full
    for members in equal_runs(sizes):
        rest = parts[members.start][1]
        if rest:
            n = sizes[members.start]
            blocks.append(Block(members, n - rest, n, rest))
    return blocks


def validation_blocks(sizes: Sequence[int]) -> Iterator[tuple[slice, int]]:
    """Neighbouring members, and the first row, of what is evaluated at once, given the members' numbers of rows.

    >>> list(validation_blocks([2000, 2000, 30]))
    [(slice(0, 2, None), 0), (slice(0, 2, None), 1024), (slice(2, 3, None), 0)]
    """
    for run in equal_runs(sizes):
        rows = sizes[run.start]
        at_once = max(1, VALIDATED_AT_ONCE // min(rows, VALIDATION_ROWS))
        for first in range(run.start, run.stop, at_once):
            members = slice(first, min(first + at_once, run.stop))
            yield from ((members, start) for start in range(0, rows, VALIDATION_ROWS))


def equal_runs(values: Sequence[Any]) -> list[slice]:
    """Slices of neighbours that are equal.

    >>> equal_runs([100, 100, 70])
    [slice(0, 2, None), slice(2, 3, None)]
    """
    runs, start = [], 0
    for _, run in groupby(values):
        stop = start + len(list(run))
        runs.append(slice(start, stop))
        start = stop
    return runs


def epoch_chunks(
    blocks: Sequence[Block], width: int, values: int = CHUNK_VALUES, batches: int | None = None
) -> list[list[Block]]:
    """Split and join blocks into chunks of whole batches.

    A chunk has at most so many `numeric` over all its members, of which a row has `width`, and at most so many
    `batches`; but at least one batch.

    >>> blocks = [Block(slice(0, 1), 0, 96, 32), Block(slice(0, 1), 96, 100, 4)]
    >>> first, second = epoch_chunks(blocks, width=10, values=640)
    >>> first
    [Block(members=slice(0, 1, None), start=0, stop=64, size=32)]
    >>> second[0].stop, second[1].stop
    (96, 100)
    """
    chunks: list[list[Block]] = []
    room, places = 0, 0
    for block in blocks:
        batch = (block.members.stop - block.members.start) * block.size * max(1, width)
        start = block.start
        while start < block.stop:
            goes_on = chunks and chunks[-1][0].members == block.members and room >= batch and places > 0
            if not goes_on:
                chunks.append([])
                room, places = max(values, batch), block.stop if batches is None else batches
            taken = min(room // batch, (block.stop - start) // block.size, places)
            chunks[-1].append(replace(block, start=start, stop=start + taken * block.size))
            start, room, places = start + taken * block.size, room - taken * batch, places - taken
    return chunks

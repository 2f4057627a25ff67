"""The rows of a training: a table on the device, and the order in which each member goes through it.

Members hold indices into one table and never copies of it.  Rows are gathered for several batches at a time, in chunks
of bounded size, and a batch is a slice of a chunk.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from sknn.network.flat import Inputs

# (outputs, targets, row weights or None), over members, to (M,)
Metric = Callable[[Tensor, Tensor, Tensor | None], Tensor]

CHUNK_NUMBERS = 1 << 20  # numbers gathered at once, over all members: 4 MB, which stays in the cache


@dataclass
class Table:
    """Encoded rows and targets on the device; `numbers` may be a scipy CSR matrix, whose rows are made dense when used.

    Shapes: numbers (N, ...), codes (N, c) or None, target (N, K), weight (N,) or None.
    """

    numbers: Any
    codes: Tensor | None
    target: Tensor
    weight: Tensor | None = None
    n_choices: int = 2  # of a label: the classes that exclude each other, or yes and no

    def __len__(self) -> int:
        return self.target.shape[0]

    def inputs(self, rows: Tensor) -> Inputs:
        """The inputs of rows (M, B)."""
        return Inputs(self._numbers(rows), None if self.codes is None else self.codes[rows])

    def _numbers(self, rows: Tensor) -> Tensor:
        if isinstance(self.numbers, Tensor):
            return self.numbers[rows]
        dense = self.numbers[rows.flatten().cpu().numpy()].toarray()
        return torch.from_numpy(dense).to(self.target.device).view(*rows.shape, -1)

    @property
    def width(self) -> int:
        return self.numbers.shape[1:].numel() if isinstance(self.numbers, Tensor) else self.numbers.shape[1]


class EncodedRows:
    """Some rows of a table, as skorch's callbacks hand them around.

    `held_out` tells that each row is to be predicted by the members that did not train on it.
    """

    def __init__(self, table: Table, index: Tensor, held_out: bool = False) -> None:
        self.table, self.index, self.held_out = table, index, held_out

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: Any) -> "EncodedRows":
        i = torch.as_tensor(i) if not isinstance(i, slice) else i
        return EncodedRows(self.table, self.index[i].reshape(-1), self.held_out)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self.table.width


class DropoutNoise:
    """Draws the factors that dropout multiplies by: 0 or 1 / (1 - rate).

    Random 64-bit words are read as four 16-bit numbers each and compared with a threshold, so a rate is kept to 1 in
    65,536.  A member's words come from its own stream, batch by batch, however many batches are drawn at once.

    Parameters
    ----------
    layers : list of (width, rates)
        Each dropout layer's width and rate per member.
    generators : list of torch.Generator, one per member
    """

    def __init__(self, layers: list[tuple[int, Sequence[float]]], generators: list[torch.Generator]) -> None:
        self.widths = [width for width, _ in layers]
        levels = torch.tensor([[min(round(rate * 65536), 65535) for rate in rates] for _, rates in layers])
        levels = levels.view(len(layers), len(generators))  # of no layers, too
        self.thresholds = (levels - 32768).to(torch.int32)  # (layers, M)
        self.scales = 65536 / (65536 - levels).double()
        self.generators = generators

    def draw(self, members: slice, batches: int, size: int, like: Tensor) -> list[Tensor]:
        """Noise (M, batches, size, width) for each layer."""
        if not self.widths:
            return []
        generators = self.generators[members]
        words = -(-size * sum(self.widths) // 4)
        raw = torch.empty((len(generators), batches, words), dtype=torch.int64, device=like.device)
        for row, generator in zip(raw, generators, strict=True):
            row.random_(-(2**63), None, generator=generator)
        shorts, noise, start = raw.view(torch.int16), [], 0
        for width, threshold, scale in zip(self.widths, self.thresholds, self.scales, strict=True):
            part = shorts[..., start : start + size * width].reshape(len(generators), batches, size, width)
            kept = part >= threshold[members].to(like.device)[:, None, None, None]
            noise.append(kept.to(like.dtype).mul_(scale[members].to(like)[:, None, None, None]))
            start += size * width
        return noise

    def select(self, members: list[int]) -> None:
        self.thresholds, self.scales = self.thresholds[:, members], self.scales[:, members]
        self.generators = [self.generators[m] for m in members]


@dataclass(frozen=True)
class Block:
    """Batches of one size, that neighbouring members take together from row `start` to row `stop` of their order."""

    members: slice
    start: int
    stop: int
    size: int

    def runs(self, sizes: Sequence[int]) -> list[slice]:
        """The block's members, split where their numbers of rows (and so of steps) differ."""
        first, last = self.members.start, self.members.stop
        return [slice(first + run.start, first + run.stop) for run in equal_runs(sizes[first:last])]


@dataclass(slots=True)
class Batch:
    """What some members train on in one step.

    Attributes
    ----------
    members : slice
    rows : Tensor of shape (M, B)
        Places in the table.
    inputs : Inputs
    target : Tensor of shape (M, B, K)
        With its labels smoothed.
    noise : sequence of Tensor of shape (M, B, width)
        For each dropout layer.
    scale : float or Tensor of shape (M, B, 1)
        What a row's gradient is multiplied by: its share of the batch's weight.
    weight_sum : float or Tensor of shape (M,)
    start : int
        Rows of the epoch that came before.
    """

    members: slice
    rows: Tensor
    inputs: Inputs
    target: Tensor
    noise: Sequence[Tensor]
    scale: float | Tensor
    weight_sum: float | Tensor
    start: int


class Chunk:
    """A few batches of one size, gathered at once."""

    def __init__(
        self, table: Table, rows: Tensor, block: Block, start: int, noise: DropoutNoise, smoothing: Tensor | None
    ) -> None:
        self.rows, self.block, self.start = rows, block, start
        self.inputs, self.target = table.inputs(rows), table.target[rows]
        self.n_batches = rows.shape[1] // block.size
        if smoothing is not None:
            self.target = smooth_labels(self.target, smoothing[block.members], table.n_choices)
        self.noise = noise.draw(block.members, self.n_batches, block.size, self.target)
        self.shares = self.sums = None
        if table.weight is not None:
            weight = table.weight[rows].view(rows.shape[0], self.n_batches, block.size)
            self.sums = weight.sum(2)
            self.shares = weight / self.sums.clamp_min(torch.finfo(weight.dtype).tiny).unsqueeze(2)

    def batches(self) -> Iterator[Batch]:
        size, n = self.block.size, self.n_batches
        scales = [1 / size] * n if self.shares is None else self.shares.unsqueeze(3).unbind(1)
        sums = [float(size)] * n if self.sums is None else self.sums.unbind(1)
        noises = zip(*(layer.unbind(1) for layer in self.noise), strict=True) if self.noise else [()] * n
        parts = (self.rows.split(size, 1), self.inputs.split(size), self.target.split(size, 1), noises, scales, sums)
        for i, (rows, inputs, target, noise, scale, weight_sum) in enumerate(zip(*parts, strict=True)):
            start = self.start + i * size
            yield Batch(self.block.members, rows, inputs, target, noise, scale, weight_sum, start)

    def total(self, losses: Tensor) -> Tensor:
        """Sum over batches of the weighted mean of the rows' losses (M, rows), times the batch's rows: (M,)."""
        if self.shares is None:
            return losses.sum(1)
        return (losses * self.shares.flatten(1)).sum(1) * self.block.size


def smooth_labels(target: Tensor, smoothing: Tensor, n_choices: int) -> Tensor:
    """Move `smoothing` (M,) of each label's probability to the uniform distribution over its choices."""
    share = smoothing[:, None, None]
    return target * (1 - share) + share / n_choices


class Outputs:
    """Outputs of members on their rows, collected chunk by chunk and measured at the end of an epoch."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.pieces: list[tuple[slice, Tensor, Tensor]] = []

    def add(self, members: slice, z: Tensor, rows: Tensor) -> None:
        self.pieces.append((members, z, rows))

    def measure(self, metric: Metric, n_members: int) -> Tensor:
        """The metric of each member, (M,): all at once where they have the same numbers of rows."""
        if all(members == self.pieces[0][0] for members, _, _ in self.pieces):
            return self._measure(metric, [(z, rows) for _, z, rows in self.pieces])
        return torch.cat([self._measure(metric, self._of(m)) for m in range(n_members)])

    def _of(self, m: int) -> list[tuple[Tensor, Tensor]]:
        chosen = [(m - s.start, z, rows) for s, z, rows in self.pieces if s.start <= m < s.stop]
        return [(z[k : k + 1], rows[k : k + 1]) for k, z, rows in chosen]

    def _measure(self, metric: Metric, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
        z, rows = torch.cat([z for z, _ in parts], 1), torch.cat([rows for _, rows in parts], 1)
        return metric(z, self.table.target[rows], None if self.table.weight is None else self.table.weight[rows])


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


def equal_runs(sizes: Sequence[int]) -> list[slice]:
    """Slices of neighbours of equal size.

    >>> equal_runs([100, 100, 70])
    [slice(0, 2, None), slice(2, 3, None)]
    """
    runs, start = [], 0
    for _, run in groupby(sizes):
        stop = start + len(list(run))
        runs.append(slice(start, stop))
        start = stop
    return runs


def chunk_bounds(block: Block, width: int) -> Iterator[tuple[int, int]]:
    """Split a block into runs of whole batches that hold at most `CHUNK_NUMBERS` numbers over all its members."""
    members = block.members.stop - block.members.start
    batches = max(1, CHUNK_NUMBERS // max(1, members * block.size * width))
    for start in range(block.start, block.stop, batches * block.size):
        yield start, min(start + batches * block.size, block.stop)

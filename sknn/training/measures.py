"""Collect what an epoch's batches give: losses, gradient norms, and outputs for the metrics."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from sknn.network.losses import Loss
from sknn.training.batches import Chunk
from sknn.training.table import Table


class BatchLosses:
    """The losses and the gradient norms of an epoch's batches, as tables of members by batches.

    Parameters
    ----------
    sizes : list of int
        Training rows of each member.
    batch_size : int
    like : Tensor
        Of the type and on the device of the losses.
    """

    def __init__(self, sizes: list[int], batch_size: int, like: Tensor) -> None:
        self.sizes, self.batch_size = sizes, batch_size
        self.losses = like.new_zeros(len(sizes), -(-max(sizes) // batch_size))
        self.norms: Tensor | None = None
        self.n_batches = [0] * len(sizes)
        self.n_steps = 0

    def add(self, chunk: Chunk, outputs: Tensor, steps: Sequence[dict[str, Any]], criterion: Loss) -> None:
        """Add the batches of a chunk, given their outputs (length, K) and what `train_step` returned."""
        totals = chunk.totals_of(criterion.rows(outputs[None], chunk.target[None])[0])
        if steps[0]["squares"] is not None:
            totals += chunk.penalties_of(torch.stack([step["squares"] for step in steps]))
        first = chunk.blocks[0].start // self.batch_size
        batches = slice(first, first + chunk.n_batches)
        self.losses[chunk.members, batches] = totals.T
        if steps[0]["gradient_norm"] is not None:
            self.norms = torch.zeros_like(self.losses) if self.norms is None else self.norms
            self.norms[chunk.members, batches] = torch.stack([step["gradient_norm"] for step in steps], 1)
        self.n_steps += chunk.n_batches
        for row in range(*chunk.members.indices(len(self.sizes))):
            self.n_batches[row] += chunk.n_batches

    def means(self) -> dict[str, Tensor]:
        """Return each member's mean loss of a row and, if they were added, mean gradient norm of a step."""
        # Summed one after another: the last bits of other sums depend on where the chunks begin.
        means = {"train_loss": self.losses.cumsum(1)[:, -1] / self.losses.new_tensor(self.sizes)}
        if self.norms is not None:
            means["gradient_norm"] = self.norms.cumsum(1)[:, -1] / self.losses.new_tensor(self.n_batches)
        return means


class Outputs:
    """Outputs of members on their rows, collected batch by batch and measured at the end of an epoch."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.pieces: list[tuple[slice, Tensor, Tensor]] = []

    def add(self, members: slice, z: Tensor, rows: Tensor) -> None:
        """Add outputs (M, n, K) of some members on rows (M, n) of the table."""
        self.pieces.append((members, z, rows))

    def joined(self) -> Iterator[tuple[slice, Tensor, Tensor, Tensor | None]]:
        """Return neighbouring members with equally many rows, with their outputs, targets and weights."""
        ends = sorted({end for members, _, _ in self.pieces for end in (members.start, members.stop)})
        for start, stop in pairwise(ends):
            shared = [piece for piece in self.pieces if piece[0].start <= start and stop <= piece[0].stop]
            parts = [
                (z[start - s.start : stop - s.start], rows[start - s.start : stop - s.start]) for s, z, rows in shared
            ]
            z, rows = (torch.cat(pieces, 1) for pieces in zip(*parts, strict=True))
            weight = None if self.table.weight is None else self.table.weight[rows]
            yield slice(start, stop), z, self.table.target[rows], weight

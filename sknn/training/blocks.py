"""Divide an epoch into batches, for members with different numbers of rows, and without padding.

For three members with 100, 100 and 70 rows, in batches of 32::

                 rows  0       32      64      96  100
    member 0      |  block A       | block B | C |
    member 1      |  block A       | block B | C |
    member 2      |  block A       |D|  (rows 64 to 70)

Block A has two batches, taken by all three members in one step each. Block B has one batch of 32, C one of 4, and D
one of 6.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

CHUNK_VALUES = 1 << 19  # gathered at once, over all members: 2 MB stay in a core's cache, and chunks are few
VALIDATION_ROWS = 1024  # of a member, evaluated at once; a constant, since the last bits of a product depend on it
VALIDATED_AT_ONCE = 8192  # rows of all members, evaluated at once


@dataclass(frozen=True)
class Block:
    """Batches of one size, which neighbouring members take together.

    Attributes
    ----------
    members : slice
    start, stop : int
        The first of the block's rows in each member's order, and the first after them.
    size : int
        Rows of a batch.
    """

    members: slice
    start: int
    stop: int
    size: int

    @property
    def n_batches(self) -> int:
        return (self.stop - self.start) // self.size

    def step_groups(self, sizes: Sequence[int]) -> list[slice]:
        """Return the members in groups with equally many rows, and so equally many steps."""
        first, last = self.members.start, self.members.stop
        return [slice(first + run.start, first + run.stop) for run in equal_runs(sizes[first:last])]


def epoch_blocks(sizes: Sequence[int], batch_size: int, join_last_row: bool = False) -> list[Block]:
    """Return the blocks of an epoch, for members with these numbers of rows, largest first.

    All members that have a full batch left take it together; then members with equally many rows take their last batch.

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
            takes = [other >= full for other, _ in parts]  # not the first ones only: a last row may join a batch
            start, stop = done * batch_size, full * batch_size
            blocks += [Block(run, start, stop, batch_size) for run in equal_runs(takes) if takes[run.start]]
            done = full
    for members in equal_runs(sizes):
        rest = parts[members.start][1]
        if rest:
            n = sizes[members.start]
            blocks.append(Block(members, n - rest, n, rest))
    return blocks


def split_rows(n_rows: int, batch_size: int, join_last_row: bool) -> tuple[int, int]:
    """Return the number of full batches, and the size of the last one (0 if there is none).

    With `join_last_row`, a last batch of a single row joins the batch before.

    >>> split_rows(100, 32, join_last_row=False)
    (3, 4)
    >>> split_rows(97, 32, join_last_row=True)
    (2, 33)
    """
    full, rest = divmod(n_rows, batch_size)
    if rest == 1 and full and join_last_row:
        return full - 1, batch_size + 1
    return full, rest


def epoch_chunks(
    blocks: Sequence[Block], width: int, values: int = CHUNK_VALUES, batches: int | None = None
) -> list[list[Block]]:
    """Split and join blocks into chunks of whole batches.

    A chunk holds at most `values` values (a row has `width`), and at most `batches` batches, but at least one batch.

    >>> blocks = [Block(slice(0, 1), 0, 96, 32), Block(slice(0, 1), 96, 100, 4)]
    >>> first, second = epoch_chunks(blocks, width=10, values=640)
    >>> first
    [Block(members=slice(0, 1, None), start=0, stop=64, size=32)]
    >>> second[0].stop, second[1].stop
    (96, 100)
    """
    chunks: list[list[Block]] = []
    free_values, free_batches = 0, 0  # in the last chunk
    for block in blocks:
        batch = (block.members.stop - block.members.start) * block.size * max(1, width)
        start = block.start
        while start < block.stop:
            fits = chunks and chunks[-1][0].members == block.members and free_values >= batch and free_batches > 0
            if not fits:
                chunks.append([])
                free_values, free_batches = max(values, batch), block.stop if batches is None else batches
            taken = min(free_values // batch, (block.stop - start) // block.size, free_batches)
            chunks[-1].append(replace(block, start=start, stop=start + taken * block.size))
            start += taken * block.size
            free_values, free_batches = free_values - taken * batch, free_batches - taken
    return chunks


def validation_blocks(sizes: Sequence[int]) -> Iterator[tuple[slice, int]]:
    """Return the members and the first row of each batch of validation rows, given the members' numbers of rows.

    >>> list(validation_blocks([2000, 2000, 30]))
    [(slice(0, 2, None), 0), (slice(0, 2, None), 1024), (slice(2, 3, None), 0)]
    """
    for run in equal_runs(sizes):
        n_rows = sizes[run.start]
        at_once = max(1, VALIDATED_AT_ONCE // min(n_rows, VALIDATION_ROWS))
        for first in range(run.start, run.stop, at_once):
            members = slice(first, min(first + at_once, run.stop))
            yield from ((members, start) for start in range(0, n_rows, VALIDATION_ROWS))


def equal_runs(values: Sequence[Any]) -> list[slice]:
    """Return the slices of neighbours that are equal.

    >>> equal_runs([100, 100, 70])
    [slice(0, 2, None), slice(2, 3, None)]
    """
    runs, start = [], 0
    for _, run in groupby(values):
        stop = start + len(list(run))
        runs.append(slice(start, stop))
        start = stop
    return runs

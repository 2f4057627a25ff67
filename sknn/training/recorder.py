"""Write the epochs of a training into a skorch history."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from skorch.history import History


class EpochRecorder:
    """Writes each epoch's values: their means into the history, and each member's beside it if there are several.

    Parameters
    ----------
    history : History
    member_history : dict of int to dict
        By epoch, from 1: lists with a value for each member, by name.

    Attributes
    ----------
    row : dict
        The record of the present epoch.
    """

    row: dict[str, Any]

    def __init__(self, history: History, member_history: dict[int, dict[str, list[float]]]) -> None:
        self.history, self.member_history = history, member_history
        self.smallest: dict[str, float] = {}  # of each loss so far

    def begin(self, row: dict[str, Any] | None = None) -> None:
        """Begin an epoch: with a new row, or with the one that skorch has appended."""
        if row is not None:
            list.append(self.history, row)
        self.row = list.__getitem__(self.history, -1)  # History's own indexing copies all of it

    def write(self, name: str, values: Sequence[float]) -> None:
        """Write a value of each member; a loss is also marked where its mean is the smallest so far."""
        mean = sum(values) / len(values)
        if name.endswith("_loss"):
            self.row[f"{name}_best"] = mean < self.smallest.get(name, np.inf)
            self.smallest[name] = min(mean, self.smallest.get(name, np.inf))
        self.row[name] = mean
        self._write_members(name, values)

    def count(self, **numbers: int) -> None:
        """Add to the epoch's counts."""
        for name, number in numbers.items():
            self.row[name] = self.row.get(name, 0) + number

    def write_learning_rates(self, rates: Sequence[float], shown: float) -> None:
        """Write each member's learning rate; the history itself gets one of them."""
        self.row["learning_rate"] = shown
        self._write_members("learning_rate", rates)

    def _write_members(self, name: str, values: Sequence[float]) -> None:
        if len(values) > 1:
            self.member_history.setdefault(len(self.history), {})[f"member_{name}"] = list(values)

    def finish(self, seconds: float) -> None:
        """End an epoch."""
        if not self.row["batches"]:
            self.history.new_batch()  # skorch's Checkpoint formats file names with the last batch
        self.row["dur"] = seconds  # the last entry: an interrupted epoch lacks it

    def drop_unfinished(self) -> None:
        """Remove the record of an epoch that was interrupted, which may be incomplete."""
        if self.history and "dur" not in list.__getitem__(self.history, -1):
            self.member_history.pop(len(self.history), None)
            self.history.pop()

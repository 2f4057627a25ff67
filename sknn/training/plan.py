"""The input of a training: each member's rows, and the settings."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from skorch.dataset import Dataset
from torch import Tensor

from sknn.network.base import Network
from sknn.network.metrics import Metric
from sknn.training.table import EncodedRows, Table


@dataclass
class TrainingSet:
    """The rows that each member trains on and is validated on.

    Attributes
    ----------
    table : Table
    train_rows, valid_rows : list of Tensor, one per member
        Indices into the table, in each part of the network members with the most training rows first; `valid_rows` is
        empty without validation.
    labels : callable
        Turns targets (n, K) into labels or values for scikit-learn's metrics.
    n_rows : int
        The rows of the table that are for training; they come first.
    part_tables : list of Table, optional
        For each part of the network, the table prepared for it.
    """

    table: Table
    train_rows: list[Tensor]
    valid_rows: list[Tensor]
    labels: Callable[[Tensor], np.ndarray]
    n_rows: int = 0
    part_tables: list[Table] = field(default_factory=list)

    def prepared_for(self, network: Network) -> "TrainingSet":
        """Return the same rows with a table for each part of a network."""
        return replace(self, part_tables=[self.table.prepared_for(part) for part in network.parts])

    def of_parts(self, network: Network) -> list["TrainingSet"]:
        """Return the rows of each part of a network."""
        return [
            TrainingSet(table, self.train_rows[members], self.valid_rows[members], self.labels, self.n_rows)
            for table, members in zip(self.part_tables, network.members_of_parts(), strict=True)
        ]

    def datasets(self) -> dict[str, Dataset | None]:
        """Return the datasets that skorch passes to callbacks in every epoch."""
        valid = self._dataset(self.valid_rows, held_out=True) if self.valid_rows else None
        return {"dataset_train": self._dataset(self.train_rows, held_out=False), "dataset_valid": valid}

    def _dataset(self, rows: list[Tensor], held_out: bool) -> Dataset:
        """Return a skorch dataset of all rows that any member has."""
        index = rows[0] if all(r is rows[0] for r in rows) else torch.cat(rows).unique()
        return Dataset(EncodedRows(self.table, index, held_out), self.labels(self.table.target[index]))


@dataclass
class Plan:
    """The settings of a training, named as the estimators' parameters; a list has an entry for each member."""

    seeds: list[tuple[int, int]]
    batch_size: int
    max_iter: int
    shuffle: bool = True
    schedule: str = "constant"
    power_t: float = 0.5
    tol: list[float] = field(default_factory=list)
    n_iter_no_change: list[float] = field(default_factory=list)
    dropout: list[tuple[float, ...]] = field(default_factory=list)  # the rates of the dropout layers
    label_smoothing: list[float] = field(default_factory=list)
    stopping_scores: list[Metric] = field(default_factory=list)  # larger is better; if empty, the loss
    restore_best: bool = False
    metrics: dict[str, list[Metric]] = field(default_factory=dict)
    gradient_norm: bool = False
    verbose: int = 0

    def of(self, members: slice) -> "Plan":
        """Return the settings of some members."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        changes: dict[str, Any] = {name: value[members] for name, value in values.items() if isinstance(value, list)}
        changes["metrics"] = {name: of_all[members] for name, of_all in self.metrics.items()}
        return replace(self, **changes)

"""What a training is given: its rows, and a plan with an entry for each member."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from skorch.dataset import Dataset
from torch import Tensor

from sknn.network.metrics import Metric
from sknn.training.table import EncodedRows, Table


@dataclass
class TrainingSet:
    """The rows that each member trains on and is validated on.

    Attributes
    ----------
    table : Table
    train_rows, valid_rows : list of Tensor, one per member
        Places in the table, members with the most training rows first; `valid_rows` is empty without validation.
    labels : callable
        Maps targets (n, K) to what a scikit-learn metric takes.
    """

    table: Table
    train_rows: list[Tensor]
    valid_rows: list[Tensor]
    labels: Callable[[Tensor], np.ndarray]

    def datasets(self) -> dict[str, Dataset | None]:
        """What skorch's callbacks get at every epoch."""
        valid = self._dataset(self.valid_rows, held_out=True) if self.valid_rows else None
        return {"dataset_train": self._dataset(self.train_rows, held_out=False), "dataset_valid": valid}

    def _dataset(self, rows: list[Tensor], held_out: bool) -> Dataset:
        """A skorch dataset of the rows of any member."""
        index = rows[0] if all(r is rows[0] for r in rows) else torch.cat(rows).unique()
        return Dataset(EncodedRows(self.table, index, held_out), self.labels(self.table.target[index]))


@dataclass
class Plan:
    """How a training goes; what is a list has an entry per member.  The estimators say what each means."""

    seeds: list[tuple[int, int]]
    batch_size: int
    max_iter: int
    shuffle: bool = True
    schedule: str = "constant"
    power_t: float = 0.5
    tol: list[float] = field(default_factory=list)
    n_iter_no_change: list[float] = field(default_factory=list)
    dropout: list[tuple[float, ...]] = field(default_factory=list)  # rates of the dropout layers
    label_smoothing: list[float] = field(default_factory=list)
    join_last_row: bool = False
    watch: list[Metric] = field(default_factory=list)  # of the validation rows, larger is better; without it, the loss
    restore_best: bool = False
    metrics: dict[str, list[Metric]] = field(default_factory=dict)
    gradient_norm: bool = False
    verbose: int = 0

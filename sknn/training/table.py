"""The encoded rows of a training, on the device."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from sknn.network.base import EnsembleNetwork, Inputs


@dataclass
class Table:
    """Encoded rows and targets.

    Attributes
    ----------
    numeric : Tensor of shape (N, ...), or CSR matrix
        A sparse matrix stays on the CPU; its rows are made dense when they are used.
    codes : Tensor of shape (N, c), optional
        The categories that the network embeds.
    target : Tensor of shape (N, K)
    weight : Tensor of shape (N,), optional
    n_choices : int, default=2
        Values that a label can take: the number of mutually exclusive classes, or 2 for a label of 0 or 1.
    fold : Tensor of shape (N,), optional
        The fold of each training row (1, 2, ...); the row takes target means of the other folds. 0 for other rows.
    """

    numeric: Any
    codes: Tensor | None
    target: Tensor
    weight: Tensor | None = None
    n_choices: int = 2
    fold: Tensor | None = None
    _prepared: dict[bytes, "Table"] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return self.target.shape[0]

    @property
    def n_bytes(self) -> int:
        """The memory that the table takes."""
        tables = (self, *self._prepared.values())
        parts = [part for table in tables for part in (table.numeric, table.codes, table.target, table.weight)]
        arrays = [part if isinstance(part, Tensor) else part.data for part in parts if part is not None]
        return sum({id(array): array.nbytes for array in arrays}.values())

    def prepared_for(self, network: EnsembleNetwork) -> "Table":
        """Return the table as the network's `prepare` returns its rows, the same one for equal bins."""
        key = network.preparation_key()
        if key is None:
            return self
        if key not in self._prepared:
            x = network.prepare(Inputs(self.numeric, self.codes, self.fold))
            self._prepared[key] = replace(self, numeric=x.numeric, codes=x.codes, _prepared={})
        return self._prepared[key]

    def inputs(self, rows: Tensor) -> Inputs:
        """Return the network's inputs for rows with these indices (of any shape)."""
        return Inputs(self._numeric_rows(rows), None if self.codes is None else self.codes[rows])

    def _numeric_rows(self, rows: Tensor) -> Tensor:
        if isinstance(self.numeric, Tensor):
            chosen = self.numeric.index_select(0, rows.flatten())  # three times as fast as indexing with a tensor
            return chosen.view(*rows.shape, *self.numeric.shape[1:])
        dense = self.numeric[rows.flatten().cpu().numpy()].toarray()
        return torch.from_numpy(dense).to(self.target.device).view(*rows.shape, -1)

    @property
    def width(self) -> int:
        """Values of a row in `numeric`."""
        return self.numeric.shape[1:].numel() if isinstance(self.numeric, Tensor) else self.numeric.shape[1]


class EncodedRows:
    """Some rows of a table: the X that skorch's callbacks see.

    Parameters
    ----------
    table : Table
    index : Tensor of shape (n,)
    held_out : bool, default=False
        Whether each row is predicted by those members only that did not train on it.
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

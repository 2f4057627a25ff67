"""The encoded rows of a training, on the device."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sknn.network.base import Inputs


@dataclass
class Table:
    """Encoded rows and targets on the device; `numeric` may be a scipy CSR matrix, whose rows are made dense when used.

    Shapes: numeric (N, ...), codes (N, c) or None, target (N, K), weight (N,) or None.
    """

    numeric: Any
    codes: Tensor | None
    target: Tensor
    weight: Tensor | None = None
    n_choices: int = 2  # of a label: the classes that exclude each other, or yes and no

    def __len__(self) -> int:
        return self.target.shape[0]

    @property
    def n_bytes(self) -> int:
        """Of memory."""
        numeric = self.numeric if isinstance(self.numeric, Tensor) else self.numeric.data
        return sum(part.nbytes for part in (numeric, self.codes, self.target, self.weight) if part is not None)

    def inputs(self, rows: Tensor) -> Inputs:
        """The inputs of rows, of any shape."""
        return Inputs(self._numeric_rows(rows), None if self.codes is None else self.codes[rows])

    def _numeric_rows(self, rows: Tensor) -> Tensor:
        if isinstance(self.numeric, Tensor):
            chosen = self.numeric.index_select(0, rows.flatten())  # a third of the time of indexing by a tensor
            return chosen.view(*rows.shape, *self.numeric.shape[1:])
        dense = self.numeric[rows.flatten().cpu().numpy()].toarray()
        return torch.from_numpy(dense).to(self.target.device).view(*rows.shape, -1)

    @property
    def width(self) -> int:
        return self.numeric.shape[1:].numel() if isinstance(self.numeric, Tensor) else self.numeric.shape[1]


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

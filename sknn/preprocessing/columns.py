"""Read a table of any type column by column: as numeric values, or as the levels of a category."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sknn.preprocessing.levels import distinct_levels, level_codes
from sknn.preprocessing.tables import infinity_error, is_frame
from sknn.preprocessing.values import as_float64, column_values, is_categorical_dtype, refuse_dates


class Columns:
    """A dense table of any type, read by column or, where it is numeric, by blocks of rows and columns."""

    def __init__(self, X: Any) -> None:
        self.names = list(X.columns) if is_frame(X) else None
        if self.names is None:
            self.X = X if isinstance(X, np.ndarray) else np.asarray(X)
            self.columns = [self.X[:, j] for j in range(X.shape[1])]
        else:
            self.X = None  # type: ignore[assignment]
            self.columns = [_frame_column(X, j) for j in range(X.shape[1])]
        self.width = X.shape[1]
        self._n_rows = X.shape[0]
        self._numeric: dict[int, np.ndarray | None] = {}
        for j, column in enumerate(self.columns):
            refuse_dates(column, self.name(j))

    def __len__(self) -> int:
        return self._n_rows

    def index(self, column: Any) -> int:
        """Return the index of a column that `categorical_features` lists by name or index."""
        if isinstance(column, str):
            if self.names is None:
                raise ValueError(f"categorical_features names {column!r}, but X has no column names; give indices.")
            if column not in self.names:
                raise ValueError(f"categorical_features names {column!r}, which is not a column of X: {self.names}.")
            return self.names.index(column)
        if not isinstance(column, int | np.integer) or not 0 <= column < self.width:
            raise ValueError(
                f"categorical_features holds {column!r}; indices go from 0 to {self.width - 1}, names are strings."
            )
        return int(column)

    def name(self, j: int) -> Any:
        """Return the name of a column, or its index if the table has no names."""
        return int(j) if self.names is None else self.names[j]

    def _numeric_or_none(self, j: int) -> np.ndarray | None:
        if j not in self._numeric:
            column = self.columns[j]
            self._numeric[j] = as_float64(column if self.names is None else column_values(column))
        return self._numeric[j]

    def is_category(self, j: int, chosen: set[int] | None) -> bool:
        """Return whether a column is a category: it is chosen or, if `chosen` is None, its dtype and values say so."""
        if chosen is not None and j in chosen:
            return True
        if chosen is None and self.names is not None and is_categorical_dtype(self.columns[j]):
            return True
        if self._numeric_or_none(j) is not None:
            return False
        if chosen is None:
            return True
        raise ValueError(
            f"Column {self.name(j)!r} holds values that are not numbers and is not among categorical_features; add it "
            "there, or use categorical_features='from_dtype'."
        )

    def levels(self, j: int) -> tuple[list[str | None], np.ndarray]:
        """See `distinct_levels`."""
        try:
            return distinct_levels(self.columns[j])
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"Column {self.name(j)!r} holds values that can't be categories: {error}.") from error

    def codes(self, j: int, levels: Sequence[str]) -> np.ndarray:
        """Return the code of each row's level: 1, 2, ... for `levels`; 0 if it is missing or unknown."""
        distinct, indices = self.levels(j)
        return level_codes(distinct, levels)[indices]

    def numeric(self, j: int) -> np.ndarray:
        """Return a column as float64 values, with NaN for missing."""
        column = self._numeric_or_none(j)
        if column is None:
            first = np.asarray(self.columns[j])[:3]
            raise ValueError(f"Column {self.name(j)!r} held numbers in fit, and holds something else now: {first}.")
        if np.isinf(column).any():
            raise infinity_error(self.name(j))
        return column

    def block(self, columns: np.ndarray, rows: slice) -> np.ndarray:
        """Return some columns and rows as float64 values."""
        if self.X is not None and self.X.dtype.kind in "fiub":
            block = self.X[rows] if len(columns) == self.width else self.X[rows][:, columns]
            return block.astype(np.float64)
        out = np.empty((len(range(*rows.indices(self._n_rows))), len(columns)))
        for k, j in enumerate(columns):
            out[:, k] = self.numeric(j)[rows]
        return out


def _frame_column(X: Any, j: int) -> Any:
    return X.iloc[:, j] if hasattr(X, "iloc") else X[:, j]

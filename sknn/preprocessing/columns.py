"""Read a table of any kind column by column: as numbers, or as the levels of a category."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sknn.preprocessing.levels import MISSING_TYPES, NUMBER_TYPES, distinct_levels, is_missing, level_codes
from sknn.preprocessing.tables import infinity_in, is_frame

DATE_TYPES = ("datetime", "date", "time", "duration", "period")


class Columns:
    """A dense table of any kind, column by column or as blocks of numbers."""

    def __init__(self, X: Any) -> None:
        self.names = list(X.columns) if is_frame(X) else None
        if self.names is None:
            self.X = X if isinstance(X, np.ndarray) else np.asarray(X)
            self.columns = [self.X[:, j] for j in range(X.shape[1])]
        else:
            self.X = None  # type: ignore[assignment]
            self.columns = [_frame_column(X, j) for j in range(X.shape[1])]
        self.width = X.shape[1]
        self._n = X.shape[0]
        self._numbers: dict[int, np.ndarray | None] = {}
        for j, column in enumerate(self.columns):
            if str(column.dtype).lower().startswith(DATE_TYPES):
                raise ValueError(
                    f"Column {self.name(j)!r} has the dtype {column.dtype}, which is neither a number nor a category; "
                    "derive numbers from it first (year, month, days since), or drop it."
                )

    def __len__(self) -> int:
        return self._n

    def place(self, column: Any) -> int:
        """The index of a column named, or numbered, in `categorical_features`."""
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
        return int(j) if self.names is None else self.names[j]

    def _numbers_or_none(self, j: int) -> np.ndarray | None:
        if j not in self._numbers:
            column = self.columns[j]
            self._numbers[j] = as_numbers(column if self.names is None else column_values(column))
        return self._numbers[j]

    def is_category(self, j: int, chosen: set[int] | None) -> bool:
        if chosen is not None and j in chosen:
            return True
        if chosen is None and self.names is not None and is_categorical_dtype(self.columns[j]):
            return True
        if self._numbers_or_none(j) is not None:
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
        """Of each row, the code of its level among the known ones; 0 for what is missing or unknown."""
        distinct, places = self.levels(j)
        return level_codes(distinct, levels)[places]

    def numbers(self, j: int) -> np.ndarray:
        column = self._numbers_or_none(j)
        if column is None:
            first = np.asarray(self.columns[j])[:3]
            raise ValueError(f"Column {self.name(j)!r} held numbers in fit, and holds something else now: {first}.")
        if np.isinf(column).any():
            raise infinity_in(self.name(j))
        return column

    def block(self, columns: np.ndarray, rows: slice) -> np.ndarray:
        """float64 numbers of some columns and rows."""
        if self.X is not None and self.X.dtype.kind in "fiub":
            block = self.X[rows] if len(columns) == self.width else self.X[rows][:, columns]
            return block.astype(np.float64)
        out = np.empty((len(range(*rows.indices(self._n))), len(columns)))
        for k, j in enumerate(columns):
            out[:, k] = self.numbers(j)[rows]
        return out


def _frame_column(X: Any, j: int) -> Any:
    return X.iloc[:, j] if hasattr(X, "iloc") else X[:, j]


def column_values(column: Any) -> np.ndarray:
    """A frame's column as float64 numbers with NaN for missing, or as objects."""
    if hasattr(column, "to_numpy") and hasattr(column, "isna"):  # pandas
        if getattr(column.dtype, "kind", "O") in "fiub":
            return column.to_numpy(dtype=np.float64, na_value=np.nan)
        return np.array(column, dtype=object)
    values = column.to_numpy()  # polars: nulls are NaN among numbers and None among objects
    return values.astype(np.float64) if values.dtype.kind in "fiub" else values.astype(object)


def is_categorical_dtype(column: Any) -> bool:
    name = str(column.dtype).lower()
    return name.startswith(("category", "categorical", "enum", "str", "string", "utf8"))


def as_numbers(values: np.ndarray) -> np.ndarray | None:
    """float64 with NaN for missing if every value is a number, a bool or missing; else None."""
    if values.dtype != object:
        return values.astype(np.float64, copy=False) if values.dtype.kind in "fiub" else None
    kinds = set(map(type, values.tolist()))
    if not all(issubclass(kind, NUMBER_TYPES) or kind.__name__ in MISSING_TYPES for kind in kinds):
        return None
    if any(kind.__name__ in MISSING_TYPES for kind in kinds):
        values = np.array([np.nan if is_missing(v) else v for v in values.tolist()], dtype=object)
    try:
        return values.astype(np.float64)
    except OverflowError:  # an int without end, which is refused as an infinity is
        return np.array([_as_float(value) for value in values.tolist()])


def _as_float(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:
        return np.inf if number > 0 else -np.inf

"""Read the values of one column of any type: as numbers, or as objects. Needs numpy only."""

from typing import Any

import numpy as np

from sknn.preprocessing.levels import MISSING_TYPES, NUMBER_TYPES, is_missing

DATE_TYPES = ("datetime", "date", "time", "duration", "period")


def refuse_dates(column: Any, name: Any) -> None:
    if str(column.dtype).lower().startswith(DATE_TYPES):
        raise ValueError(
            f"Column {name!r} has the dtype {column.dtype}, which is neither a number nor a category; derive numbers "
            "from it first (year, month, days since), or drop it."
        )


def column_values(column: Any) -> np.ndarray:
    """Return a frame's column as float64 values with NaN for missing, or as objects."""
    if hasattr(column, "to_numpy") and hasattr(column, "isna"):  # pandas
        if getattr(column.dtype, "kind", "O") in "fiub":
            return column.to_numpy(dtype=np.float64, na_value=np.nan)
        return np.array(column, dtype=object)
    values = column.to_numpy()  # polars gives NaN for null in numeric columns, and None in others
    return values.astype(np.float64) if values.dtype.kind in "fiub" else values.astype(object)


def is_categorical_dtype(column: Any) -> bool:
    name = str(column.dtype).lower()
    return name.startswith(("category", "categorical", "enum", "str", "string", "utf8"))


def as_float64(values: np.ndarray) -> np.ndarray | None:
    """Return values as float64 with NaN for missing; None if one is neither a number, a bool nor missing."""
    if values.dtype != object:
        return values.astype(np.float64, copy=False) if values.dtype.kind in "fiub" else None
    types = set(map(type, values.tolist()))
    if not all(issubclass(cls, NUMBER_TYPES) or cls.__name__ in MISSING_TYPES for cls in types):
        return None
    if any(cls.__name__ in MISSING_TYPES for cls in types):
        values = np.array([np.nan if is_missing(v) else v for v in values.tolist()], dtype=object)
    try:
        return values.astype(np.float64)
    except OverflowError:  # an int that float64 cannot hold: infinity, which is refused later
        return np.array([_float_or_infinity(value) for value in values.tolist()])


def _float_or_infinity(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:
        return np.inf if number > 0 else -np.inf

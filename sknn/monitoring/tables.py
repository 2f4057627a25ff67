"""Read tables of any kind by column: frames of pandas and polars, tables of pyarrow, dicts of columns, arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sknn.preprocessing.levels import NUMBER_TYPES, distinct_levels, is_missing
from sknn.preprocessing.values import as_float64, column_values, is_categorical_dtype, refuse_dates
from sknn.utils.text import did_you_mean


def read_columns(X: Any, names: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the columns of a table by name: arrays, or series of pandas or polars.

    Columns without names are x0, x1, ... Rows of more dimensions, such as images, have no columns.

    Parameters
    ----------
    X : table
    names : sequence of str, optional
        Of the columns to return; others are not looked at. By default all.

    Examples
    --------
    >>> read_columns(np.array([[1, 2], [3, 4]]))
    {'x0': array([1, 3]), 'x1': array([2, 4])}
    """
    columns = _named_columns(X)
    if names is not None:
        columns = _select(columns, names)
    columns = {name: _as_column(column) for name, column in columns.items()}
    for name, column in columns.items():
        if len(column.shape) != 1:
            raise ValueError(f"Column {name!r} has the shape {column.shape}; give one value for each row.")
        refuse_dates(column, name)
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"The columns of the table have different lengths: {lengths}.")
    return columns


def _select(columns: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    missing = [name for name in names if name not in columns]
    if missing:
        hint = did_you_mean(missing[0], [name for name in columns if name not in names])
        raise ValueError(f"The table lacks columns of the reference: {', '.join(map(repr, missing))}.{hint}")
    return {name: columns[name] for name in names}


def is_category(column: Any) -> bool:
    """Return whether a column holds categories, by its dtype, or by its values if the dtype is open."""
    return is_categorical_dtype(column) or as_float64(_values(column)) is None


def numbers(column: Any, name: str) -> np.ndarray:
    """Return a column as float64 values, with NaN for missing."""
    values = _values(column)
    result = as_float64(values)
    if result is None:
        wrong = next(v for v in values.tolist() if not isinstance(v, NUMBER_TYPES) and not is_missing(v))
        raise ValueError(f"Column {name!r} holds numbers in the reference, and something else now: {wrong!r}.")
    return result


def levels(column: Any, name: str) -> tuple[list[str | None], np.ndarray]:
    """Return the levels of a column, where None and "" stand for missing, and the index of each row's level."""
    try:
        return distinct_levels(column)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"Column {name!r} holds values that can't be categories: {error}.") from error


def _named_columns(X: Any) -> dict[str, Any]:
    if isinstance(X, Mapping):
        return {str(name): column for name, column in X.items()}
    if hasattr(X, "column_names"):  # pyarrow
        return {name: X.column(name).to_numpy() for name in X.column_names}
    if hasattr(X, "columns"):
        names = [str(name) for name in X.columns]
        duplicates = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if duplicates:
            raise ValueError(f"The table has several columns called {duplicates[0]!r}; rename or drop all but one.")
        return dict(zip(names, (X[name] for name in X.columns), strict=True))
    X = X if isinstance(X, np.ndarray) else _as_array(X)
    if X.ndim > 2:  # images and other rows without columns
        return {}
    if X.ndim < 2:
        raise ValueError(f"Give a table, with rows and columns; this is a {type(X).__name__} of shape {X.shape}.")
    return {f"x{j}": X[:, j] for j in range(X.shape[1])}


def _as_column(column: Any) -> Any:
    """Return a column with a shape and a dtype. The tensors of a graph have the shape (n, 1)."""
    column = column if hasattr(column, "dtype") else _as_array(column)
    return column[:, 0] if isinstance(column, np.ndarray) and column.shape[1:] == (1,) else column


def _as_array(values: Any) -> np.ndarray:
    array = np.asarray(values)
    return np.array(values, dtype=object) if array.dtype.kind in "US" else array  # keep numbers beside strings


def _values(column: Any) -> np.ndarray:
    return column if isinstance(column, np.ndarray) else column_values(column)

"""Describe a table as the reference of a monitor: what its columns, and a model's predictions for it, hold.

`to_onnx` writes the description into the metadata of the graph, as the entry "data"; docs/export.md describes its keys.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from sknn.monitoring.cells import NumberCells
from sknn.monitoring.tables import is_category, levels, numbers, read_columns

N_BINS = 10  # of equally many rows; values that fill such a bin alone get bins of their own, so there are 19 at most
ROWS_PER_BIN = 20  # fewer rows give fewer bins
MAX_LEVELS = 100  # of a category: the most frequent ones are listed


def describe_table(X: Any, predictions: Any = None, spread: Any = None) -> dict[str, Any]:
    """Return a description of a table, as plain data for JSON.

    Parameters
    ----------
    X : pandas or polars frame, pyarrow table, dict of columns, or array of shape (n_rows, n_columns)
    predictions : array-like of shape (n_rows,) or (n_rows, n_outputs), optional
        A model's labels or values for the rows.
    spread : array-like of shape (n_rows,), optional
        How far the members of an ensemble disagree about each row.

    Returns
    -------
    dict
        `n_rows` and `columns`; `predictions` and `spread` if they are given.

    Raises
    ------
    ValueError
        If the table has no rows, or holds values that are neither numbers nor categories.
    """
    columns = read_columns(X)
    n_rows = count_rows(X, columns)
    if n_rows == 0:
        raise ValueError("The reference has no rows.")
    description: dict[str, Any] = {
        "n_rows": n_rows,
        "columns": [_describe(name, column, is_category(column)) for name, column in columns.items()],
    }
    if predictions is not None:
        outputs = output_columns(predictions, "prediction", taken=columns)
        description["predictions"] = [_describe(name, y, y.dtype.kind != "f") for name, y in outputs.items()]
    if spread is not None:
        outputs = output_columns(spread, "spread", taken=columns)
        description["spread"] = [_describe(name, values, is_label=False) for name, values in outputs.items()]
    return description


def member_spread(members: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return how far the members of an ensemble disagree about each row.

    Parameters
    ----------
    members : ndarray of shape (n_rows, n_members) or (n_rows, n_members, n_outputs)
        The values or probabilities that each member predicts.
    weights : array-like of shape (n_members,), optional
        The members' shares in the prediction, such as `OnnxPredictor.member_weights_`. By default all members count
        equally.

    Returns
    -------
    ndarray of shape (n_rows,)
        The weighted standard deviation over the members; the largest one if there are several outputs or classes.

    Examples
    --------
    >>> member_spread(np.array([[1.0, 3.0], [2.0, 2.0]])).tolist()
    [1.0, 0.0]
    """
    shares = None
    if weights is not None:
        shares = np.asarray(weights, members.dtype).reshape(-1, *[1] * (members.ndim - 2))
        shares = shares / shares.sum()
    differences = members - _members_mean(members, shares)[:, None]
    variances = _members_mean(differences * differences, shares)
    return np.sqrt(variances.reshape(len(members), -1).max(axis=1))


def _members_mean(values: np.ndarray, shares: np.ndarray | None) -> np.ndarray:
    """Return what np.mean or np.average does, in a third of the time for one row, which a service asks for most."""
    if shares is None:
        return np.add.reduce(values, axis=1) / values.shape[1]
    return np.add.reduce(values * shares, axis=1)


def count_rows(X: Any, columns: Mapping[str, Any]) -> int:
    """Return the number of rows of a table; it has no columns if its rows are images."""
    return len(next(iter(columns.values()))) if columns else len(X)


def output_columns(values: Any, name: str, taken: Collection[str]) -> dict[str, np.ndarray]:
    """Return the outputs of a model as columns: one, or name_0, name_1, ... for several outputs.

    A name that a column of the table has already gets an underscore.

    >>> output_columns([1.5, 2.0], "prediction", taken=["prediction"])
    {'prediction_': array([1.5, 2. ])}
    >>> list(output_columns(np.zeros((3, 2)), "prediction", taken=[]))
    ['prediction_0', 'prediction_1']
    """
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    outputs = {name: array} if array.ndim == 1 else {f"{name}_{k}": array[:, k] for k in range(array.shape[1])}
    return {_free_name(key, taken): column for key, column in outputs.items()}


def _free_name(name: str, taken: Collection[str]) -> str:
    return _free_name(f"{name}_", taken) if name in taken else name


def _describe(name: str, column: Any, is_label: bool) -> dict[str, Any]:
    kind = "category" if is_label else "number"
    details = _describe_category(*levels(column, name)) if is_label else _describe_numbers(numbers(column, name), name)
    return {"name": name, "kind": kind} | details


def _describe_category(distinct: list[str | None], indices: np.ndarray) -> dict[str, Any]:
    """Return the shares of the most frequent levels."""
    counts: Counter[str] = Counter()
    for level, n in zip(distinct, np.bincount(indices % len(distinct), minlength=len(distinct)).tolist(), strict=True):
        counts[level or ""] += n
    missing, counts = counts.pop("", 0), +counts  # without levels that occur in no row
    n_rows = len(indices)
    listed = counts.most_common(MAX_LEVELS)
    return {
        "missing": missing / n_rows,
        "n_levels": len(counts),
        "levels": {level: count / n_rows for level, count in listed},
        "other": (n_rows - missing - sum(count for _, count in listed)) / n_rows,
    }


def _describe_numbers(values: np.ndarray, name: str) -> dict[str, Any]:
    """Return moments, deciles and bins. Infinities are in the outer bins, and left out elsewhere."""
    present = values[np.isfinite(values)]
    edges = bin_edges(present)
    cells = NumberCells(edges)
    *bins, missing = (cells.count(values, name) / len(values)).tolist()
    summary = {"count": len(present), "missing": missing, "edges": edges, "shares": bins}
    if not len(present):
        return summary | dict.fromkeys(("mean", "std", "deciles", "centres"))
    exponent = np.frexp(np.abs(present).max())[1]  # scaled by a power of two, squares and differences do not overflow
    scaled = np.ldexp(present, -exponent)
    centres = _centres(scaled, cells.indices(present), np.ldexp(edges, -exponent))
    statistics = scaled.mean(), scaled.std(), np.quantile(scaled, np.linspace(0, 1, 11)), centres
    mean, std, deciles, centres = (np.ldexp(value, exponent).tolist() for value in statistics)
    return summary | {"mean": mean, "std": std, "deciles": deciles, "centres": centres}


def _centres(values: np.ndarray, bins: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the mean of the values in each bin; the middle of a bin without values."""
    ends = np.array([values.min(), *edges, values.max()])
    counts, sums = np.bincount(bins, minlength=len(ends) - 1), np.bincount(bins, values, minlength=len(ends) - 1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), (ends[:-1] + ends[1:]) / 2)


def bin_edges(values: np.ndarray) -> list[float]:
    """Return the edges of bins that hold about equally many of the values.

    The first and last bin are open. A value that fills more than such a bin is given twice: it is a bin of its own. So
    a column of few values, such as counts, is counted value by value.

    >>> bin_edges(np.arange(80.0))
    [20.0, 40.0, 60.0]
    >>> bin_edges(np.array([0.0] * 70 + [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]))
    [0.0, 0.0]
    """
    if not len(values):
        return []
    distinct, counts = np.unique(values + 0.0, return_counts=True)  # 0.0 instead of -0.0
    n_bins = min(N_BINS, max(2, len(values) // ROWS_PER_BIN))
    at = np.searchsorted(counts.cumsum(), len(values) * np.arange(1, n_bins) / n_bins, side="right")
    # Each value that fills more than a bin is among the quantiles, because it covers one of them.
    spikes = distinct[counts > len(values) / n_bins]
    return np.sort(np.concatenate([np.unique(distinct[at]), spikes])).tolist()

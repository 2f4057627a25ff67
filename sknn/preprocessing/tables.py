"""Check tables, and whether two tables have the same columns."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_array
from sklearn.utils.validation import _get_feature_names

NAMES_SHOWN = 3


def is_frame(X: Any) -> bool:
    """Return whether X has named columns with a dtype each: pandas, polars, and similar frames."""
    return hasattr(X, "columns") and hasattr(X, "shape") and hasattr(X, "__getitem__") and not sp.issparse(X)


def check_table(X: Any) -> Any:
    """Refuse other shapes, duplicate column names and infinities. Frames, objects and missing values are kept."""
    if is_frame(X):
        check_names(list(X.columns))
        return X
    # A two-dimensional array of floats needs no check.
    if not (type(X) is np.ndarray and X.ndim == 2 and X.dtype in (np.float32, np.float64)):
        if isinstance(X, list | tuple) and np.asarray(X).dtype.kind in "US":
            X = np.array(X, dtype=object)  # keep numbers beside strings as numbers
        X = check_array(X, accept_sparse="csr", dtype=None, ensure_all_finite=False, input_name="X")
    if X.dtype.kind == "f":
        j = first_bad_column(X, np.isinf)
        if j is not None:
            raise infinity_error(j)
    return X


def check_names(names: list[Any]) -> None:
    if len(set(names)) < len(names):
        duplicates = list(dict.fromkeys(name for name in names if names.count(name) > 1))
        raise ValueError(
            f"X has several columns named {duplicates}; give each a name of its own, or pass the columns without names "
            "(X.to_numpy())."
        )


def check_validation_columns(X_val: Any, n_columns: int, names: Any) -> None:
    """Refuse validation rows whose columns differ from those of X: in a pipeline they may not be transformed yet.

    Parameters
    ----------
    X_val : frame, array-like or sparse matrix of shape (n_samples, n_features)
    n_columns : int
        The number of columns of X.
    names : array-like of str or None
        The names of the columns of X, if they have any.
    """
    shape = X_val.shape if hasattr(X_val, "shape") else np.shape(X_val)
    if len(shape) < 2:
        return  # not a table; other checks refuse it
    val_names, names = (None if each is None else list(each) for each in (_get_feature_names(X_val), names))
    if val_names != names or shape[1] != n_columns:
        raise ValueError(
            f"X_val has {_describe_columns(val_names, shape[1])}, and X has {_describe_columns(names, n_columns)}; "
            "both need the same columns. In a Pipeline, only X goes through the steps before the network, unless it is "
            "made with transform_input=['X_val'] and asks for X_val by metadata routing: the user guide has an example."
        )


def _describe_columns(names: list[str] | None, n: int) -> str:
    """
    >>> _describe_columns(["a", "b"], 2), _describe_columns(None, 5)
    ("the columns ['a', 'b']", '5 columns without names')
    >>> _describe_columns(list("abcde"), 5)
    "the columns ['a', 'b', 'c'] and 2 others"
    """
    if names is None:
        return f"{n} columns without names"
    more = f" and {n - NAMES_SHOWN} others" if n > NAMES_SHOWN + 1 else ""
    return f"the columns {names[:NAMES_SHOWN] if more else names}{more}"


def first_bad_column(X: Any, is_bad: Callable[[np.ndarray], np.ndarray]) -> int | None:
    """Return the first column of an array or CSR matrix that holds a bad value, or None."""
    bad = is_bad(X.data if sp.issparse(X) else X)
    if not bad.any():
        return None
    return int(X.indices[bad].min() if sp.issparse(X) else bad.any(0).argmax())


def is_not_finite(values: np.ndarray) -> np.ndarray:
    return ~np.isfinite(values)


def infinity_error(column: Any) -> ValueError:
    return ValueError(
        f"Input X contains infinity or a value too large for dtype('float64'), in column {column!r}. Replace it by NaN "
        "(missing values are handled), or clip the column."
    )


def take(X: Any, rows: Any) -> Any:
    """Return rows of a table, by an array of indices or a slice."""
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]

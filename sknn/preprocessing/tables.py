"""What is a table, and whether another one has the same columns."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_array
from sklearn.utils.validation import _get_feature_names

NAMES_SHOWN = 3


def is_frame(X: Any) -> bool:
    """Whether X has named columns of their own types: pandas, polars, and whatever else looks like them."""
    return hasattr(X, "columns") and hasattr(X, "shape") and hasattr(X, "__getitem__") and not sp.issparse(X)


def check_table(X: Any) -> Any:
    """Refuse what is no table, columns of one name, and infinities; leave frames, objects and missing values alone."""
    if is_frame(X):
        check_names(list(X.columns))
        return X
    if not (type(X) is np.ndarray and X.ndim == 2 and X.dtype in (np.float32, np.float64)):  # which needs no check
        if isinstance(X, list | tuple) and np.asarray(X).dtype.kind in "US":
            X = np.array(X, dtype=object)  # numbers beside strings are to stay numbers
        X = check_array(X, accept_sparse="csr", dtype=None, ensure_all_finite=False, input_name="X")
    if X.dtype.kind == "f":
        j = first_column(X, np.isinf)
        if j is not None:
            raise infinity_in(j)
    return X


def check_names(names: list[Any]) -> None:
    if len(set(names)) < len(names):
        several = list(dict.fromkeys(name for name in names if names.count(name) > 1))
        raise ValueError(
            f"X has several columns named {several}; give each a name of its own, or pass the columns without names "
            "(X.to_numpy())."
        )


def check_validation_columns(X_val: Any, n_columns: int, names: Any) -> None:
    """Refuse validation rows whose columns are not those of X: in a pipeline they may be from before a step.

    Parameters
    ----------
    X_val : frame, array-like or sparse matrix of shape (n_samples, n_features)
    n_columns : int
        Of X.
    names : array-like of str or None
        Of X's columns, if they have names.
    """
    shape = X_val.shape if hasattr(X_val, "shape") else np.shape(X_val)
    if len(shape) < 2:
        return  # no table, which others refuse
    theirs, ours = (None if each is None else list(each) for each in (_get_feature_names(X_val), names))
    if theirs != ours or shape[1] != n_columns:
        raise ValueError(
            f"X_val has {_columns_in_words(theirs, shape[1])}, and X has {_columns_in_words(ours, n_columns)}; "
            "both need the same columns. In a Pipeline, only X goes through the steps before the network, unless it is "
            "made with transform_input=['X_val'] and asks for X_val by metadata routing: the user guide has an example."
        )


def _columns_in_words(names: list[str] | None, n: int) -> str:
    """
    >>> _columns_in_words(["a", "b"], 2), _columns_in_words(None, 5)
    ("the columns ['a', 'b']", '5 columns without names')
    >>> _columns_in_words(list("abcde"), 5)
    "the columns ['a', 'b', 'c'] and 2 others"
    """
    if names is None:
        return f"{n} columns without names"
    more = f" and {n - NAMES_SHOWN} others" if n > NAMES_SHOWN + 1 else ""
    return f"the columns {names[:NAMES_SHOWN] if more else names}{more}"


def first_column(X: Any, is_bad: Callable[[np.ndarray], np.ndarray]) -> int | None:
    """The first column of an array or a CSR matrix that holds a bad number, or None."""
    bad = is_bad(X.data if sp.issparse(X) else X)
    if not bad.any():
        return None
    return int(X.indices[bad].min() if sp.issparse(X) else bad.any(0).argmax())


def is_not_finite(numbers: np.ndarray) -> np.ndarray:
    return ~np.isfinite(numbers)


def infinity_in(column: Any) -> ValueError:
    return ValueError(
        f"Input X contains infinity or a value too large for dtype('float64'), in column {column!r}. Replace it by NaN "
        "(missing values are handled), or clip the column."
    )


def take(X: Any, rows: Any) -> Any:
    """Rows of a table, by their places or as a slice."""
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]

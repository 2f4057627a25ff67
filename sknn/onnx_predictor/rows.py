"""Convert the rows of a table to the tensors of a model's inputs."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sknn.preprocessing.levels import as_level, is_missing

EXPORT_AGAIN = "export it again with sknn.export.to_onnx."
NUMPY_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


@dataclass(frozen=True)
class ModelInput:
    """An input of the graph: a tensor with one entry per row."""

    name: str
    dtype: Any
    shape: tuple[int | None, ...]  # of a row

    @property
    def width(self) -> int | None:
        """The number of columns; None if the graph does not declare it."""
        return self.shape[0]


def describe_input(node: Any) -> ModelInput:
    """Describe an input of an ONNX Runtime session."""
    if node.type not in NUMPY_TYPES:
        known = sorted(NUMPY_TYPES)
        raise ValueError(f"The model's input {node.name!r} is a {node.type}; OnnxPredictor knows {known}.")
    shape = tuple(size if isinstance(size, int) and size >= 0 else None for size in node.shape[1:])
    return ModelInput(node.name, NUMPY_TYPES[node.type], shape or (None,))


class RowReader:
    """Converts tables to tensors.

    Parameters
    ----------
    inputs : list of ModelInput
    names : list of str or None
        Names of the columns, in the order of the inputs; None if the model was fitted without names.
    """

    def __init__(self, inputs: list[ModelInput], names: list[str] | None) -> None:
        self.inputs, self.names = inputs, names
        widths = [target.width for target in inputs if target.width is not None]
        self.n_features = sum(widths) if len(widths) == len(inputs) else None
        remaining = iter(names or ())
        self._input_names = [list(itertools.islice(remaining, target.width)) for target in inputs]

    def read(self, X: Any) -> dict[str, np.ndarray]:
        """Return the tensors of a table's rows, by name of the input."""
        if isinstance(X, list) and X and all(isinstance(row, Mapping) for row in X):
            return self._read_columns(self._columns_of_records(X))
        if isinstance(X, Mapping) or hasattr(X, "columns"):
            return self._read_columns(X)
        return self._read_array(X)

    def _read_array(self, X: Any) -> dict[str, np.ndarray]:
        if type(X) is not np.ndarray:
            X = _as_array(X)
        self._check_shape(X)
        if len(self.inputs) == 1:
            target = self.inputs[0]
            return {target.name: _as_tensor(X, target.dtype, target.name)}
        feed, start = {}, 0
        for target in self.inputs:
            stop = start + (target.width or 0)
            feed[target.name] = _as_tensor(X[:, start:stop], target.dtype, target.name)
            start = stop
        return feed

    def _check_shape(self, X: np.ndarray) -> None:
        row_shape = self.inputs[0].shape
        if X.ndim != 1 + len(row_shape):
            raise ValueError(
                f"Expected a {1 + len(row_shape)}D array, got one of {X.ndim} dimensions with shape {X.shape}. For a "
                "single row, give a table of one row: X.reshape(1, -1) of an array, frame.iloc[[0]] of a frame."
            )
        if not len(X):
            raise ValueError(f"Found array with 0 sample(s) (shape={X.shape}) while a minimum of 1 is required.")
        expected = (self.n_features,) if len(row_shape) == 1 else row_shape
        if all(size is None or size == actual for size, actual in zip(expected, X.shape[1:], strict=True)):
            return
        if len(row_shape) > 1:
            raise ValueError(f"X has rows of shape {X.shape[1:]}, but the model takes rows of shape {expected}.")
        raise ValueError(
            f"X has {X.shape[1]} features, but OnnxPredictor is expecting {expected[0]} features as input."
        )

    def _read_columns(self, X: Any) -> dict[str, np.ndarray]:
        keys = {str(key): key for key in (X if isinstance(X, Mapping) else X.columns)}
        names = self._require_names()
        missing = [name for name in names if name not in keys]
        if missing:
            raise ValueError(f"X lacks columns that the model was fitted with: {missing}. It has {list(keys)}.")
        feed = {}
        for target, input_names in zip(self.inputs, self._input_names, strict=True):
            columns = [_read_column(X[keys[name]], target.dtype, name) for name in input_names]
            if not columns:
                raise ValueError(f"No column of X is left for the model's input {target.name!r}; {EXPORT_AGAIN}")
            feed[target.name] = columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)
        lengths = {len(rows) for rows in feed.values()}
        if len(lengths) > 1:
            raise ValueError(f"The columns of X have different lengths: {sorted(lengths)}.")
        return feed

    def _columns_of_records(self, records: list) -> dict[str, list]:
        names = self._require_names()
        for i, record in enumerate(records):
            missing = [name for name in names if name not in record]
            if missing:
                raise ValueError(
                    f"Row {i} of X lacks columns that the model was fitted with: {missing}; give None if a value is "
                    "missing."
                )
        return {name: [record[name] for record in records] for name in names}

    def _require_names(self) -> list[str]:
        if self.names is None:
            n = "its" if self.n_features is None else self.n_features
            raise ValueError(
                f"X has named columns, but the model was fitted without names; give an array of {n} columns in the "
                "order of the fit (frame.to_numpy())."
            )
        return self.names


def is_utf8(text: str) -> bool:
    """Return whether UTF-8 can encode a string. It cannot encode lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _as_array(X: Any) -> np.ndarray:
    array = np.asarray(X)
    return np.array(X, dtype=object) if array.dtype.kind in "US" else array  # keep numbers beside strings as numbers


def _read_column(values: Any, dtype: Any, name: str) -> np.ndarray:
    """Return a column of a frame, a dict or a list as a tensor of shape (n, 1)."""
    array = _column_values(values, keep_integers=dtype is np.object_)
    if array.ndim == 2 and hasattr(values, "columns"):
        raise ValueError(f"X has {array.shape[1]} columns called {name!r}; rename or drop all but one.")
    if array.ndim != 1:
        raise ValueError(
            f"Column {name!r} has shape {array.shape}; expected one value per row. For a single row, give lists of one "
            "value."
        )
    if not len(array):
        raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
    return _as_tensor(array, dtype, name)[:, None]


def _column_values(values: Any, keep_integers: bool) -> np.ndarray:
    """Return a column as an array. With `keep_integers`, integers beside missing values do not become floats."""
    if type(values) is np.ndarray:
        return _as_array(values)
    if keep_integers and hasattr(values, "to_list") and str(values.dtype).lower().startswith(("int", "uint")):
        return np.array(values.to_list(), dtype=object)
    return values.to_numpy() if hasattr(values, "to_numpy") else _as_array(values)


def _as_tensor(values: np.ndarray, dtype: Any, name: str) -> np.ndarray:
    if dtype is np.object_:
        return _as_strings(values, name)
    tensor = values if values.dtype == dtype else _convert_numeric(values, dtype, name)
    if tensor.dtype.kind == "f" and _has_infinity(tensor):
        raise ValueError(
            f"Column {name!r} contains infinity or a value too large for {np.dtype(dtype)}; clip it, or give NaN if "
            "the model was fitted with missing values."
        )
    return tensor


def _has_infinity(tensor: np.ndarray) -> bool:
    """Return whether a tensor holds an infinity. The columns of a single row are tested without numpy, in less time."""
    return math.isinf(tensor.item()) if tensor.size == 1 else bool(np.isinf(tensor).any())


def _convert_numeric(values: np.ndarray, dtype: Any, name: str) -> np.ndarray:
    numeric = _as_numeric(values, name)
    with np.errstate(over="ignore", invalid="ignore"):
        converted = numeric.astype(dtype)
    if converted.dtype.kind != "f" and not (converted == numeric).all():
        raise ValueError(
            f"Column {name!r} holds values that the model's type for it, {np.dtype(dtype)}, cannot hold: missing "
            "ones, or fractions; export the model with a sample in which this column is float64."
        )
    return converted


def _as_numeric(values: np.ndarray, name: str) -> np.ndarray:
    """Return a numeric array as it is, and objects as float64 with NaN for missing."""
    if values.dtype.kind in "fiub":
        return values
    objects = values.ravel().tolist() if values.dtype == object else [values.dtype.name]
    wrong = next(
        (v for v in objects if isinstance(v, str | bytes) or not (hasattr(v, "__float__") or is_missing(v))), None
    )
    if wrong is not None:
        raise ValueError(f"Column {name!r} held numbers in fit, and holds something else now: {wrong!r}.")
    numbers = [np.nan if is_missing(value) else float(value) for value in objects]
    return np.array(numbers, dtype=np.float64).reshape(values.shape)


def _as_strings(values: np.ndarray, name: str) -> np.ndarray:
    """Return the names of categories, as in the estimator; "" for missing."""
    if values.dtype.kind in "mM":
        raise ValueError(f"Column {name!r} held categories in fit, and has the dtype {values.dtype} now.")
    try:
        strings = [value if type(value) is str else _level(value) for value in values.ravel().tolist()]
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"Column {name!r} holds values that can't be categories: {error}.") from error
    return np.array(strings, dtype=object).reshape(values.shape)


def _level(value: Any) -> str:
    return "" if is_missing(value) else as_level(value)

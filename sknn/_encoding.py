"""The table's way in.

`FeatureEncoder` turns a table (pandas, polars, numpy, scipy sparse; numbers, strings, categories, missing values) into
numbers and integer codes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.special import ndtri

from sknn._levels import (
    MISSING_TYPES,
    NUMBER_TYPES,
    distinct_levels,
    is_missing,
    known_levels,
    level_codes,
    warn_of_unseen,
)
from sknn._tables import first_column, infinity_in, is_frame, is_not_finite

ONE_HOT_LEVELS = 8  # more are embedded; RealMLP's rule counts missing as a ninth
QUANTILES = 1000  # reference points of scaling="quantile", as in scikit-learn
QUANTILE_MARGIN = 1e-7  # keeps the normal quantiles of the extremes finite
ROBUST_CLIP = 3.0
FAR_OUT = 1e100  # beyond it the smooth clip is at its limit, and squares overflow
DATE_TYPES = ("datetime", "date", "time", "duration", "period")
NUMBERS_AT_ONCE = 1 << 20  # scaled at once, in float64: 8 MB


# --- Columns of any kind of table ---------------------------------------------------------------------------------


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


def one_hot_width(n_levels: int) -> int:
    """Columns of a category that is not embedded: two levels share one of -1, 0 and 1, and no level is one of 0.

    >>> [one_hot_width(n) for n in range(5)]
    [1, 1, 1, 3, 4]
    """
    return 1 if n_levels in (0, 2) else n_levels


# --- Statistics in which weight k counts as k rows ----------------------------------------------------------------


def quantiles(column: np.ndarray, q: Sequence[float] | np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """Quantiles of the values that are not missing, each one a value that occurs."""
    present = ~np.isnan(column)
    if not present.any():
        return np.zeros(len(q))
    values = column[present]
    if weight is not None:
        return np.quantile(values, q, weights=weight[present], method="inverted_cdf")
    places = np.maximum(np.ceil(np.asarray(q) * len(values)).astype(int) - 1, 0)
    return np.partition(values, places)[places]  # what np.quantile does, after longer preparations


def unit_of(values: np.ndarray) -> np.ndarray:
    """For each column a power of two near its largest absolute value; of what is divided by it, squares are numbers.

    >>> unit_of(np.array([[3.0, -1e200], [1.0, 0.0]])).tolist() == [2.0, 2.0**664]
    True
    """
    return np.ldexp(1.0, np.frexp(np.abs(values).max(0))[1] - 1)


def mean_and_std(column: np.ndarray, weight: np.ndarray | None) -> tuple[float, float]:
    present = ~np.isnan(column)
    if not present.any():
        return 0.0, 0.0
    values = column[present]
    if values.min() == values.max():  # the rounding of a mean must not look like a spread
        return float(values[0]), 0.0
    weights, unit = None if weight is None else weight[present], unit_of(values)
    values = values / unit
    mean = np.average(values, weights=weights)
    return float(mean * unit), float(np.sqrt(np.average((values - mean) ** 2, weights=weights)) * unit)


# --- Scaling of numbers -------------------------------------------------------------------------------------------


@dataclass
class ColumnScaler:
    """(x - center) * scale for each column, then a smooth clip or a step through quantiles, if any.

    Attributes
    ----------
    fill : ndarray of shape (n_columns,)
        What stands in for a missing value: the median.
    references : ndarray of shape (n_quantiles, n_columns) or None
        With scaling="quantile", the values that are mapped to evenly spaced normal quantiles.
    """

    fill: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    clip: bool = False
    references: np.ndarray | None = None

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Scaled float64 numbers of a block of rows."""
        X = np.where(np.isnan(X), self.fill, X)
        if self.references is not None:
            grid = np.linspace(0, 1, len(self.references))
            levels = [_midway_interp(x, r, grid) for x, r in zip(X.T, self.references.T, strict=True)]
            return ndtri(np.clip(np.array(levels).T.reshape(X.shape), QUANTILE_MARGIN, 1 - QUANTILE_MARGIN))
        with np.errstate(over="ignore"):
            X = (X - self.center) * self.scale
        if not self.clip:
            return X
        np.clip(X, -FAR_OUT, FAR_OUT, out=X)
        return X / np.sqrt(1 + (X / ROBUST_CLIP) ** 2)


def _midway_interp(x: np.ndarray, references: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Interpolate; equal references take the middle of their levels, also at the ends (unlike scikit-learn's)."""
    return 0.5 * (np.interp(x, references, grid) - np.interp(-x, -references[::-1], -grid[::-1]))


def _inverse(width: np.ndarray) -> np.ndarray:
    """1 / width, and 0 for a constant column (or one so narrow that 1 / width is infinite)."""
    return np.divide(1.0, width, out=np.zeros_like(width), where=width >= np.finfo(np.float64).tiny)


def fit_scaler(columns: Iterable[np.ndarray], scaling: str | None, weight: np.ndarray | None) -> ColumnScaler:
    """Learn from columns of float64 numbers; "auto" is "robust"."""
    columns = list(columns)
    n = len(columns)
    if scaling is None:
        median = np.array([quantiles(c, (0.5,), weight)[0] for c in columns])
        return ColumnScaler(median, np.zeros(n), np.ones(n))
    quartiles = np.array([quantiles(c, (0.0, 0.25, 0.5, 0.75, 1.0), weight) for c in columns]).reshape(n, 5).T
    low, first, median, third, high = quartiles
    if scaling == "standard":
        moments = np.array([mean_and_std(c, weight) for c in columns]).reshape(n, 2).T
        return ColumnScaler(median, moments[0], _inverse(moments[1]))
    if scaling == "quantile":
        grid = np.linspace(0, 1, QUANTILES)
        references = np.array([quantiles(c, grid, weight) for c in columns]).reshape(n, QUANTILES).T
        return ColumnScaler(median, np.zeros(n), np.ones(n), references=references)
    half = np.where(third > first, third / 2 - first / 2, high / 4 - low / 4)  # the difference itself may overflow
    return ColumnScaler(median, median, _inverse(half) / 2, clip=True)


# --- The table ----------------------------------------------------------------------------------------------------


@dataclass
class Encoded:
    """A table as the network takes it.

    Attributes
    ----------
    numbers : ndarray of shape (n, d) or CSR matrix, float32 (float64 in double precision)
        Scaled numbers, then indicators of missing values, then one-hot levels.
    codes : int64 ndarray of shape (n, c)
        Levels of the categories that are embedded; 0 is missing or unknown.
    """

    numbers: Any
    codes: np.ndarray

    def __len__(self) -> int:
        return self.numbers.shape[0]


class FeatureEncoder:
    """Encodes a table; knows each column by its place.

    Parameters
    ----------
    scaling : {None, 'standard', 'robust', 'quantile', 'auto'}
    categorical_features : 'from_dtype', None, or array-like of names, indices or a mask
    max_one_hot : int
        Categories with more levels get a code in place of one-hot columns.
    dtype : numpy dtype

    Attributes
    ----------
    categorical_ : ndarray of int
        Places of the categorical columns.
    levels_ : list of list of str
        Each one's levels, in the order of their codes 1, 2, ...
    numeric_ : ndarray of int
    scaler_ : ColumnScaler
    missing_ : ndarray of int
        Which of the numeric columns had missing values in the fit, and so have an indicator.
    """

    def __init__(
        self,
        scaling: str | None = "auto",
        categorical_features: Any = "from_dtype",
        max_one_hot: int = ONE_HOT_LEVELS,
        dtype: Any = np.float32,
    ) -> None:
        self.scaling, self.categorical_features = scaling, categorical_features
        self.max_one_hot, self.dtype = max_one_hot, dtype

    def fit(self, X: Any, sample_weight: np.ndarray | None = None) -> "FeatureEncoder":
        if sp.issparse(X):
            return self._fit_sparse(X)
        table = _Columns(X)
        chosen = self._chosen_categories(table)
        self.categorical_ = np.array([j for j in range(table.width) if table.is_category(j, chosen)], dtype=int)
        self.numeric_ = np.setdiff1d(np.arange(table.width), self.categorical_)
        self.levels_ = [known_levels(*table.levels(j), sample_weight, table.name(j)) for j in self.categorical_]
        columns = [table.numbers(j) for j in self.numeric_]
        self.scaler_ = fit_scaler(columns, self.scaling, sample_weight)
        self.missing_ = np.array([k for k, column in enumerate(columns) if np.isnan(column).any()], dtype=int)
        return self

    def _fit_sparse(self, X: Any) -> "FeatureEncoder":
        """A sparse table stays sparse, so its columns are scaled by their largest absolute value and not centred.

        A missing value becomes 0, as most of the others are.
        """
        if self.categorical_features is not None and not _is_from_dtype(self.categorical_features):
            raise ValueError("categorical_features can't be chosen in a sparse table; encode them before, or use None.")
        n = X.shape[1]
        self.categorical_, self.numeric_, self.levels_ = np.array([], dtype=int), np.arange(n), []
        self.missing_ = np.array([], dtype=int)
        X = sp.csc_array(X, dtype=np.float64, copy=True)
        X.data = np.nan_to_num(np.abs(X.data))
        largest = X.max(axis=0).toarray().ravel()
        scale = np.ones(n) if self.scaling is None else _inverse(largest)
        self.scaler_ = ColumnScaler(np.zeros(n), np.zeros(n), scale)
        return self

    def transform(self, X: Any) -> Encoded:
        if sp.issparse(X) and not len(self.categorical_) and self._centres_nothing:
            return Encoded(self._scaled_sparse(X), np.zeros((X.shape[0], 0), dtype=np.int64))
        if self._keeps(X):
            return Encoded(X, np.zeros((len(X), 0), dtype=np.int64))
        table = _Columns(X.toarray() if sp.issparse(X) else X)
        out = np.empty((len(table), self.n_numbers_), dtype=self.dtype)
        self._write_numbers(table, out)
        codes, start = [], len(self.numeric_) + len(self.missing_)
        for j, levels in zip(self.categorical_, self.levels_, strict=True):
            code = table.codes(j, levels)
            if levels and not code.any():
                warn_of_unseen(self, table.name(j), *table.levels(j), levels)
            if len(levels) > self.max_one_hot:
                codes.append(code)
                continue
            stop = start + one_hot_width(len(levels))
            if len(levels) == 2:
                out[:, start] = np.array([0, 1, -1])[code]
            else:
                out[:, start:stop] = code[:, None] == np.arange(1, stop - start + 1)
            start = stop
        return Encoded(out, np.stack(codes, 1) if codes else np.zeros((len(table), 0), dtype=np.int64))

    def _keeps(self, X: Any) -> bool:
        """Whether a table is its own encoding: numbers of the right type that are not scaled, none of them missing."""
        if self.scaling is not None or not isinstance(X, np.ndarray) or X.dtype != self.dtype:
            return False
        plain = not len(self.categorical_) and not len(self.missing_) and X.flags.c_contiguous and X.flags.writeable
        return plain and bool(np.isfinite(X).all())

    @property
    def _centres_nothing(self) -> bool:
        scaler = self.scaler_
        return not (scaler.center.any() or scaler.clip or scaler.references is not None or len(self.missing_))

    def _scaled_sparse(self, X: Any) -> sp.csr_array:
        scaled = sp.csr_array(X, dtype=np.float64, copy=True)
        missing = np.isnan(scaled.data)
        scaled.data[missing] = self.scaler_.fill[scaled.indices[missing]]
        with np.errstate(over="ignore"):
            scaled.data *= self.scaler_.scale[scaled.indices]
            scaled = scaled.astype(self.dtype)
        self._refuse_overflow(scaled, names=range(scaled.shape[1]))
        return scaled

    def _write_numbers(self, table: "_Columns", out: np.ndarray) -> None:
        width, indicated = len(self.numeric_), len(self.missing_)
        at_once = max(1, NUMBERS_AT_ONCE // max(1, width))
        for start in range(0, len(table), at_once):
            rows = slice(start, start + at_once)
            block = table.block(self.numeric_, rows)
            with np.errstate(over="ignore"):
                out[rows, :width] = self.scaler_.transform(block)
            self._refuse_overflow(out[rows, :width], names=[table.name(j) for j in self.numeric_])
            out[rows, width : width + indicated] = np.isnan(block[:, self.missing_])

    def _refuse_overflow(self, numbers: Any, names: Sequence[Any]) -> None:
        k = first_column(numbers, is_not_finite)
        if k is not None:
            raise ValueError(
                f"Input X contains a value too large for {np.dtype(self.dtype)!r} after scaling={self.scaling!r}, in "
                f"column {names[k]!r}; clip the column, or use scaling='robust'."
            )

    @property
    def n_numbers_(self) -> int:
        """Columns of `Encoded.numbers`."""
        one_hot = [len(levels) for levels in self.levels_ if len(levels) <= self.max_one_hot]
        return len(self.numeric_) + len(self.missing_) + sum(map(one_hot_width, one_hot))

    @property
    def n_levels_(self) -> tuple[int, ...]:
        """Codes of each embedded category, with 0 for missing or unknown counted."""
        return tuple(len(levels) + 1 for levels in self.levels_ if len(levels) > self.max_one_hot)

    def _chosen_categories(self, table: "_Columns") -> set[int] | None:
        """The columns that the user names, or None for a choice by dtype."""
        chosen = self.categorical_features
        if _is_from_dtype(chosen):
            return None
        chosen = [] if chosen is None else list(np.atleast_1d(np.asarray(chosen, dtype=object)))
        if chosen and all(isinstance(c, bool | np.bool_) for c in chosen):
            if len(chosen) != table.width:
                raise ValueError(
                    f"categorical_features is a mask of {len(chosen)} entries, but X has {table.width} columns; "
                    "give one entry per column."
                )
            return {j for j, is_chosen in enumerate(chosen) if is_chosen}
        return {table.place(c) for c in chosen}


def _is_from_dtype(categorical_features: Any) -> bool:
    return isinstance(categorical_features, str) and categorical_features == "from_dtype"


class _Columns:
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

"""Encode a table (pandas, polars, numpy, scipy sparse) as numbers and category codes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from sknn.preprocessing.columns import Columns
from sknn.preprocessing.levels import known_levels, warn_of_unseen
from sknn.preprocessing.scaling import ColumnScaler, _inverse, fit_scaler
from sknn.preprocessing.tables import first_column, is_not_finite

ONE_HOT_LEVELS = 8  # more are embedded; RealMLP's rule counts missing as a ninth
VALUES_AT_ONCE = 1 << 20  # scaled at once, in float64: 8 MB


@dataclass
class Encoded:
    """A table as the network takes it.

    Attributes
    ----------
    numeric : ndarray of shape (n, d) or CSR matrix, float32 (float64 in double precision)
        Scaled numbers, then indicators of missing values, then one-hot levels.
    codes : int64 ndarray of shape (n, c)
        Levels of the categories that are embedded; 0 is missing or unknown.
    """

    numeric: Any
    codes: np.ndarray

    def __len__(self) -> int:
        return self.numeric.shape[0]


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
        table = Columns(X)
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
        table = Columns(X.toarray() if sp.issparse(X) else X)
        out = np.empty((len(table), self.n_numeric_), dtype=self.dtype)
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

    def _write_numbers(self, table: "Columns", out: np.ndarray) -> None:
        width, indicated = len(self.numeric_), len(self.missing_)
        at_once = max(1, VALUES_AT_ONCE // max(1, width))
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
    def n_numeric_(self) -> int:
        """Columns of `Encoded.numeric`."""
        one_hot = [len(levels) for levels in self.levels_ if len(levels) <= self.max_one_hot]
        return len(self.numeric_) + len(self.missing_) + sum(map(one_hot_width, one_hot))

    @property
    def n_levels_(self) -> tuple[int, ...]:
        """Codes of each embedded category, with 0 for missing or unknown counted."""
        return tuple(len(levels) + 1 for levels in self.levels_ if len(levels) > self.max_one_hot)

    def _chosen_categories(self, table: "Columns") -> set[int] | None:
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


def one_hot_width(n_levels: int) -> int:
    """Columns of a category that is not embedded: two levels share one of -1, 0 and 1, and no level is one of 0.

    >>> [one_hot_width(n) for n in range(5)]
    [1, 1, 1, 3, 4]
    """
    return 1 if n_levels in (0, 2) else n_levels

"""Encode a table (pandas, polars, numpy, scipy sparse) as numeric columns and category codes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from sknn.preprocessing.columns import Columns
from sknn.preprocessing.encoding import EncodingPlan, plan_encoding
from sknn.preprocessing.levels import select_levels, warn_of_unseen_levels
from sknn.preprocessing.scaling import ColumnScaler, fit_scaler, inverse_or_zero
from sknn.preprocessing.tables import first_bad_column, is_not_finite

ONE_HOT_LEVELS = 8  # categories with more levels are embedded (RealMLP's limit of 9 counts missing as a level)
CHUNK_VALUES = 1 << 20  # values that are scaled at a time, in float64: 8 MB


@dataclass
class Encoded:
    """An encoded table, the input of a network.

    Attributes
    ----------
    numeric : ndarray of shape (n, d) or CSR matrix, float32 (float64 in double precision)
        Scaled numeric columns, then indicators of missing values, then one-hot levels.
    codes : int64 ndarray of shape (n, c)
        Codes of the embedded categories; 0 is missing or unknown.
    """

    numeric: Any
    codes: np.ndarray

    def __len__(self) -> int:
        return self.numeric.shape[0]


class FeatureEncoder:
    """An encoder of tables. It identifies columns by their index.

    Parameters
    ----------
    scaling : {None, 'standard', 'robust', 'quantile', 'auto'}
    categorical_features : 'from_dtype', None, or array-like of names, indices or a mask
    max_one_hot : int
        Categories with more levels become a code instead of one-hot columns.
    dtype : numpy dtype

    Attributes
    ----------
    categorical_ : ndarray of int
        Indices of the categorical columns.
    levels_ : list of list of str
        The levels of each categorical column, in the order of their codes 1, 2, ...
    numeric_ : ndarray of int
        Indices of the numeric columns.
    scaler_ : ColumnScaler
    missing_ : ndarray of int
        Positions in `numeric_` of the columns that had missing values in the fit. They get an indicator.
    plan : EncodingPlan
        The encoded columns, described from these attributes.
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
        chosen = self._chosen_indices(table)
        self.categorical_ = np.array([j for j in range(table.width) if table.is_category(j, chosen)], dtype=int)
        self.numeric_ = np.setdiff1d(np.arange(table.width), self.categorical_)
        self.levels_ = [select_levels(*table.levels(j), sample_weight, table.name(j)) for j in self.categorical_]
        columns = [table.numeric(j) for j in self.numeric_]
        self.scaler_ = fit_scaler(columns, self.scaling, sample_weight)
        self.missing_ = np.array([k for k, column in enumerate(columns) if np.isnan(column).any()], dtype=int)
        return self

    def _fit_sparse(self, X: Any) -> "FeatureEncoder":
        """Fit a sparse table. To keep it sparse, columns are divided by their largest absolute value and not centred.

        A missing value becomes 0, the most common value.
        """
        if self.categorical_features is not None and not _is_from_dtype(self.categorical_features):
            raise ValueError("categorical_features can't be chosen in a sparse table; encode them before, or use None.")
        n = X.shape[1]
        self.categorical_, self.numeric_, self.levels_ = np.array([], dtype=int), np.arange(n), []
        self.missing_ = np.array([], dtype=int)
        X = sp.csc_array(X, dtype=np.float64, copy=True)
        X.data = np.nan_to_num(np.abs(X.data))
        largest = X.max(axis=0).toarray().ravel()
        scale = np.ones(n) if self.scaling is None else inverse_or_zero(largest)
        self.scaler_ = ColumnScaler(np.zeros(n), np.zeros(n), scale)
        return self

    @property
    def plan(self) -> EncodingPlan:
        levels = zip(self.categorical_.tolist(), self.levels_, strict=True)
        return plan_encoding(self.numeric_, self.scaler_, self.missing_, levels, self.max_one_hot)

    @property
    def n_numeric_(self) -> int:
        """Columns of `Encoded.numeric`."""
        return self.plan.n_numeric

    @property
    def n_levels_(self) -> tuple[int, ...]:
        """The number of codes of each embedded category, including code 0."""
        return tuple(len(category.levels) + 1 for category in self.plan.embedded)

    def transform(self, X: Any) -> Encoded:
        if sp.issparse(X) and not len(self.categorical_) and self._keeps_zeros:
            return Encoded(self._transform_sparse(X), np.zeros((X.shape[0], 0), dtype=np.int64))
        if self._is_encoded(X):
            return Encoded(X, np.zeros((len(X), 0), dtype=np.int64))
        plan, table = self.plan, Columns(X.toarray() if sp.issparse(X) else X)
        numeric = np.empty((len(table), plan.n_numeric), dtype=self.dtype)
        self._transform_numeric(table, plan, out=numeric)
        codes = self._transform_categories(table, plan, out=numeric)
        return Encoded(numeric, np.stack(codes, 1) if codes else np.zeros((len(table), 0), dtype=np.int64))

    def _is_encoded(self, X: Any) -> bool:
        """Return whether encoding X changes nothing: an array of `dtype`, without scaling and missing values."""
        if self.scaling is not None or not isinstance(X, np.ndarray) or X.dtype != self.dtype:
            return False
        plain = not len(self.categorical_) and not len(self.missing_) and X.flags.c_contiguous and X.flags.writeable
        return plain and bool(np.isfinite(X).all())

    @property
    def _keeps_zeros(self) -> bool:
        """Whether 0 is encoded as 0 in every numeric column, and no indicators are added."""
        scaler = self.scaler_
        return not (scaler.center.any() or scaler.clip or scaler.references is not None or len(self.missing_))

    def _transform_sparse(self, X: Any) -> sp.csr_array:
        scaled = sp.csr_array(X, dtype=np.float64, copy=True)
        missing = np.isnan(scaled.data)
        scaled.data[missing] = self.scaler_.fill[scaled.indices[missing]]
        with np.errstate(over="ignore"):
            scaled.data *= self.scaler_.scale[scaled.indices]
            scaled = scaled.astype(self.dtype)
        self._check_overflow(scaled, names=range(scaled.shape[1]))
        return scaled

    def _transform_numeric(self, table: Columns, plan: EncodingPlan, out: np.ndarray) -> None:
        """Write scaled values and indicators of missing values, some rows at a time."""
        width, n_missing = len(plan.numeric), len(plan.missing)
        n_rows = max(1, CHUNK_VALUES // max(1, width))
        for start in range(0, len(table), n_rows):
            rows = slice(start, start + n_rows)
            block = table.block(plan.numeric, rows)
            with np.errstate(over="ignore"):
                out[rows, :width] = plan.scaler.transform(block)
            self._check_overflow(out[rows, :width], names=[table.name(j) for j in plan.numeric])
            out[rows, width : width + n_missing] = np.isnan(block[:, plan.missing])

    def _transform_categories(self, table: Columns, plan: EncodingPlan, out: np.ndarray) -> list[np.ndarray]:
        """Write the columns of categories that are not embedded, and return the codes of the others."""
        embedded = []
        for category in plan.categories:
            j, levels = category.index, category.levels
            code = table.codes(j, levels)
            if levels and not code.any():
                warn_of_unseen_levels(self, table.name(j), *table.levels(j), levels)
            if category.is_embedded:
                embedded.append(code)
            elif category.values is not None:
                out[:, category.start] = category.values[code]
            else:
                out[:, category.columns] = code[:, None] == category.level_codes
        return embedded

    def _check_overflow(self, scaled: Any, names: Sequence[Any]) -> None:
        k = first_bad_column(scaled, is_not_finite)
        if k is not None:
            raise ValueError(
                f"Input X contains a value too large for {np.dtype(self.dtype)!r} after scaling={self.scaling!r}, in "
                f"column {names[k]!r}; clip the column, or use scaling='robust'."
            )

    def _chosen_indices(self, table: Columns) -> set[int] | None:
        """Return the columns that `categorical_features` lists, or None if their dtypes decide."""
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
        return {table.index(c) for c in chosen}


def _is_from_dtype(categorical_features: Any) -> bool:
    return isinstance(categorical_features, str) and categorical_features == "from_dtype"

"""Check the rows for `fit` and `predict`."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, validate_data

from sknn.preprocessing.tables import check_table, check_validation_columns, take
from sknn.preprocessing.targets import rescale_extreme_weights


@dataclass
class Rows:
    """Validated rows: a table, the target, and weights or None.

    Rows of weight 0 are left out, but `all_y` has their targets, too: their classes are known to the estimator.
    """

    X: Any
    y: np.ndarray
    weight: np.ndarray | None
    all_y: np.ndarray


class InputValidation:
    """A mixin for an estimator that is fitted to tables."""

    module: Any
    n_features_in_: int

    @abstractmethod
    def _fixed(self, name: str) -> Any:
        """Return the value that a parameter had when the network was built."""

    def _check_rows(self, X: Any, y: Any, sample_weight: Any, reset: bool, name: str = "") -> Rows:
        if name:
            check_validation_columns(X, self.n_features_in_, getattr(self, "feature_names_in_", None))
        X = self._check_X(X, reset)
        if reset:
            self._remember_target_name(y)
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y{name} is None."
            )
        sparse = "csr" if is_classifier(self) else False  # a sparse y holds the labels of a multilabel target
        y = check_array(y, accept_sparse=sparse, ensure_2d=False, dtype=None, input_name=f"y{name}", estimator=self)
        if y.dtype == object and any(value is None for value in y.flat):
            raise ValueError(f"Input y{name} contains None; leave out the rows without a label.")
        check_consistent_length(X, y)
        weight, all_y = None, y
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
            if not weight.any():
                raise ValueError(f"sample_weight{name} is 0 in every row; at least one row has to count.")
            if not weight.all():
                kept = np.flatnonzero(weight)
                X, y, weight = take(X, kept), y[kept], weight[kept]
            weight = rescale_extreme_weights(weight)
        return Rows(X, y, weight, all_y)

    def _remember_target_name(self, y: Any) -> None:
        """Set `target_name_` to the name of a frame's column; a y without a name leaves the estimator without one."""
        vars(self).pop("target_name_", None)
        name = getattr(y, "name", None)
        if isinstance(name, str) and name:
            self.target_name_ = name

    def _check_X(self, X: Any, reset: bool) -> Any:
        module = self.module if reset else self._fixed("module")
        if module is not None and getattr(X, "ndim", 2) > 2:
            table = X
            assert_all_finite(X, input_name="X")
        else:
            table = check_table(X)
        if reset or not self._has_columns_of_fit(table):
            validate_data(self, table, reset=reset, skip_check_array=True)
        if table.shape[0] < 1 or table.shape[1] < 1:
            what, k = ("sample", 0) if table.shape[0] < 1 else ("feature", 1)
            raise ValueError(
                f"Found array with 0 {what}(s) (shape={tuple(table.shape)}) while a minimum of 1 is required by "
                f"{type(self).__name__}; X needs rows and columns (axis {k} is empty)."
            )
        return table

    def _has_columns_of_fit(self, table: Any) -> bool:
        """Return whether X is an array with the columns of `fit`: a fast check, which matters for a single row."""
        is_plain = type(table) is np.ndarray and not hasattr(self, "feature_names_in_")
        return is_plain and table.shape[1:2] == (self.n_features_in_,)

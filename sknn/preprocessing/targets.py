"""Encode targets (labels or values) for the loss, and decode predictions."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from sknn.preprocessing.scaling import mean_and_std, power_of_two_unit
from sknn.preprocessing.values import as_float64

WEIGHT_RANGE = 1e-12, 1e12  # of the largest weight; beyond it, sums of weights may overflow single precision
FLOAT32_RANGE = 1e-36, 1e36  # values that single precision holds with all of its digits
LARGEST_ERROR = 1e150  # of a prediction, in units of y; its square is still finite


def rescale_extreme_weights(weight: np.ndarray) -> np.ndarray:
    """Divide very large or small weights by a power of two, so that their sums fit in single precision.

    Only the ratios of weights matter. A power of two keeps them exactly.
    """
    low, high = WEIGHT_RANGE
    return weight if low <= weight.max() <= high else weight / power_of_two_unit(weight)


def rescale_for_scoring(y: Any, predicted: np.ndarray) -> tuple[Any, np.ndarray]:
    """Divide values and predictions by a power of two, so that squared errors are finite. Scores have no unit."""
    y = np.asarray(y)
    if y.dtype.kind not in "fiu" or not len(y):
        return y, predicted  # scikit-learn's metric refuses it
    unit = power_of_two_unit(y)
    with np.errstate(over="ignore"):
        return y / unit, np.clip(predicted / unit, -LARGEST_ERROR, LARGEST_ERROR)


class ClassEncoder:
    """Encodes labels as columns of 0 and 1.

    Attributes
    ----------
    kind_ : {'binary', 'multiclass', 'multilabel'}
        Two classes are one column, any other number of classes one column each, and a label indicator matrix one column
        per label. So a single class is one column of a distribution, and has a probability of 1.
    classes_ : ndarray
    """

    def fit(self, y: np.ndarray, classes: Any = None) -> "ClassEncoder":
        """Learn the classes from y, unless `classes` lists them."""
        target_type = type_of_target(y, input_name="y")
        if target_type not in ("binary", "multiclass", "multilabel-indicator"):
            self._refuse(y, target_type)
        if target_type == "multilabel-indicator":
            self.kind_, self.classes_ = "multilabel", np.arange(y.shape[1])
            return self
        labels = column_or_1d(y, warn=True)
        self.classes_ = np.unique(labels if classes is None else classes)
        self.kind_ = "binary" if len(self.classes_) == 2 else "multiclass"
        return self

    def transform(self, y: np.ndarray) -> np.ndarray:
        """Return an array (n, K) of 0 and 1."""
        if self.kind_ == "multilabel":
            y = y.toarray() if sp.issparse(y) else y  # type: ignore[attr-defined]
            if y.ndim != 2 or y.shape[1] != len(self.classes_):
                raise ValueError(
                    f"y has shape {y.shape}; expected (n, {len(self.classes_)}) labels, as in the first fit."
                )
            if not np.isin(y, (0, 1)).all():
                raise ValueError(f"y has several columns, which hold {np.unique(y).tolist()}; labels must be 0 or 1.")
            return y.astype(np.float64)
        codes = self.codes(column_or_1d(y, warn=True))
        if self.kind_ == "binary":
            return codes[:, None].astype(np.float64)
        return (codes[:, None] == np.arange(len(self.classes_))).astype(np.float64)

    def codes(self, labels: np.ndarray) -> np.ndarray:
        """Return the index of each label in `classes_`."""
        unknown = np.setdiff1d(labels, self.classes_)
        if len(unknown):
            raise ValueError(
                f"`y` has classes not in `self.classes_`: {unknown.tolist()}, while `self.classes_` has "
                f"{self.classes_.tolist()}. For partial_fit, name all of them in the first call's `classes`."
            )
        return np.searchsorted(self.classes_, labels)

    def inverse_transform(self, p: np.ndarray) -> np.ndarray:
        """Return the labels of probabilities (n, K)."""
        if self.kind_ == "multilabel":
            return (p > 0.5).astype(int)
        if self.kind_ == "binary":
            return self.classes_[(p[:, 0] > 0.5).astype(int)]
        return self.classes_[p.argmax(1)]

    @staticmethod
    def _refuse(y: np.ndarray, target_type: str) -> None:
        check_classification_targets(y)
        raise ValueError(
            f"y has several columns of several classes ({target_type}), which is not supported; wrap the classifier in "
            "sklearn.multioutput.MultiOutputClassifier."
        )


class ValueEncoder:
    """Encodes values as ``(y - center) / scale``, a column per output.

    Parameters
    ----------
    scaled : bool
        Whether to scale at all.
    positive : {None, 'zero or more', 'above zero'}
        The values that a loss with a log link allows. y is then divided by its mean and not centred.
    """

    def __init__(self, scaled: bool, positive: str | None = None) -> None:
        self.scaled, self.positive = scaled, positive

    def fit(self, y: np.ndarray, weight: np.ndarray | None = None) -> "ValueEncoder":
        y = self._columns(y)
        moments = np.array([mean_and_std(column, weight) for column in y.T])
        self.center_, self.scale_ = np.zeros(y.shape[1]), np.ones(y.shape[1])
        if self.scaled and self.positive:
            self.scale_ = np.where(moments[:, 0] > 0, moments[:, 0], 1.0)
        elif self.scaled:
            self.center_ = moments[:, 0]
            self.scale_ = np.where(moments[:, 1] > 0, moments[:, 1], 1.0)
        return self

    def transform(self, y: np.ndarray) -> np.ndarray:
        y = self._columns(y)
        if y.shape[1] != len(self.center_):
            raise ValueError(f"y has {y.shape[1]} outputs; expected {len(self.center_)}, as in the first fit.")
        with np.errstate(over="ignore"):  # halved, since the difference of the largest floats overflows
            return (y / 2 - self.center_ / 2) / self.scale_ * 2

    def inverse_transform(self, encoded: np.ndarray) -> np.ndarray:
        """Return the values of encoded ones (n, K)."""
        with np.errstate(over="ignore"):
            return encoded * self.scale_ + self.center_

    @property
    def fits_float32(self) -> bool:
        """Whether single precision holds values of the size of y."""
        size = np.maximum(np.abs(self.center_), self.scale_)
        return bool(((size > FLOAT32_RANGE[0]) & (size < FLOAT32_RANGE[1])).all())

    def check_magnitude(self, encoded: np.ndarray, y: np.ndarray, dtype: Any) -> None:
        """Refuse values that become infinity or 0 in the network's arithmetic."""
        largest, limits = np.abs(encoded).max(initial=0.0), np.finfo(dtype)
        if 0 < largest < limits.tiny or largest > np.sqrt(limits.max):
            raise ValueError(
                f"y holds values up to {np.abs(self._columns(y)).max():g}, which are too "
                f"{'small' if largest < 1 else 'large for their squares'} in {limits.dtype}: the network's unit is "
                "that of y itself with scaling=None, and else the standard deviation of y in the first fit. Use "
                "scaling='auto', multiply y, or leave out such rows."
            )

    def _columns(self, y: np.ndarray) -> np.ndarray:
        y = _target_values(y)
        if (self.positive == "zero or more" and (y < 0).any()) or (self.positive == "above zero" and (y <= 0).any()):
            raise ValueError(
                f"y holds {y.min():g}, but this loss needs values {self.positive}; use loss='squared_error', or "
                "shift y."
            )
        return y[:, None] if y.ndim == 1 else y


def _target_values(y: Any) -> np.ndarray:
    """Return y as finite float64 values."""
    y = np.asarray(y)
    values = as_float64(y.ravel())
    if values is None:
        first = next(value for value in y.ravel().tolist() if as_float64(np.array([value], dtype=object)) is None)
        raise ValueError(
            f"y holds {first!r}, which is not a number; a regressor takes numbers, NeuralClassifier labels."
        )
    if np.isinf(values).any():
        raise ValueError("y holds a number that is too large for float64; divide y.")
    return values.reshape(y.shape)

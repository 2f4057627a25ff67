"""Targets: labels and values in, what a loss takes out, and back."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from sknn._encoding import mean_and_std


class ClassEncoder:
    """Labels to columns of 0 and 1.

    Attributes
    ----------
    kind_ : {'binary', 'multiclass', 'multilabel'}
        A column for two classes, one per class for any other number, one per label for a label indicator matrix.  A
        single class has a probability of 1 then, as the only one of its distribution.
    classes_ : ndarray
    """

    def fit(self, y: np.ndarray, classes: Any = None) -> "ClassEncoder":
        """Learn the classes of y, or take them as given."""
        kind = type_of_target(y, input_name="y")
        if kind not in ("binary", "multiclass", "multilabel-indicator"):
            self._refuse(y, kind)
        if kind == "multilabel-indicator":
            self.kind_, self.classes_ = "multilabel", np.arange(y.shape[1])
            return self
        labels = column_or_1d(y, warn=True)
        self.classes_ = np.unique(labels if classes is None else classes)
        self.kind_ = "binary" if len(self.classes_) == 2 else "multiclass"
        return self

    def transform(self, y: np.ndarray) -> np.ndarray:
        """(n, K) of 0 and 1."""
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
        """The place of each label among the classes."""
        unknown = np.setdiff1d(labels, self.classes_)
        if len(unknown):
            raise ValueError(
                f"`y` has classes not in `self.classes_`: {unknown.tolist()}, while `self.classes_` has "
                f"{self.classes_.tolist()}. For partial_fit, name all of them in the first call's `classes`."
            )
        return np.searchsorted(self.classes_, labels)

    def inverse_transform(self, p: np.ndarray) -> np.ndarray:
        """Labels of probabilities (n, K)."""
        if self.kind_ == "multilabel":
            return (p > 0.5).astype(int)
        if self.kind_ == "binary":
            return self.classes_[(p[:, 0] > 0.5).astype(int)]
        return self.classes_[p.argmax(1)]

    @staticmethod
    def _refuse(y: np.ndarray, kind: str) -> None:
        check_classification_targets(y)
        raise ValueError(
            f"y has several columns of several classes ({kind}), which is not supported; wrap the classifier in "
            "sklearn.multioutput.MultiOutputClassifier."
        )


class ValueEncoder:
    """Numbers to (y - center) / scale, a column per output.

    Parameters
    ----------
    scaled : bool
        Whether to scale at all.
    positive : {None, 'zero or more', 'above zero'}
        What a loss with a log link asks of y, which is then divided by its mean and not centred.
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
        return (y - self.center_) / self.scale_

    def _columns(self, y: np.ndarray) -> np.ndarray:
        y = np.asarray(y, dtype=np.float64)
        if (self.positive == "zero or more" and (y < 0).any()) or (self.positive == "above zero" and (y <= 0).any()):
            raise ValueError(
                f"y holds {y.min():g}, but this loss needs values {self.positive}; use loss='squared_error', or "
                "shift y."
            )
        return y[:, None] if y.ndim == 1 else y

"""Checks of an object that is saved or was loaded: its parameters are valid and its learned attributes consistent."""

from types import NoneType
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import make_constraint

from sknn.persistence.sklearn_checks import check_sklearn_estimator
from sknn.persistence.sknn_checks import check_sknn_object


def check_object(obj: Any) -> None:
    """Raise an error for invalid parameters, or for attributes with which compiled code could crash.

    Raises
    ------
    ValueError
        Naming the class.
    """
    if isinstance(obj, BaseEstimator):
        missing = [name for name in obj._get_param_names() if not hasattr(obj, name)]
        if missing:
            raise ValueError(f"a {type(obj).__name__} lacks the parameters {missing}")
        _check_parameters(obj)
    check_sknn_object(obj)
    if isinstance(obj, BaseEstimator):
        _check_dtype(obj)
        check_sklearn_estimator(obj)


def _check_parameters(estimator: BaseEstimator) -> None:
    """Validate parameters as scikit-learn does.

    scikit-learn's own message would hold the `repr` of a value, which takes forever for deeply nested estimators.
    """
    for name, constraints in getattr(estimator, "_parameter_constraints", {}).items():
        value = getattr(estimator, name, None)
        if constraints == "no_validation" or name not in estimator._get_param_names():
            continue
        allowed = [make_constraint(constraint) for constraint in constraints]
        if not any(constraint.is_satisfied_by(value) for constraint in allowed):
            expected = " or ".join(str(constraint) for constraint in allowed if not constraint.hidden)
            is_plain = isinstance(value, NoneType | str | int | float)
            actual = repr(value)[:100] if is_plain else f"a {type(value).__name__}"
            raise ValueError(f"The {name!r} parameter of {type(estimator).__name__} must be {expected}; got {actual}")


def _check_dtype(estimator: BaseEstimator) -> None:
    """Raise an error for a parameter `dtype` of long strings, which could take a million bytes each."""
    dtype = getattr(estimator, "dtype", None)
    if dtype is not None and np.dtype(dtype).kind not in "biufO":
        raise ValueError(f"the dtype of a {type(estimator).__name__} has to be numeric; got {np.dtype(dtype)}")

"""Questions about the value of an attribute, as the checks of loaded objects ask them."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

LABEL_TYPES = (str, bool, int, float, np.generic)  # of labels in an array of objects

Predicate = Callable[[Any], bool]


# --- Single values ------------------------------------------------------------------------------------------------


def one_of(*options: Any) -> Predicate:
    """Return whether a value is, or has the type of and equals, one of these."""
    return lambda value: any(value is option or (type(value) is type(option) and value == option) for option in options)


def instance_of(*classes: type) -> Predicate:
    return lambda value: isinstance(value, classes)


def is_integer(value: Any) -> bool:
    return type(value) is int


def is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def is_positive_integer(value: Any) -> bool:
    return type(value) is int and value > 0


def is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


# --- Lists and dicts ----------------------------------------------------------------------------------------------


def list_of(is_valid: Predicate, n: int) -> Predicate:
    """Return whether a value is a list of n valid values."""
    return lambda value: isinstance(value, list) and len(value) == n and all(map(is_valid, value))


def dict_by_count(is_valid: Predicate) -> Predicate:
    """Return whether a value is a dict from counts to valid values."""
    return lambda value: isinstance(value, dict) and all(map(is_count, value)) and all(map(is_valid, value.values()))


def are_different_strings(value: Any) -> bool:
    """Return whether a value is a list of strings without duplicates."""
    return isinstance(value, list) and all(isinstance(text, str) for text in value) and len(set(value)) == len(value)


# --- Arrays -------------------------------------------------------------------------------------------------------


def finite_floats(*shape: int | None) -> Predicate:
    """Return whether a value is an array of finite float64 in this shape, in which None stands for any size."""

    def is_valid(value: Any) -> bool:
        if not isinstance(value, np.ndarray) or value.dtype != np.float64 or value.ndim != len(shape):
            return False
        has_shape = all(n in (None, size) for n, size in zip(shape, value.shape, strict=True))
        return has_shape and bool(np.isfinite(value).all())

    return is_valid


def increasing_indices(below: int | None = None) -> Predicate:
    """Return whether a value is an array of increasing indices."""

    def is_valid(value: Any) -> bool:
        if not isinstance(value, np.ndarray) or value.dtype.kind != "i" or value.ndim != 1:
            return False
        in_range = not len(value) or (value[0] >= 0 and (below is None or value[-1] < below))
        return bool(in_range and (np.diff(value) > 0).all())

    return is_valid


def is_arange(array: np.ndarray) -> bool:
    return array.dtype.kind == "i" and np.array_equal(array, np.arange(len(array)))


def is_equal_array(value: Any, array: np.ndarray) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == array.dtype and np.array_equal(value, array)


def are_column_names(value: Any, n: Any) -> bool:
    """Return whether a value is an array of n different strings, like `feature_names_in_`."""
    is_array = isinstance(value, np.ndarray) and value.dtype == object and value.shape == (n,)
    return is_array and are_different_strings(value.tolist())


def are_labels(value: Any) -> bool:
    """Return whether a value is an array of different labels in increasing order."""
    if not isinstance(value, np.ndarray) or value.ndim != 1 or not len(value) or value.dtype.kind not in "biufUSO":
        return False
    if value.dtype == object and not all(isinstance(label, LABEL_TYPES) for label in value.tolist()):
        return False
    try:
        return all(bool(label < following) for label, following in itertools.pairwise(value))
    except TypeError:  # labels that can't be compared
        return False

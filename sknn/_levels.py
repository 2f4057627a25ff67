"""The levels of a category: what each is called, its code, and every way in which it is written."""

import numbers
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

NUMBER_TYPES = (numbers.Real, np.bool_, Decimal)
MISSING_TYPES = ("NoneType", "NAType", "NaTType")
COMPLEX_TYPES = (complex, np.complexfloating)


def is_missing(value: Any) -> bool:
    """None, NaN, pandas' NA and NaT."""
    if isinstance(value, NUMBER_TYPES):
        return bool(value != value)
    return type(value).__name__ in MISSING_TYPES


def as_level(value: Any) -> str:
    """The name of a level: one and the same for 3, 3.0 and "3", so that a missing value elsewhere changes nothing.

    For the same reason True is 1: a column of bools holds floats as soon as one is missing.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, COMPLEX_TYPES):
        raise TypeError(f"complex numbers, such as {value}; give their real and imaginary parts a column each")
    if not isinstance(value, NUMBER_TYPES):
        return str(value)
    number: Any = value
    if isinstance(number, numbers.Integral | np.bool_):
        return str(int(number))
    return str(int(number)) if float(number).is_integer() else str(float(number))


def distinct_levels(column: Any) -> tuple[list[str | None], np.ndarray]:
    """The levels in a column (None for missing, and perhaps some twice), and the place of each row's among them.

    >>> distinct_levels(np.array(["b", None, 3, 3.0], dtype=object))
    (['b', None, '3'], array([0, 1, 2, 2]))
    """
    if hasattr(column, "factorize"):  # pandas; missing is -1, the last
        places, values = column.factorize()
        return [*map(as_level, values), None], places
    values = column.to_list() if hasattr(column, "to_list") else column.tolist()
    place = {value: i for i, value in enumerate(dict.fromkeys(values))}
    places = np.fromiter(map(place.__getitem__, values), dtype=np.int64, count=len(values))
    return [None if is_missing(value) else as_level(value) for value in place], places


def levels_by_weight(distinct: Sequence[str | None], places: np.ndarray, weight: np.ndarray | None) -> list[str]:
    """The levels that rows have, the most frequent first; a row of weight k counts as k rows."""
    weights = np.bincount(places % len(distinct), weight, minlength=len(distinct))
    total: dict[str, float] = {}
    for level, its_weight in zip(distinct, weights, strict=True):
        if level is not None and its_weight:
            total[level] = total.get(level, 0) + its_weight
    return sorted(total, key=lambda level: (-total[level], level))


def level_codes(distinct: Sequence[str | None], levels: Sequence[str]) -> np.ndarray:
    """1, 2, ... for the known levels; 0 for what is missing or unknown."""
    code: dict[str | None, int] = {level: i + 1 for i, level in enumerate(levels)}
    return np.array([code.get(level, 0) for level in distinct], dtype=np.int64)

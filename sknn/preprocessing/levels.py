"""The levels of a category: what each is called, its code, and every way in which it is written."""

import contextlib
import functools
import numbers
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from sknn.utils.warnings import warn

MAX_LEVELS = 1000  # the most frequent; a rarer level counts as unknown
NUMBER_TYPES = (numbers.Real, np.bool_, Decimal)
MISSING_TYPES = ("NoneType", "NAType", "NaTType")
COMPLEX_TYPES = (complex, np.complexfloating)
BOOLS = {"True": True, "False": False, "true": True, "false": False}  # as Python writes them, and as JSON and polars do

# The columns of each encoder of which `warn_of_unseen` has told, which is no part of what the encoder has learned.
TOLD_OF: WeakKeyDictionary[Any, set] = WeakKeyDictionary()


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


def known_levels(
    distinct: Sequence[str | None], places: np.ndarray, weight: np.ndarray | None, column: Any
) -> list[str]:
    """The levels that rows have, sorted; the most frequent, if they are many.  A row of weight k counts as k rows."""
    weights = np.bincount(places % len(distinct), weight, minlength=len(distinct))
    total: dict[str, float] = {}
    for level, its_weight in zip(distinct, weights, strict=True):
        if level is not None and its_weight:
            total[level] = total.get(level, 0) + its_weight
    if len(total) > MAX_LEVELS:
        warn(
            f"Column {column!r} has {len(total)} levels, of which the {MAX_LEVELS} most frequent are kept; the others "
            "count as unknown. Drop the column if it only tells rows apart, or group its levels before."
        )
    return sorted(sorted(total, key=lambda level: (-total[level], level))[:MAX_LEVELS])


def spellings(levels: Sequence[str]) -> dict[str, int]:
    """Every way in which the levels are written, and the code (1, 2, ...) of the one that is meant.

    A level that is called like a number is written as each type writes that number.  Where two levels are the same
    number, what either might be called belongs to neither; but a level's own name is always its own.

    >>> spellings(["7.0", "b"])
    {'7': 1, '7.0': 1, 'b': 2}
    """
    own = {level: code for code, level in enumerate(levels, 1)}
    shared: dict[str, int] = {}
    for level, code in own.items():
        for spelling in written_forms(level):
            shared[spelling] = code if spelling not in shared else 0
    return {spelling: code for spelling, code in shared.items() if code} | own


@functools.lru_cache(maxsize=1 << 16)  # a prediction of a row with an unseen level asks for each of the known ones
def written_forms(level: str) -> tuple[str, ...]:
    """How int, float and bool write the number that is called so; nothing for what none of them writes.

    >>> written_forms("1.0")
    ('1', '1.0', 'True', 'true')
    >>> written_forms("1.50")
    ()
    """
    number = _number_called(level)
    equal = [kind(number) for kind in (int, float, bool) if _can_be(kind, number)]
    forms = [text for value in equal for text in (as_level(value), str(value), str(value).lower())]
    return tuple(dict.fromkeys(forms)) if level in forms else ()


def _number_called(level: str) -> Any:
    if level in BOOLS:
        return BOOLS[level]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(level)
    return None


def _can_be(kind: type, number: Any) -> bool:
    """Whether the type has just this number."""
    try:
        return number is not None and kind(number) == number
    except (OverflowError, ValueError):  # of infinity and NaN, which are no ints; and of ints that are no floats
        return False


def level_codes(distinct: Sequence[str | None], levels: Sequence[str]) -> np.ndarray:
    """1, 2, ... for the known levels; 0 for what is missing or unknown."""
    code: dict[Any, int] = {level: i + 1 for i, level in enumerate(levels)}
    if any(level is not None and level not in code for level in distinct):
        code |= spellings(levels)
    return np.array([code.get(level, 0) for level in distinct], dtype=np.int64)


def warn_of_unseen(
    encoder: Any, column: Any, distinct: Sequence[str | None], places: np.ndarray, levels: Sequence[str]
) -> None:
    """Warn, once for an encoder's column, that all of its values are new: its type may differ from that of the fit."""
    told_of = TOLD_OF.setdefault(encoder, set())
    values = [] if column in told_of else np.array(distinct, dtype=object)[places]
    values = [value for value in values if value is not None]
    if len(values) < 2:  # of one row there is nothing to conclude
        return
    told_of.add(column)
    warn(
        f"Column {column!r} holds no level that was seen in fit: its values, such as {_some_of(values)}, count as "
        f"unknown, and the levels are called {_some_of(levels)}. Give the column the type and the spelling that it had "
        "in fit."
    )


def _some_of(values: Sequence[str]) -> str:
    """
    >>> _some_of(["a", "b", "a", "c"]), _some_of(["a", "b"])
    ("'a', 'b' and others", "'a' and 'b'")
    """
    first = [repr(value) for value in dict.fromkeys(values)]
    return f"{', '.join(first[:2])} and others" if len(first) > 2 else " and ".join(first)

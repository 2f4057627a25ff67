"""The levels of a category: their names, their codes, and the other ways to write them."""

import contextlib
import functools
import numbers
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from sknn.utils.warnings import warn

MAX_LEVELS = 1000  # the most frequent ones; a rarer level counts as unknown
NUMBER_TYPES = (numbers.Real, np.bool_, Decimal)
MISSING_TYPES = ("NoneType", "NAType", "NaTType")
COMPLEX_TYPES = (complex, np.complexfloating)
BOOLS = {"True": True, "False": False, "true": True, "false": False}  # as Python writes them, and as JSON and polars do

# For each encoder, the columns that `warn_of_unseen_levels` has warned of. They are not part of the encoder's state.
WARNED_COLUMNS: WeakKeyDictionary[Any, set] = WeakKeyDictionary()


def is_missing(value: Any) -> bool:
    """Return whether a value is None, NaN, or pandas' NA or NaT."""
    if isinstance(value, NUMBER_TYPES):
        return bool(value != value)
    return type(value).__name__ in MISSING_TYPES


def as_level(value: Any) -> str:
    """Return the name of a value's level: the same for 3, 3.0 and "3".

    So a missing value, which turns a column of ints into floats, does not change the names of the other levels. For the
    same reason True is "1": a column of bools with missing values may hold floats.
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
    """Return the levels in a column, and for each row the index of its level.

    None stands for missing. A level that occurs in several types may be listed more than once.

    >>> distinct_levels(np.array(["b", None, 3, 3.0], dtype=object))
    (['b', None, '3'], array([0, 1, 2, 2]))
    """
    if hasattr(column, "factorize"):  # pandas; the index of a missing value is -1, the last one
        indices, values = column.factorize()
        return [*map(as_level, values), None], indices
    values = column.to_list() if hasattr(column, "to_list") else column.tolist()
    index = {value: i for i, value in enumerate(dict.fromkeys(values))}
    indices = np.fromiter(map(index.__getitem__, values), dtype=np.int64, count=len(values))
    return [None if is_missing(value) else as_level(value) for value in index], indices


def select_levels(
    distinct: Sequence[str | None], indices: np.ndarray, weight: np.ndarray | None, column: Any
) -> list[str]:
    """Return the levels of a column, sorted: the `MAX_LEVELS` most frequent. A row of weight k counts as k rows."""
    weights = np.bincount(indices % len(distinct), weight, minlength=len(distinct))
    total: dict[str, float] = {}
    for level, level_weight in zip(distinct, weights, strict=True):
        if level is not None and level_weight:
            total[level] = total.get(level, 0) + level_weight
    if len(total) > MAX_LEVELS:
        warn(
            f"Column {column!r} has {len(total)} levels, of which the {MAX_LEVELS} most frequent are kept; the others "
            "count as unknown. Drop the column if it only identifies rows, or group its levels before."
        )
    return sorted(sorted(total, key=lambda level: (-total[level], level))[:MAX_LEVELS])


def level_codes(distinct: Sequence[str | None], levels: Sequence[str]) -> np.ndarray:
    """Return the codes of levels: 1, 2, ... for the known levels, 0 for missing and unknown ones."""
    codes: dict[Any, int] = {level: i + 1 for i, level in enumerate(levels)}
    if any(level is not None and level not in codes for level in distinct):
        codes |= codes_by_alias(levels)
    return np.array([codes.get(level, 0) for level in distinct], dtype=np.int64)


def codes_by_alias(levels: Sequence[str]) -> dict[str, int]:
    """Map each way to write one of the levels to its code (1, 2, ...).

    If a level is a number, every text that an int, a float or a bool of this value gives stands for it. If two levels
    are the same number, these ways are ambiguous and left out, but each level keeps its own name.

    >>> codes_by_alias(["7.0", "b"])
    {'7': 1, '7.0': 1, 'b': 2}
    """
    codes = {level: code for code, level in enumerate(levels, 1)}
    aliases: dict[str, int] = {}
    for level, code in codes.items():
        for alias in number_aliases(level):
            aliases[alias] = code if alias not in aliases else 0
    return {alias: code for alias, code in aliases.items() if code} | codes


@functools.lru_cache(maxsize=1 << 16)  # predicting a row with an unseen level calls this for every known level
def number_aliases(level: str) -> tuple[str, ...]:
    """Return all ways in which int, float and bool write the number that a level is; () if none of them writes it so.

    >>> number_aliases("1.0")
    ('1', '1.0', 'True', 'true')
    >>> number_aliases("1.50")
    ()
    """
    number = _parse_number(level)
    equal = [cls(number) for cls in (int, float, bool) if _converts_exactly(number, cls)]
    aliases = [text for value in equal for text in (as_level(value), str(value), str(value).lower())]
    return tuple(dict.fromkeys(aliases)) if level in aliases else ()


def _parse_number(level: str) -> Any:
    if level in BOOLS:
        return BOOLS[level]
    for cls in (int, float):
        with contextlib.suppress(ValueError):
            return cls(level)
    return None


def _converts_exactly(number: Any, cls: type) -> bool:
    try:
        return number is not None and cls(number) == number
    except (OverflowError, ValueError):  # int(inf), int(nan), and float of a huge int
        return False


def warn_of_unseen_levels(
    encoder: Any, column: Any, distinct: Sequence[str | None], indices: np.ndarray, levels: Sequence[str]
) -> None:
    """Warn, once for each column of an encoder, that all values are new: the type may differ from that of the fit."""
    warned = WARNED_COLUMNS.setdefault(encoder, set())
    values = [] if column in warned else np.array(distinct, dtype=object)[indices]
    values = [value for value in values if value is not None]
    if len(values) < 2:  # a single row is no evidence
        return
    warned.add(column)
    warn(
        f"Column {column!r} holds no level that was seen in fit: its values, such as {_first_two(values)}, count as "
        f"unknown, and the levels are called {_first_two(levels)}. Give the column the type and the spelling that it "
        "had in fit."
    )


def _first_two(values: Sequence[str]) -> str:
    """
    >>> _first_two(["a", "b", "a", "c"]), _first_two(["a", "b"])
    ("'a', 'b' and others", "'a' and 'b'")
    """
    distinct = [repr(value) for value in dict.fromkeys(values)]
    return f"{', '.join(distinct[:2])} and others" if len(distinct) > 2 else " and ".join(distinct)

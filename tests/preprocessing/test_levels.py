"""Levels have the same name and code in every type."""

import decimal
import enum

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sknn.preprocessing.levels import as_level, codes_by_alias, level_codes

quick = settings(max_examples=300, deadline=None, derandomize=True)
NUMBERS = st.one_of(
    st.integers(-3, 12),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats().map(lambda x: x + 0.0),
    st.sampled_from([1e16, 2.5]),
)
WORDS = st.sampled_from(["True", "true", "False", "7.0", "1.0", "1", "007", "1e5", "a", "", "nan", "inf", "٧"])
LEVELS = st.lists(st.one_of(NUMBERS, WORDS).filter(lambda value: value == value).map(as_level), unique=True)


def number_of(level):
    """Return the number that a level is, if int, float or bool write it so, else None."""
    if level in ("007", "1e5", "٧"):
        return None
    if level.lower() in ("true", "false"):
        return level.lower() == "true"
    try:
        return float(level) if any(c in level for c in ".einf") else int(level)
    except ValueError:
        return None


class Color(str, enum.Enum):  # noqa: UP042 (its str() is "Color.red", that of a StrEnum is "r")
    red = "r"


@pytest.mark.parametrize(
    ("values", "level"),
    [
        ([3, 3.0, "3", np.int8(3), np.float32(3), decimal.Decimal("3.00")], "3"),
        ([True, 1, 1.0, np.True_, "1"], "1"),
        ([0.5, np.float64(0.5), decimal.Decimal("0.50"), "0.5"], "0.5"),
        (["r", np.str_("r"), Color.red], "r"),
        ([2**60 + 1, str(2**60 + 1)], "1152921504606846977"),
        ([("a", 1)], "('a', 1)"),
    ],
)
def test_a_level_has_the_same_name_in_every_type(values, level):
    assert [as_level(value) for value in values] == [level] * len(values)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (["7"], {"7": 1, "7.0": 1}),
        (["7.0", "8.0"], {"7.0": 1, "7": 1, "8.0": 2, "8": 2}),
        (["7", "7.0"], {"7": 1, "7.0": 2}),
        (["0.5", "b"], {"0.5": 1, "b": 2}),
        (["False", "True"], {"False": 1, "false": 1, "0": 1, "0.0": 1, "True": 2, "true": 2, "1": 2, "1.0": 2}),
        (["0", "1"], {"0": 1, "0.0": 1, "False": 1, "false": 1, "1": 2, "1.0": 2, "True": 2, "true": 2}),
        (["1.0", "True"], {"1.0": 1, "True": 2}),  # "1" and "true" are ambiguous
        (["1", "1.0", "True"], {"1": 1, "1.0": 2, "True": 3}),
        (["007", "1e5", "0.50", " 7", "1_0", "٧"], {"007": 1, "1e5": 2, "0.50": 3, " 7": 4, "1_0": 5, "٧": 6}),
        ([str(10**16)], {str(10**16): 1, "1e+16": 1}),
        (["1e+16"], {str(10**16): 1, "1e+16": 1}),
        ([str(2**53 + 1), str(10**400)], {str(2**53 + 1): 1, str(10**400): 2}),  # not exact as floats
        (["a", "nan", ""], {"a": 1, "nan": 2, "": 3}),
        ([], {}),
    ],
    ids=str,
)
def test_a_level_that_is_a_number_has_the_aliases_of_each_type(levels, expected):
    assert codes_by_alias(levels) == expected


@given(LEVELS)
@quick
@example(["1.0", "True"])
@example(["1", "1.0", "true", "True"])
def test_a_level_keeps_its_name_and_shares_no_alias(levels):
    table = codes_by_alias(levels)
    assert [table[level] for level in levels] == list(range(1, len(levels) + 1))
    for alias, code in table.items():
        if alias not in levels:  # no other level is the same number
            number = number_of(alias)
            assert [i + 1 for i, level in enumerate(levels) if number_of(level) == number] == [code]


@given(LEVELS, st.one_of(NUMBERS.filter(lambda value: abs(value) < np.inf)))
@quick
def test_a_number_has_the_same_code_in_every_type(levels, number):
    """Except if several levels are that number, and none has the name that is looked up."""
    same = [i + 1 for i, level in enumerate(levels) if number_of(level) == number]
    kinds = [kind for kind in (int, float, bool) if equals(kind, number)]
    for written in [kind(number) for kind in kinds] + [str(kind(number)) for kind in kinds]:
        name = as_level(written)
        if name in levels:
            assert level_codes([name], levels) == levels.index(name) + 1
        else:
            assert level_codes([name], levels) == (same[0] if len(same) == 1 else 0)


def equals(kind, number):
    try:
        return kind(number) == number
    except OverflowError:
        return False


def test_missing_and_unknown_levels_have_code_0():
    assert level_codes(["b", None, "z", "7.0", "a"], ["7", "a", "b"]).tolist() == [3, 0, 0, 1, 2]

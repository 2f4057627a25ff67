"""One level, whatever the type that its values come in."""

import decimal
import enum

import numpy as np
import pytest

from sknn._levels import as_level


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
def test_one_level_has_one_name_whatever_its_type(values, level):
    assert [as_level(value) for value in values] == [level] * len(values)

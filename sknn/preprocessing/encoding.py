"""The encoding plan: which encoded columns each table column becomes. Encoders in numpy, torch and ONNX follow it.

For columns age (with missing values in the fit), income, member (2 levels), grade (3 levels) and city (50 levels)::

    Encoded.numeric:  age  income | age is missing | member | grade is a  grade is b  grade is c
    Encoded.codes:    city
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sknn.preprocessing.scaling import ColumnScaler

# By number of levels: the values of a category that needs one column only, by code.
SINGLE_COLUMN_VALUES = {0: [0], 1: [0, 1], 2: [0, 1, -1]}


@dataclass(frozen=True)
class Category:
    """A categorical column. Its codes are 0 for missing or unknown and 1, 2, ... for the levels.

    An embedded category is a column of codes. Any other category is one column, ``values[code]``, or one column per
    level, ``code == level_codes``.

    Attributes
    ----------
    index : int
        The index of the column in the table.
    levels : list of str
        The levels, in the order of their codes.
    is_embedded : bool
    start : int
        The first of its columns in `Encoded.numeric`. If embedded: the row of the embedding's weight for its code 0.
    """

    index: int
    levels: list[str]
    is_embedded: bool
    start: int

    @property
    def values(self) -> np.ndarray | None:
        """The values by code if a single column is enough, else None."""
        values = SINGLE_COLUMN_VALUES.get(len(self.levels))
        return None if values is None else np.array(values)

    @property
    def level_codes(self) -> np.ndarray:
        return np.arange(1, len(self.levels) + 1)

    @property
    def width(self) -> int:
        """Number of columns if not embedded."""
        return 1 if len(self.levels) in SINGLE_COLUMN_VALUES else len(self.levels)

    @property
    def columns(self) -> slice:
        """The columns in `Encoded.numeric` if not embedded."""
        return slice(self.start, self.start + self.width)


@dataclass(frozen=True)
class EncodingPlan:
    """A description of the columns that a fitted `FeatureEncoder` makes.

    Attributes
    ----------
    numeric : ndarray of int
        Indices of the numeric columns, which come first in `Encoded.numeric`, in this order.
    scaler : ColumnScaler
        The scaler of the numeric columns.
    missing : ndarray of int
        Positions in `numeric` of the columns that have an indicator of missing values. Indicators follow the numeric
        columns.
    categories : list of Category
        In the order of the table. The columns of one-hot categories come last.
    n_numeric : int
        Columns of `Encoded.numeric`.
    """

    numeric: np.ndarray
    scaler: ColumnScaler
    missing: np.ndarray
    categories: list[Category]
    n_numeric: int

    @property
    def one_hot(self) -> list[Category]:
        return [category for category in self.categories if not category.is_embedded]

    @property
    def embedded(self) -> list[Category]:
        return [category for category in self.categories if category.is_embedded]


def plan_encoding(
    numeric: np.ndarray, scaler: ColumnScaler, missing: np.ndarray, levels: Iterable[tuple], max_one_hot: float
) -> EncodingPlan:
    """Assign columns to the categories, which `levels` gives as pairs (index, level names).

    A category with more than `max_one_hot` levels is embedded.
    """
    categories, start, first_row = [], len(numeric) + len(missing), 0
    for index, level_names in levels:
        is_embedded = len(level_names) > max_one_hot
        categories.append(Category(index, level_names, is_embedded, first_row if is_embedded else start))
        if is_embedded:
            first_row += len(level_names) + 1
        else:
            start += categories[-1].width
    return EncodingPlan(numeric, scaler, missing, categories, start)

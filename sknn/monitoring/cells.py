"""The cells of a column, in which rows are counted: the bins of numbers, the levels of a category, missing values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from sknn.monitoring.tables import levels, numbers
from sknn.preprocessing.levels import codes_by_alias

PARTS = ("columns", "predictions", "spread")  # of a reference
MISSING, UNSEEN, OTHER = "missing", "unseen", "other"


class NumberCells:
    """The bins between ordered edges, and missing values.

    A bin holds the lower of its edges and not the upper one. An edge that is given twice is a bin of this value alone.

    >>> cells = NumberCells([0, 0, 2.5])
    >>> cells.names
    ['-inf..0', '0', '0..2.5', '2.5..inf', 'missing']
    >>> cells.count(np.array([0, 0, 1, 2.5, np.inf, np.nan]), "size").tolist()
    [0, 2, 1, 2, 1]
    """

    def __init__(self, edges: Sequence[float]) -> None:
        self.names = [*_bin_names(edges), MISSING]
        self._edges = np.array(edges, dtype=np.float64)
        is_repeated = np.diff(self._edges, prepend=np.nan) == 0
        with np.errstate(over="ignore"):  # infinity follows the largest number
            self._edges[is_repeated] = np.nextafter(self._edges[is_repeated], np.inf)

    def count(self, column: Any, name: str) -> np.ndarray:
        """Return the number of rows in each cell."""
        return np.bincount(self.indices(numbers(column, name)), minlength=len(self.names))

    def indices(self, values: np.ndarray) -> np.ndarray:
        """Return the index of each number's cell."""
        indices = np.searchsorted(self._edges, values, side="right")
        indices[np.isnan(values)] = len(self._edges) + 1
        return indices


class CategoryCells:
    """The listed levels of a category, missing values, and all other levels.

    These are "unseen", unless the reference has more levels than it lists: then they are "other", because it does not
    tell whether it has seen them. A level that has the name of one of these cells gets an underscore.

    >>> cells = CategoryCells(["Oslo", "Rome"], is_complete=True)
    >>> cells.names
    ['Oslo', 'Rome', 'missing', 'unseen']
    >>> cells.count(np.array(["Rome", None, "Bern", "Rome"], dtype=object), "city").tolist()
    [0, 2, 1, 1]
    """

    def __init__(self, listed: Sequence[str], is_complete: bool) -> None:
        rest = UNSEEN if is_complete else OTHER
        self.names = [_level_name(level, (MISSING, rest), listed) for level in listed] + [MISSING, rest]
        self._codes = codes_by_alias(listed)
        self._n_levels = len(listed)

    def count(self, column: Any, name: str) -> np.ndarray:
        """Return the number of rows in each cell."""
        distinct, indices = levels(column, name)
        counts = np.zeros(len(self.names), dtype=np.int64)
        if len(indices):
            rows = np.bincount(indices % len(distinct), minlength=len(distinct))  # the index of missing may be -1
            np.add.at(counts, [self._cell(level) for level in distinct], rows)
        return counts

    def _cell(self, level: str | None) -> int:
        if not level:
            return self._n_levels
        return self._codes.get(level, self._n_levels + 2) - 1


@dataclass(frozen=True)
class MonitoredColumn:
    """A column of a reference: its description, its cells, and the share of the reference's rows in each."""

    part: str
    description: Mapping[str, Any]
    cells: NumberCells | CategoryCells
    shares: np.ndarray

    @property
    def name(self) -> str:
        return self.description["name"]

    @property
    def kind(self) -> str:
        return self.description["kind"]

    @property
    def cell_names(self) -> list[str]:
        return self.cells.names

    @property
    def positions(self) -> np.ndarray | None:
        """Where the values of each bin are, in standard deviations from the mean; None if there are no such."""
        if not self.description.get("std"):
            return None
        mean, std, centres = (np.array(self.description[key]) / 2 for key in ("mean", "std", "centres"))
        with np.errstate(over="ignore"):  # halves, since the difference of the largest floats overflows
            return (centres - mean) / std

    def count(self, values: Any) -> np.ndarray:
        """Return the number of rows in each cell."""
        return self.cells.count(values, self.name)

    def by_cell(self, values: np.ndarray) -> dict[str, Any]:
        """Return values, one for each cell, by the names of the cells."""
        return dict(zip(self.cell_names, values.tolist(), strict=True))


def monitored_columns(reference: Mapping[str, Any]) -> dict[str, MonitoredColumn]:
    """Return the columns that a reference describes: those of the table, the predictions and the spread."""
    return {
        d["name"]: MonitoredColumn(part, d, *READERS[d["kind"]](d)) for part in PARTS for d in reference.get(part, ())
    }


def _read_numbers(description: Mapping[str, Any]) -> tuple[NumberCells, np.ndarray]:
    return NumberCells(description["edges"]), np.array([*description["shares"], description["missing"]])


def _read_category(description: Mapping[str, Any]) -> tuple[CategoryCells, np.ndarray]:
    # Sorted, since equal references may list equally frequent levels in another order.
    listed = sorted(description["levels"].items(), key=lambda item: (-item[1], item[0]))
    cells = CategoryCells([level for level, _ in listed], is_complete=len(listed) == description["n_levels"])
    return cells, np.array([*(share for _, share in listed), description["missing"], description["other"]])


READERS: dict[str, Callable[[Mapping[str, Any]], tuple[Any, np.ndarray]]] = {
    "number": _read_numbers,
    "category": _read_category,
}


def _bin_names(edges: Sequence[float]) -> list[str]:
    """Return the names of bins, with as few digits as tell the edges apart.

    >>> _bin_names([1 / 3, 21234.0]), _bin_names([1000001, 1000002])
    (['-inf..0.333', '0.333..21200', '21200..inf'], ['-inf..1000001', '1000001..1000002', '1000002..inf'])
    """
    for digits in range(3, 18):  # 17 digits tell all numbers apart
        texts = [_number_text(edge, digits) for edge in edges]
        if len(set(texts)) == len(set(edges)):
            break
    ends = ["-inf", *texts, "inf"]
    return [low if low == high else f"{low}..{high}" for low, high in pairwise(ends)]


def _number_text(number: float, digits: int) -> str:
    """Return a number with some significant digits, and without an exponent unless it is very large or small."""
    text = f"{number:.{digits}g}"
    return f"{float(text):.0f}" if "e+" in text and abs(number) < 1e9 else text


def _level_name(level: str, taken: Sequence[str], listed: Sequence[str]) -> str:
    """
    >>> _level_name("other", ["missing", "other"], ["other", "other_"])
    'other__'
    """
    if level not in taken:
        return level
    name = f"{level}_"
    return _level_name(name, [*taken, *listed], listed)

"""Say in words what has changed in a column."""

from collections.abc import Mapping

import numpy as np

from sknn.monitoring.cells import MISSING, OTHER, UNSEEN, MonitoredColumn

MIN_SHIFT = 0.1  # standard deviations that are worth a word
MIN_CHANGE = 0.02  # of the share of a level
MIN_MISSING = 0.01  # of the share of missing or unseen values
N_LEVELS = 2  # of a category that are named
SPECIAL = {MISSING: "missing", UNSEEN: "unseen levels", OTHER: "rare or unseen levels"}


def describe_changes(column: MonitoredColumn, shares: np.ndarray) -> list[str]:
    """Return what has changed, the most important first; nothing if the changes are small."""
    before, now = column.by_cell(column.shares), column.by_cell(shares)
    sizes = {cell: abs(now[cell] - before[cell]) for cell in now}
    special = [cell for cell in SPECIAL if sizes.get(cell, 0) >= MIN_MISSING]
    levels = [] if column.kind == "number" else _changed_levels(sizes)
    cells = sorted(special + levels, key=lambda cell: -sizes[cell])
    words = [f"{SPECIAL.get(cell, cell)} {percent(before[cell])} → {percent(now[cell])}" for cell in cells]
    return _changes_of_numbers(column, shares) + words if column.kind == "number" else words


def percent(share: float) -> str:
    """
    >>> percent(0.1234), percent(0.004), percent(0), percent(1)
    ('12 %', '0.4 %', '0 %', '100 %')
    """
    digits = 1 if 0 < share < 0.0995 else 0
    return f"{100 * share:.{digits}f} %"


def _changes_of_numbers(column: MonitoredColumn, shares: np.ndarray) -> list[str]:
    """Return whether numbers are higher or lower, or are spread out more or less."""
    positions = column.positions
    p, q = column.shares[:-1], shares[:-1]  # without missing values
    if positions is None or not q.any():
        return []
    p, q = p / p.sum(), q / q.sum()
    shift = float(((q - p) * positions).sum())
    if abs(shift) >= MIN_SHIFT:
        return [f"{'higher' if shift > 0 else 'lower'} by {abs(shift):.1f} standard deviations"]
    width = np.sqrt((q * (positions - q @ positions) ** 2).sum()) - np.sqrt(
        (p * (positions - p @ positions) ** 2).sum()
    )
    return [f"{'more' if width > 0 else 'less'} spread out"] if abs(width) >= MIN_SHIFT else []


def _changed_levels(sizes: Mapping[str, float]) -> list[str]:
    """Return the levels whose shares have changed most."""
    levels = sorted((cell for cell in sizes if cell not in SPECIAL), key=lambda cell: -sizes[cell])
    return [cell for cell in levels[:N_LEVELS] if sizes[cell] >= MIN_CHANGE]

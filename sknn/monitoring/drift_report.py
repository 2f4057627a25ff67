"""`DriftReport`: how far the counted rows are from those of the reference, column by column."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sknn.monitoring.cells import MISSING, UNSEEN, MonitoredColumn
from sknn.monitoring.changes import describe_changes
from sknn.monitoring.statistics import (
    CORRECTIONS,
    chi_squared,
    jensen_shannon,
    kolmogorov_smirnov,
    population_stability_index,
    wasserstein,
)
from sknn.utils.text import align

# The usual limits of the PSI: below 0.1 little has changed, from 0.25 on much (Siddiqi, Credit Risk Scorecards, 2006).
SOME_DRIFT, MUCH_DRIFT = 0.1, 0.25


@dataclass(frozen=True)
class ColumnDrift:
    """How far a column is from the reference.

    Attributes
    ----------
    name : str
    part : {"columns", "predictions", "spread"}
        Whether it is a column of the table, or one of the model's predictions, or of the spread of its members.
    kind : {"number", "category"}
    n_rows : int
        The counted rows.
    psi : float
        The population stability index over all cells: less than 0.1 is little, 0.25 is much. A cell that is empty in
        the reference counts as half a row there, and the counted rows get one more row that is spread as the reference,
        since the index is infinite otherwise.
    jensen_shannon : float
        The Jensen-Shannon distance to base 2, from 0 to 1.
    kolmogorov_smirnov : float or None
        The largest difference of the cumulated shares of the bins; None for a category.
    wasserstein : float or None
        How far the values have moved, in standard deviations of the reference, if those of a bin lie at the mean that
        the reference has there; None for a category. Values far outside of the reference have moved further than that.
    missing, reference_missing : float
        The share of missing values.
    unseen : float or None
        The share of levels that the reference does not have; None for numbers.
    p_value : float
        Of the chi-squared test over all cells.
    p_adjusted : float
        The p-value, adjusted for the number of columns.
    drifted : bool
        Whether `p_adjusted` is at most alpha, and `psi` at least 0.1.
    changes : list of str
        What has changed, in words: "higher by 0.5 standard deviations", "Rome 10 % → 25 %", "missing 0 % → 4 %". Empty
        if `p_adjusted` is greater than alpha, since the changes may be chance then.
    shares : dict of str to list of two floats
        The share of the reference's and of the counted rows in each cell.
    """

    name: str
    part: str
    kind: str
    n_rows: int
    psi: float
    jensen_shannon: float
    kolmogorov_smirnov: float | None
    wasserstein: float | None
    missing: float
    reference_missing: float
    unseen: float | None
    p_value: float
    p_adjusted: float
    drifted: bool
    changes: list[str]
    shares: dict[str, list[float]]


@dataclass(frozen=True)
class DriftReport:
    """A comparison of counted rows with a reference.

    Attributes
    ----------
    columns : list of ColumnDrift
        Sorted by PSI, the largest first.
    n_rows, reference_rows : int
    alpha : float
    correction : str
    """

    columns: list[ColumnDrift]
    n_rows: int
    reference_rows: int
    alpha: float
    correction: str

    @property
    def drifted(self) -> list[str]:
        """The names of the columns that have drifted, the largest effect first."""
        return [column.name for column in self.columns if column.drifted]

    @property
    def verdict(self) -> str:
        """One sentence that says what has drifted."""
        if not self.n_rows:
            return "No rows yet."
        n, names = len(self.columns), self.drifted
        of_all = f"of {n} columns" if n > 1 else "column"
        if not names:
            return f"No drift: none {of_all} differs from the reference." if n > 1 else "No drift."
        return f"{len(names)} {of_all} {'has' if len(names) == 1 else 'have'} drifted: {', '.join(names)}."

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data for JSON.

        Returns
        -------
        dict
        """
        return asdict(self) | {"drifted": self.drifted, "verdict": self.verdict}

    def __str__(self) -> str:
        head = ["column", "kind", "PSI", "JS", "KS", "shift", "missing", "unseen", "p", ""]
        return "\n".join([self.verdict, *align([head, *map(_line, self.columns)], 2)])


def compare(
    columns: Sequence[tuple[MonitoredColumn, np.ndarray]],
    n_rows: int,
    reference_rows: int,
    alpha: float,
    correction: str,
) -> DriftReport:
    """Return the report on columns, given the number of rows that were counted in each of their cells."""
    if correction not in CORRECTIONS:
        raise ValueError(f"correction={correction!r} has to be one of {list(CORRECTIONS)}.")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha!r} has to be between 0 and 1.")
    references = [np.rint(column.shares * reference_rows) for column, _ in columns]
    p_values = np.array([chi_squared(p, q)[2] for p, (_, q) in zip(references, columns, strict=True)])
    adjusted = CORRECTIONS[correction](p_values)
    drifts = [
        _column_drift(column, reference, counts, p_value, p_adjusted, alpha)
        for (column, counts), reference, p_value, p_adjusted in zip(
            columns, references, p_values.tolist(), adjusted.tolist(), strict=True
        )
    ]
    return DriftReport(sorted(drifts, key=lambda drift: -drift.psi), n_rows, reference_rows, alpha, correction)


def _column_drift(
    column: MonitoredColumn,
    reference: np.ndarray,
    counts: np.ndarray,
    p_value: float,
    p_adjusted: float,
    alpha: float,
) -> ColumnDrift:
    shares = counts / counts.sum() if counts.any() else column.shares  # without rows, no difference is known
    by_cell = column.by_cell(shares)
    psi = population_stability_index(*smoothed_shares(reference, counts))
    return ColumnDrift(
        name=column.name,
        part=column.part,
        kind=column.kind,
        n_rows=int(counts.sum()),
        psi=psi,
        jensen_shannon=jensen_shannon(column.shares, shares),
        **_effects_on_numbers(column, shares),
        missing=by_cell[MISSING],
        reference_missing=column.description["missing"],
        unseen=by_cell.get(UNSEEN),
        p_value=p_value,
        p_adjusted=p_adjusted,
        drifted=p_adjusted <= alpha and psi >= SOME_DRIFT,
        changes=describe_changes(column, shares) if p_adjusted <= alpha else [],
        shares=column.by_cell(np.stack([column.shares, shares], axis=1)),
    )


def smoothed_shares(reference: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares of cells without zeros, for which the PSI is infinite.

    A cell that is empty in the reference alone counts as half a row, and the counted rows get one more row, which is
    spread over the cells as the reference. So a PSI of few rows is near 0, and one of many rows is not changed.

    >>> p, q = smoothed_shares(np.array([3, 1]), np.array([3, 0]))
    >>> p.tolist(), q.tolist()
    ([0.75, 0.25], [0.9375, 0.0625])
    """
    p = np.where((reference > 0) | (counts > 0), np.maximum(reference, 0.5), 0)
    p = p / p.sum()
    return p, (counts + p) / (counts.sum() + 1)


def _effects_on_numbers(column: MonitoredColumn, shares: np.ndarray) -> dict[str, float | None]:
    """Return the effects that need an order of the cells, in the rows with a value."""
    effects: dict[str, float | None] = dict.fromkeys(("kolmogorov_smirnov", "wasserstein"))
    p, q = column.shares[:-1], shares[:-1]  # without missing values
    if column.kind == "category" or not p.any() or not q.any():
        return effects
    p, q = p / p.sum(), q / q.sum()
    effects["kolmogorov_smirnov"] = kolmogorov_smirnov(p, q)
    if column.positions is not None:
        effects["wasserstein"] = wasserstein(p, q, column.positions)
    return effects


def _line(drift: ColumnDrift) -> list[str]:
    """Return the cells of a column in the table."""
    numbers = (drift.psi, drift.jensen_shannon, drift.kolmogorov_smirnov, drift.wasserstein)
    shares = (drift.missing, drift.unseen)
    return [
        drift.name,
        drift.kind,
        *("" if value is None else f"{value:.3f}" for value in numbers),
        *("" if share is None else f"{share:.1%}".replace("%", " %") for share in shares),
        "< 0.001" if drift.p_adjusted < 0.001 else f"{drift.p_adjusted:.3f}",
        "drifted" if drift.drifted else "",
    ]

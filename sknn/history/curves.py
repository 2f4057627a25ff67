"""The curves in a training's records, for the displays and the HTML representation."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from sknn.history.kinds import MemberKind, group_members

PARTS = {"train": "training", "valid": "validation"}  # prefixes of records' names, and their labels
MINOR_PANELS = ("gap", "seconds", "rows_per_second")  # only drawn by name


@dataclass(frozen=True)
class Curve:
    """A recorded value over the epochs, with NaN for missing values.

    `mean` is the mean over members, (n_epochs,). `members` are the members' values until the end of their training,
    (n_epochs, n_members), or (n_epochs, 0) for a single member.
    """

    mean: np.ndarray
    members: np.ndarray


class TrainingCurves:
    """The curves of a training.

    Parameters
    ----------
    records : iterable of dict, or DataFrame
        A record per epoch, as in an estimator's `history_`, or its `history_frame()`.
    kinds : sequence of str, optional
        The kind of each member.
    weights : sequence of float, optional
        The weight of each member.

    Attributes
    ----------
    kinds : list of MemberKind
        The kinds if there are several, else empty.

    Raises
    ------
    TypeError
        If they are not records.
    ValueError
        If there are no records, no record has a training loss, or the number of kinds is not that of the members.
    """

    def __init__(
        self,
        records: Iterable[Mapping[str, Any]],
        kinds: Sequence[str] | None = None,
        weights: Sequence[float] | np.ndarray | None = None,
    ) -> None:
        self.records = _as_records(records)
        if not any(_is_number(record.get("train_loss")) for record in self.records):
            content = f"only {', '.join(self.records[0])}" if self.records else "they are empty"
            raise ValueError(
                f"records hold no 'train_loss', {content}. Pass the history_ of an estimator that was trained by fit "
                "or partial_fit."
            )
        counted = enumerate(self.records, 1)
        self.epochs = np.array([e if _is_number(e := record.get("epoch")) else i for i, record in counted])
        self.names = [name for name in _curve_names(self.records) if any(map(_is_number, self._column(name)))]
        self.n_members = max(1, *(len(_member_values(record, "train_loss")) for record in self.records))
        self._is_training = self._find_training_epochs()
        self.kinds = self._group_members(kinds, weights)

    def _group_members(
        self, kinds: Sequence[str] | None, weights: Sequence[float] | np.ndarray | None
    ) -> list[MemberKind]:
        """Return the kinds of the members if there are several, else an empty list."""
        if kinds is None:
            return []
        if len(kinds) != self.n_members:
            raise ValueError(f"kinds has {len(kinds)} entries, but the records are of {self.n_members} members")
        grouped = group_members(kinds, weights)
        return grouped if len(grouped) > 1 else []

    def _column(self, name: str) -> list[Any]:
        return [record.get(name) for record in self.records]

    def _member_column(self, name: str) -> np.ndarray:
        """Return the members' values, (n_epochs, n_members)."""
        values = np.full((len(self.records), self.n_members), np.nan)
        for row, record in zip(values, self.records, strict=True):
            recorded = _member_values(record, name)[: self.n_members]
            row[: len(recorded)] = recorded
        return values

    def _find_training_epochs(self) -> np.ndarray:
        """Return whether members were training, (n_epochs, n_members); records repeat a stopped one's last values."""
        changes = np.zeros((len(self.records), self.n_members), dtype=bool)
        for name in self.names:
            values = self._member_column(name)
            same = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
            changes[1:] |= ~same
        changes[0] = True
        return changes[::-1].cumsum(0)[::-1] > 0

    def curve(self, name: str) -> Curve:
        """Return the curve of a recorded value."""
        mean = _finite([value if _is_number(value) else np.nan for value in self._column(name)])
        if self.n_members == 1:
            return Curve(mean, np.empty((len(mean), 0)))
        members = _finite(self._member_column(name))
        mean = np.where(np.isnan(mean), _mean_of_finite(members), mean)
        return Curve(mean, np.where(self._is_training, members, np.nan))

    def mean_of(self, name: str, members: list[int]) -> np.ndarray:
        """Return the mean of some members, in which those that have stopped keep their last value."""
        return _mean_of_finite(_finite(self._member_column(name))[:, members])

    def panels(self) -> dict[str, list[str]]:
        """Return the panels and the curves in each, such as {'loss': ['train_loss', 'valid_loss'], ...}."""
        panels: dict[str, list[str]] = {"loss": []}
        for name in sorted(self.names, key=lambda name: part_of(name) is None):
            panels.setdefault(name if part_of(name) is None else name.partition("_")[2], []).append(name)
        return panels

    def main_panels(self) -> list[str]:
        """Return the panels of losses, metrics, learning rate and values that callbacks recorded."""
        return [panel for panel in self.panels() if panel not in MINOR_PANELS]

    def best_epochs(self, n_iter: int | None = None) -> list[int | None]:
        """Return the epoch, among the last `n_iter`, with each member's best validation result, or None without any.

        The best result is the largest 'valid_score' if it is recorded, else the smallest 'valid_loss'.
        """
        sign, name = (-1, "valid_score") if "valid_score" in self.names else (1, "valid_loss")
        curve = self.curve(name)
        values = curve.members if curve.members.shape[1] else curve.mean[:, None]
        losses = np.where(np.isnan(values), np.inf, sign * values)
        losses[: 0 if n_iter is None else max(0, len(losses) - n_iter)] = np.inf
        return [
            int(self.epochs[i]) if np.isfinite(column[i]) else None
            for i, column in zip(losses.argmin(0), losses.T, strict=True)
        ]

    def diagnoses(self) -> list[tuple[str, int, int]]:
        """Return (diagnosis, first epoch, last epoch) of each run of epochs with the same diagnosis."""
        runs: list[tuple[str, int, int]] = []
        previous = None
        for epoch, diagnosis in zip(self.epochs.tolist(), self._column("diagnosis"), strict=True):
            if isinstance(diagnosis, str):
                first = runs.pop()[1] if diagnosis == previous else epoch
                runs.append((diagnosis, first, epoch))
            previous = diagnosis
        return runs


def part_of(name: str) -> str | None:
    """Return 'train' or 'valid' for the name of a record of training or validation rows, else None."""
    part = name.partition("_")[0]
    return part if part in PARTS else None


def _curve_names(records: list[Mapping[str, Any]]) -> list[str]:
    """Return the names of records that may be a number in each epoch, in the order of their first record."""
    names = dict.fromkeys(name for record in records for name in record)
    return [name for name in names if name != "epoch" and not name.startswith("member_") and not name.endswith("_best")]


def _member_values(record: Mapping[str, Any], name: str) -> list[float]:
    """Return the members' values in a record; an empty list for a single member, or if pandas has filled in NaN."""
    values = record.get(f"member_{name}")
    return [v if _is_number(v) else np.nan for v in values] if isinstance(values, Sequence | np.ndarray) else []


def _as_records(records: Any) -> list[Mapping[str, Any]]:
    if hasattr(records, "to_dict"):  # a DataFrame, whose index may be the epochs
        records = records.reset_index().to_dict("records")
    listed = list(records) if isinstance(records, Iterable) else [records]
    if not all(isinstance(record, Mapping) for record in listed):
        raise TypeError(
            f"records={records!r} have to be a dict for each epoch, as in history_; use from_estimator to draw the "
            "training of an estimator."
        )
    return listed


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _finite(values: Any) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    return np.where(np.isfinite(values), values, np.nan)


def _mean_of_finite(members: np.ndarray) -> np.ndarray:
    """Return the mean in each epoch without members that diverged; NaN if all have."""
    count = np.isfinite(members).sum(1)
    mean = np.nansum(members / np.maximum(count, 1)[:, None], 1)
    return np.where(count > 0, mean, np.nan)

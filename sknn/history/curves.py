"""A training's records as curves: what the displays and the HTML representation draw."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

PARTS = {"train": "training", "valid": "validation"}  # how names of records begin, and what a reader calls it
NOT_DRAWN = ("gap", "seconds", "rows_per_second")  # unless they are asked for


@dataclass(frozen=True)
class Curve:
    """A recorded number over the epochs; NaN where there is none.

    `mean` is over members, (n_epochs,); `members` holds each one's own until its training ended, (n_epochs, n_members),
    with no member where there is one only.
    """

    mean: np.ndarray
    members: np.ndarray


class TrainingCurves:
    """The curves of a training.

    Parameters
    ----------
    records : iterable of dict, or DataFrame
        A record per epoch, as in an estimator's `history_`, or its `history_frame()`.

    Raises
    ------
    TypeError
        If they are no records.
    ValueError
        If there is no record, or none of a training loss.
    """

    def __init__(self, records: Iterable[Mapping[str, Any]]) -> None:
        self.records = _as_records(records)
        if not any(_is_number(record.get("train_loss")) for record in self.records):
            found = f"are {', '.join(self.records[0])}" if self.records else "is no epoch"
            raise ValueError(
                f"records hold no 'train_loss': there {found}. Pass the history_ of an estimator that was trained by "
                "fit or partial_fit."
            )
        counted = enumerate(self.records, 1)
        self.epochs = np.array([e if _is_number(e := record.get("epoch")) else i for i, record in counted])
        self.names = [name for name in _names_of(self.records) if any(map(_is_number, self._column(name)))]
        self.n_members = max(1, *(len(_members_in(record, "train_loss")) for record in self.records))
        self._running = self._epochs_of_members()

    def _column(self, name: str) -> list[Any]:
        return [record.get(name) for record in self.records]

    def _of_members(self, name: str) -> np.ndarray:
        """Each member's values, (n_epochs, n_members)."""
        values = np.full((len(self.records), self.n_members), np.nan)
        for row, record in zip(values, self.records, strict=True):
            own = _members_in(record, name)[: self.n_members]
            row[: len(own)] = own
        return values

    def _epochs_of_members(self) -> np.ndarray:
        """Whether a member was training, (n_epochs, n_members); one that has stopped keeps its last values."""
        changes = np.zeros((len(self.records), self.n_members), dtype=bool)
        for name in self.names:
            values = self._of_members(name)
            same = (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
            changes[1:] |= ~same
        changes[0] = True
        return changes[::-1].cumsum(0)[::-1] > 0

    def curve(self, name: str) -> Curve:
        """The curve of a recorded number."""
        mean = _finite([value if _is_number(value) else np.nan for value in self._column(name)])
        if self.n_members == 1:
            return Curve(mean, np.empty((len(mean), 0)))
        members = _finite(self._of_members(name))
        count = np.isfinite(members).sum(1)
        of_others = np.nansum(members / np.maximum(count, 1)[:, None], 1)  # where a member's training diverged
        return Curve(np.where(np.isnan(mean) & (count > 0), of_others, mean), np.where(self._running, members, np.nan))

    def panels(self) -> dict[str, list[str]]:
        """What can be drawn, by its name, and the records it consists of: 'loss' of 'train_loss' and 'valid_loss'."""
        panels: dict[str, list[str]] = {"loss": []}
        for name in sorted(self.names, key=lambda name: part_of(name) is None):
            panels.setdefault(name if part_of(name) is None else name.partition("_")[2], []).append(name)
        return panels

    def main_panels(self) -> list[str]:
        """The panels that tell about the training: losses, metrics, learning rate and what callbacks recorded."""
        return [panel for panel in self.panels() if panel not in NOT_DRAWN]

    def best_epochs(self, n_iter: int | None = None) -> list[int | None]:
        """The epoch, of the last `n_iter`, in which each member was best on its validation rows; None without any.

        By 'valid_score', if that was watched, of which more is better; else by 'valid_loss'.
        """
        sign, name = (-1, "valid_score") if "valid_score" in self.names else (1, "valid_loss")
        curve = self.curve(name)
        each = curve.members if curve.members.shape[1] else curve.mean[:, None]
        watched = np.where(np.isnan(each), np.inf, sign * each)
        watched[: 0 if n_iter is None else max(0, len(watched) - n_iter)] = np.inf
        return [
            int(self.epochs[i]) if np.isfinite(column[i]) else None
            for i, column in zip(watched.argmin(0), watched.T, strict=True)
        ]

    def findings(self) -> list[tuple[str, int, int]]:
        """Each diagnosis with the first and the last epoch of a run of epochs that have it."""
        runs: list[tuple[str, int, int]] = []
        before = None
        for epoch, diagnosis in zip(self.epochs.tolist(), self._column("diagnosis"), strict=True):
            if isinstance(diagnosis, str):
                first = runs.pop()[1] if diagnosis == before else epoch
                runs.append((diagnosis, first, epoch))
            before = diagnosis
        return runs


def part_of(name: str) -> str | None:
    """Whether a record is of the training ('train') or of the validation rows ('valid'), or of neither."""
    part = name.partition("_")[0]
    return part if part in PARTS else None


def _names_of(records: list[Mapping[str, Any]]) -> list[str]:
    """Names of what may be a number per epoch, in the order in which they were recorded."""
    names = dict.fromkeys(name for record in records for name in record)
    return [name for name in names if name != "epoch" and not name.startswith("member_") and not name.endswith("_best")]


def _members_in(record: Mapping[str, Any], name: str) -> list[float]:
    """What a record holds of each member: nothing for a single one, nor where a frame has filled a gap with NaN."""
    values = record.get(f"member_{name}")
    return [v if _is_number(v) else np.nan for v in values] if isinstance(values, Sequence | np.ndarray) else []


def _as_records(records: Any) -> list[Mapping[str, Any]]:
    if hasattr(records, "to_dict"):  # a frame, whose index may be the epochs
        records = records.reset_index().to_dict("records")
    listed = list(records) if isinstance(records, Iterable) else [records]
    if not all(isinstance(record, Mapping) for record in listed):
        raise TypeError(
            f"records={records!r} have to be a dict for each epoch, as in history_; of an estimator draw them by "
            "from_estimator."
        )
    return listed


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _finite(values: Any) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    return np.where(np.isfinite(values), values, np.nan)

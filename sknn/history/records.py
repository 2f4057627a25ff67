"""The records of a training: one for each epoch, as a list or as a table."""

from collections.abc import Sequence
from typing import Any

from sknn.history.diagnosis import diagnose

NOT_SHOWN = ("batches", "rows", "dur", "train_batch_count", "valid_batch_count")
FIRST = ("network", "epoch", "train_loss", "valid_loss", "gap", "valid_score")
LAST = ("gradient_norm", "learning_rate", "seconds", "rows_per_second")


def records_of(history: Sequence[dict[str, Any]], members: dict[int, dict[str, list[float]]]) -> list[dict[str, Any]]:
    """The epochs of a net's history in our names, with what each shows.

    Parameters
    ----------
    history : sequence of dict
        The skorch history.
    members : dict of int to dict
        Of each epoch, counted from 1, the members' own numbers.
    """
    records = [record_of(row) | members.get(epoch, {}) for epoch, row in enumerate(history, 1)]
    return [record | {"diagnosis": finding} for record, finding in zip(records, diagnose(records), strict=True)]


def record_of(row: dict[str, Any]) -> dict[str, Any]:
    """An epoch of skorch's history in our names."""
    record = {name: value for name, value in row.items() if name not in NOT_SHOWN and not name.endswith("_loss_best")}
    if "dur" in row:
        record["seconds"] = row["dur"]
        record["rows_per_second"] = row["rows"] / row["dur"]
    if record.get("train_loss") and "valid_loss" in record:
        record["gap"] = record["valid_loss"] / record["train_loss"]
    names = [*FIRST, *(name for name in record if name not in FIRST + LAST), *LAST]
    return {name: record[name] for name in names if name in record}


def frame_of(records: Sequence[dict[str, Any]], members: bool = False) -> Any:
    """The records as a table: a row for each epoch or, with `members`, for each epoch and member."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("history_frame needs pandas; install it with: pip install 'sknn[pandas]'") from error
    own = [{name: value for name, value in record.items() if name.startswith("member_")} for record in records]
    means = pd.DataFrame([{k: v for k, v in r.items() if k not in o} for r, o in zip(records, own, strict=True)])
    if means.empty:
        return means
    means = means.set_index("epoch")
    if not members:
        return means
    if not any(own):
        return means.assign(member=0).set_index("member", append=True)
    parts = [pd.DataFrame({name.removeprefix("member_"): values for name, values in record.items()}) for record in own]
    return pd.concat(parts, keys=means.index, names=["epoch", "member"])

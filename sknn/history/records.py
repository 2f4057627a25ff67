"""The records of a training, one for each epoch, as a list or as a table."""

from collections.abc import Sequence
from typing import Any

from sknn.history.diagnosis import diagnose

OMITTED = ("batches", "rows", "dur", "train_batch_count", "valid_batch_count")
FIRST = ("network", "epoch", "train_loss", "valid_loss", "gap", "valid_score")
LAST = ("gradient_norm", "learning_rate", "seconds", "rows_per_second")


def make_records(history: Sequence[dict[str, Any]], members: dict[int, dict[str, list[float]]]) -> list[dict[str, Any]]:
    """Return the records of a training, with a diagnosis of each epoch.

    Parameters
    ----------
    history : sequence of dict
        The skorch history.
    members : dict of int to dict
        Values of each member, by epoch (from 1) and name.
    """
    records = [make_record(row) | members.get(epoch, {}) for epoch, row in enumerate(history, 1)]
    return [record | {"diagnosis": diagnosis} for record, diagnosis in zip(records, diagnose(records), strict=True)]


def make_record(row: dict[str, Any]) -> dict[str, Any]:
    """Return the record of an epoch in skorch's history."""
    record = {name: value for name, value in row.items() if name not in OMITTED and not name.endswith("_loss_best")}
    if "dur" in row:
        record["seconds"] = row["dur"]
        record["rows_per_second"] = row["rows"] / row["dur"]
    if record.get("train_loss") and "valid_loss" in record:
        record["gap"] = record["valid_loss"] / record["train_loss"]
    names = [*FIRST, *(name for name in record if name not in FIRST + LAST), *LAST]
    return {name: record[name] for name in names if name in record}


def make_frame(records: Sequence[dict[str, Any]], members: bool = False) -> Any:
    """Return the records as a DataFrame, with a row for each epoch or, with `members`, for each epoch and member."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("history_frame needs pandas; install it with: pip install 'sknn[pandas]'") from error
    by_member = [{name: value for name, value in record.items() if name.startswith("member_")} for record in records]
    means = pd.DataFrame(
        [{name: record[name] for name in record if not name.startswith("member_")} for record in records]
    )
    if means.empty:
        return means
    means = means.set_index("epoch")
    if not members:
        return means
    if not any(by_member):
        return means.assign(member=0).set_index("member", append=True)
    epochs = [pd.DataFrame({name.removeprefix("member_"): record[name] for name in record}) for record in by_member]
    return pd.concat(epochs, keys=means.index, names=["epoch", "member"])

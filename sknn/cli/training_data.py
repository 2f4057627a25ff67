"""Prepare a table for a training: its target and the task, warnings about its columns, and the test part."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from sknn.cli.tables import first_that_is_no_number
from sknn.utils.warnings import warn

CLASSIFICATION, REGRESSION = "classification", "regression"
MAX_CLASSES = 10  # whole numbers with more different values are amounts, not classes
ROWS_PER_CLASS = 5  # on average
MIN_ROWS = 10
MOSTLY = 0.9  # the share of a text column's cells that makes it look like numbers
ID_NAME = re.compile(r"(^|[_\s.-])(id|uuid|key)$|[a-z]I[dD]$", re.IGNORECASE)
N_SHOWN = 3
# What pandas finds in a column that a network can't take.
REFUSED = {
    "mixed": "lists or objects",
    "bytes": "bytes",
    "date": "dates",
    "datetime": "dates",
    "datetime64": "dates",
    "time": "times",
    "timedelta": "durations",
    "timedelta64": "durations",
}


@dataclass(frozen=True)
class Target:
    """A target: its values in the rows that have one, where these rows are, and what to do with it.

    `reason` says why `task` was chosen.
    """

    values: Any
    is_known: np.ndarray
    task: str
    reason: str


def prepare_target(column: Any, task: str | None) -> Target:
    """Return the target in a pandas column; `task` is None if its values decide.

    Raises
    ------
    ValueError
        If there are too few rows, if all have the same value, or if the values don't suit the task.
    """
    refused = _refused(column)
    if refused is not None:
        raise ValueError(f"column {column.name!r} holds {refused}; a target has to hold numbers or classes")
    is_known = column.notna().to_numpy()
    values = _plain_values(column[is_known])
    if len(values) < MIN_ROWS:
        raise ValueError(
            f"column {column.name!r} has a value in {len(values)} rows; a training needs {MIN_ROWS} at least"
        )
    if values.nunique() == 1:
        raise ValueError(f"column {column.name!r} has the same value, {values.tolist()[0]!r}, in every row")
    chosen, reason = choose_task(values) if task is None else (task, "as --task says")
    return Target(CHECKS[chosen](values), is_known, chosen, reason)


def choose_task(values: Any) -> tuple[str, str]:
    """Return the task for the values of a target, and the reason.

    Text, categories, and True and False are classes. So are whole numbers with at most 10 different values that occur 5
    times on average. All other numbers are amounts.
    """
    distinct = values.drop_duplicates()
    if _looks_like_numbers(values):
        text = values.iloc[first_that_is_no_number(values)]
        raise ValueError(
            f"column {values.name!r} holds numbers and {text!r}; leave such cells empty, or give --task classification"
        )
    if not _is_numeric(values):
        return CLASSIFICATION, f"it holds {_some(distinct.sort_values().tolist())}"
    if not _are_whole(values):
        return REGRESSION, "it holds numbers with fractions"
    if len(distinct) > MAX_CLASSES:
        return REGRESSION, f"it holds whole numbers with {len(distinct)} different values"
    if len(distinct) * ROWS_PER_CLASS > len(values):
        return REGRESSION, f"its {len(distinct)} different whole numbers occur {len(values)} times"
    return CLASSIFICATION, f"it holds only the whole numbers {_some(distinct.sort_values().tolist())}"


def split_off_test_rows(target: Target, test_size: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to train on and the rows to test on; for classes, each part has the same shares of them.

    A class of one row stays in the training part.
    """
    from sklearn.model_selection import train_test_split

    rows, strata = np.arange(len(target.values)), None
    is_single = np.zeros(len(rows), dtype=bool)
    if target.task == CLASSIFICATION:
        codes, _ = target.values.factorize()
        is_single = np.bincount(codes)[codes] == 1
        strata = codes[~is_single]
    n_split = int((~is_single).sum())
    n_test = min(round(test_size * len(rows)), n_split - 1)
    if n_test < 1:
        return rows, rows[:0]
    if strata is not None and min(n_test, n_split - n_test) < len(np.unique(strata)):
        strata = None  # a part is too small for a row of each class
    train, test = train_test_split(rows[~is_single], test_size=n_test, random_state=seed, stratify=strata)
    return np.concatenate([train, rows[is_single]]), test


def warn_of_columns(X: Any) -> None:
    """Warn of columns that can't help, that identify rows, or that hold numbers and a few texts.

    Raises
    ------
    ValueError
        If a column holds something else than numbers and categories.
    """
    for name in X.columns:
        refused = _refused(X[name])
        if refused is not None:
            raise ValueError(
                f"column {name!r} holds {refused}, and a network takes numbers and categories; derive such columns "
                f"from it, or leave it out: --drop {name!r}"
            )
        advice = _advice(X[name])
        if advice is not None:
            warn(f"column {name!r} {advice}")


def _advice(column: Any) -> str | None:
    present = column.dropna()
    if not len(present):
        return f"is empty; leave it out: --drop {column.name!r}"
    n_distinct = present.nunique()
    if n_distinct == 1 and len(present) == len(column):
        return f"has the same value in every row; leave it out: --drop {column.name!r}"
    if _has_decimal_commas(present):
        return f"is a category, because it holds numbers such as {present.iloc[0]!r}; write them with points"
    if _looks_like_numbers(present):
        row = int(np.flatnonzero(column.notna())[first_that_is_no_number(present) or 0])
        return (
            f"is a category, because it holds {column.iloc[row]!r} (row {row + 1}) beside numbers; leave such cells "
            "empty, and it is a number"
        )
    if n_distinct == len(present) and _may_identify(present):
        return f"has another value in every row; if it only identifies rows, leave it out: --drop {column.name!r}"
    return None


def _may_identify(values: Any) -> bool:
    """Return whether different values may identify rows: texts, consecutive numbers, or numbers with such a name."""
    if not _is_numeric(values):
        return True
    return _are_whole(values) and (
        bool(ID_NAME.search(str(values.name))) or values.max() - values.min() == len(values) - 1
    )


def _refused(column: Any) -> str | None:
    """Return what a pandas column holds if that is neither numbers nor categories."""
    import pandas as pd

    return REFUSED.get(pd.api.types.infer_dtype(column.dropna()))


def _plain_values(values: Any) -> Any:
    """Return values in their plain type: categories as what they are, and whole numbers beside missing ones as ints."""
    import pandas as pd

    if hasattr(values, "cat"):
        values = values.astype(values.cat.categories.dtype)
    values = values.astype(np.float64) if pd.api.types.infer_dtype(values) == "decimal" else values.infer_objects()
    is_whole_float = values.dtype.kind == "f" and _are_whole(values) and values.abs().max() < 2**53
    return values.astype(np.int64) if is_whole_float else values


def _is_numeric(values: Any) -> bool:
    return getattr(values.dtype, "kind", "O") in "fiu"


def _are_whole(values: Any) -> bool:
    numbers = values.to_numpy(dtype=np.float64)
    return bool((np.isfinite(numbers) & (numbers == np.floor(numbers))).all())


def _looks_like_numbers(values: Any) -> bool:
    """Return whether texts are numbers, but for a few of them; codes such as 007 are texts."""
    if _is_numeric(values) or values.dtype.kind == "b":
        return False
    is_number = values.astype(str).str.fullmatch(r"[+-]?(?!0\d)\d+(\.\d+)?([eE][+-]?\d+)?")
    return bool(MOSTLY < is_number.mean() < 1)


def _has_decimal_commas(values: Any) -> bool:
    return not _is_numeric(values) and bool(values.astype(str).str.fullmatch(r"[+-]?\d+,\d+").mean() > MOSTLY)


def _check_classes(values: Any) -> Any:
    if _is_numeric(values) and not _are_whole(values):
        raise ValueError(
            f"column {values.name!r} holds {values.nunique()} different numbers with fractions, which are no classes; "
            "use --task regression"
        )
    if values.nunique() == len(values):
        raise ValueError(f"column {values.name!r} has another value in every row; a class has to occur in several rows")
    return values


def _check_amounts(values: Any) -> Any:
    import pandas as pd

    row = first_that_is_no_number(values)
    if row is not None:
        raise ValueError(
            f"column {values.name!r} holds {values.iloc[row]!r}, which is not a number; use --task classification"
        )
    numbers = pd.to_numeric(values).astype(np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError(f"column {values.name!r} holds an infinite number; leave its cell empty")
    return numbers


def _some(values: list[Any]) -> str:
    """
    >>> _some(["a", "b"]), _some([1, 2, 3, 4])
    ("'a' and 'b'", '1, 2, 3 and 1 more')
    """
    shown, n_more = [repr(value) for value in values[:N_SHOWN]], len(values) - N_SHOWN
    last = f"{n_more} more" if n_more > 0 else shown.pop()
    return f"{', '.join(shown)} and {last}"


CHECKS = {CLASSIFICATION: _check_classes, REGRESSION: _check_amounts}

"""What the commands print: columns, scores, errors and the learning curve."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sknn.cli.scores import BETTER, Labels, confusion_counts
from sknn.cli.tables import CATEGORY, NUMBER
from sknn.utils.text import align

MAX_COLUMNS = 30  # of a table that are listed
MAX_LEVELS = 4  # of a category that are listed
MAX_CLASSES = 10  # of a confusion matrix; with more, the most frequent errors are listed
MAX_LABEL = 20  # characters of a class or a level
CHART_WIDTH = 60


def show(*lines: str) -> None:
    """Print lines at once, so that they stand before the warnings and the progress bar on stderr."""
    print(*lines, sep="\n", flush=True)


def indent(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def count(n: int, noun: str) -> str:
    """
    >>> count(1, "row"), count(2000, "row")
    ('1 row', '2,000 rows')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def format_size(n_bytes: int) -> str:
    """
    >>> format_size(7_400), format_size(1_950_000)
    ('7 kB', '1.9 MB')
    """
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e6 else f"{n_bytes / 1e3:.0f} kB"


# --- Columns ------------------------------------------------------------------------------------------------------


def column_lines(columns: Mapping[str, tuple[str, str]]) -> list[str]:
    """Return the lines of a list of columns, given kind and details by name."""
    cells = [[str(name), kind, details] for name, (kind, details) in columns.items()]
    n_more = len(cells) - MAX_COLUMNS
    more = [f"... and {n_more} more"] if n_more > 0 else []
    return [*align(cells[:MAX_COLUMNS], 3), *more] if cells else []


def describe_column(column: Any, kind: str) -> tuple[str, str]:
    """Return the kind of a pandas column, and what it holds."""
    present = column.dropna()
    details = DETAILS[kind](present) if len(present) else ""
    share = 1 - len(present) / len(column)
    missing = f"{share:.0%} missing".replace("%", " %") if share >= 0.005 else "a few missing"
    return kind, ", ".join(filter(None, [details, missing if share else ""]))


def describe_levels(levels: Sequence[Any], n_levels: int | None = None) -> str:
    """
    >>> describe_levels(["no", "yes"]), describe_levels(["a", "b", "c", "d"], 7)
    ('2 levels: no, yes', '7 levels: a, b, c, d, ...')
    """
    n_levels = n_levels or len(levels)
    shown = [shorten(level) for level in levels[:MAX_LEVELS]] + ["..."] * (n_levels > MAX_LEVELS)
    return f"{count(n_levels, 'level')}: {', '.join(shown)}"


def describe_range(low: float, high: float) -> str:
    return f"{low:g} to {high:g}"


def shorten(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 3]}..."


DETAILS = {
    NUMBER: lambda values: describe_range(float(values.min()), float(values.max())),
    CATEGORY: lambda values: describe_levels(sorted(map(str, values.unique()))),
}


# --- Scores -------------------------------------------------------------------------------------------------------


def score_lines(scores: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the lines of a table with a column for each model and a row for each score that all of them have."""
    names = [name for name in BETTER if all(name in values for values in scores.values())]
    head = ["", *scores, ""]
    rows = [
        [name, *(format_score(name, values[name]) for values in scores.values()), f"{BETTER[name]} is better"]
        for name in names
    ]
    return align([head, *rows])


def format_score(name: str, value: float) -> str:
    return f"{value:.4g}" if name in ("MAE", "RMSE") else f"{value:.3f}"


def confusion_lines(labels: Labels, predicted: Labels) -> list[str]:
    """Return the lines of a confusion matrix, or of the most frequent errors if there are many classes."""
    counts, names = confusion_counts(labels, predicted), [shorten(label) for label in labels.classes]
    if len(names) <= MAX_CLASSES:
        rows = [[name, *map(str, row)] for name, row in zip(names, counts.tolist(), strict=True)]
        return ["rows of each class (line), and the class that is predicted (column)", *align([["", *names], *rows])]
    errors = counts * ~np.eye(len(names), dtype=bool)
    order = np.argsort(-errors, axis=None, kind="stable")[:MAX_CLASSES]
    pairs = [(int(i), int(j)) for i, j in zip(*np.unravel_index(order, errors.shape), strict=True) if errors[i, j]]
    rows = [[names[i], names[j], str(errors[i, j])] for i, j in pairs]
    return ["the most frequent errors", *align([["class", "predicted", "rows"], *rows], 2)]


def quantile_lines(quantiles: Mapping[str, float]) -> list[str]:
    """Return the lines of the quantiles of true value - prediction."""
    return ["true value - prediction", *align([[*quantiles], [f"{value:.4g}" for value in quantiles.values()]], 0)]


# --- The learning curve -------------------------------------------------------------------------------------------


def kinds_of_members(model: Any) -> list[str]:
    """Return the kinds of an ensemble's members with their weights; an empty list if all members are alike."""
    from sknn.history.kinds import group_members

    kinds = group_members(model.module_.kinds, model.member_weights_)
    return [str(kind) for kind in kinds] if len(kinds) > 1 else []


def learning_curve_lines(model: Any) -> list[str]:
    """Return a chart of the losses of a fitted estimator; no lines if it has trained for one epoch only."""
    from sknn.history.curves import PARTS, TrainingCurves
    from sknn.history.text import draw_curves

    if len(model.history_) < 2:
        return []
    curves = TrainingCurves(model.history_)
    losses = {
        label: curves.curve(f"{part}_loss").mean for part, label in PARTS.items() if f"{part}_loss" in curves.names
    }
    n_networks = model.module_.n_members
    mean = f", mean of {n_networks} networks" if n_networks > 1 else ""
    best = " (the best epoch is kept)" if PARTS["valid"] in losses else ""
    width = max(20, min(CHART_WIDTH, shutil.get_terminal_size().columns - 28))
    return [f"loss after each epoch{mean}{best}", *draw_curves(losses, width=width, encoding=sys.stdout.encoding)]

"""What a fit tells while it runs, if it is asked to: a bar over its epochs, or a line for each."""

import contextlib
import math
import multiprocessing
import sys
import threading
from typing import Any, Self

from sknn.history.records import record_of

LOG_SECONDS = 10.0  # between two states of a bar that goes to a file, where none overwrites the other
BAR = "{desc}: {percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} epochs [{elapsed}<{remaining}{postfix}]"
NARROWEST = 7  # column
MARK = "*"  # of the best epoch so far
NOT_IN_THE_BAR = ("network", "epoch", "gap", "learning_rate", "seconds", "rows_per_second")
NOT_IN_A_LINE = ("rows_per_second",)


class TrainingProgress:
    """Tells nothing; what the others have in common.

    Parameters
    ----------
    n_networks, n_epochs : int
        Networks that train together, and epochs that they may take.
    """

    def __init__(self, n_networks: int, n_epochs: int) -> None:
        self.n_networks, self.n_epochs = n_networks, n_epochs

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def update(self, row: dict[str, Any]) -> None:
        """Tell of an epoch, given its row of the net's history."""


class Bar(TrainingProgress):
    """A bar over epochs with the last losses and metrics, by tqdm: in terminals, notebooks and logs."""

    def __enter__(self) -> Self:
        from tqdm.auto import tqdm

        every = 0.1 if sys.stdout.isatty() or "ipykernel" in sys.modules else LOG_SECONDS
        name = f"{self.n_networks} networks" if self.n_networks > 1 else "1 network"
        options = {"desc": name, "leave": None, "file": sys.stdout, "mininterval": every, "bar_format": BAR}
        self.bar = tqdm(total=self.n_epochs, **options)
        return self

    def __exit__(self, *error: Any) -> None:
        self.bar.close()

    def update(self, row: dict[str, Any]) -> None:
        record = record_of(row)
        shown = {
            name: f"{value:.4g}" for name, value in record.items() if is_number(value) and name not in NOT_IN_THE_BAR
        }
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update()


class Lines(TrainingProgress):
    """A line for each epoch, under their names; the best epoch so far is marked."""

    def __enter__(self) -> Self:
        self.names: list[str] = []
        self.best = math.inf
        return self

    def update(self, row: dict[str, Any]) -> None:
        record = record_of(row)
        is_first = record["epoch"] == 1
        if not self.names:
            self.names = [name for name, value in record.items() if is_number(value) and name not in NOT_IN_A_LINE]
            if is_first or self.n_epochs > 1:  # else it is one of many calls of partial_fit
                self.head()
        if is_first:  # also of the next network, where they train one after another
            self.best = math.inf
        watched = -record["valid_score"] if "valid_score" in record else record.get("valid_loss", record["train_loss"])
        is_best = watched < self.best
        self.best = min(self.best, watched)
        cells = [as_text(record.get(name)).rjust(len(heading(name)[0])) for name in self.names]
        self.show("  ".join([*cells, MARK * is_best]).rstrip(), "green" if is_best else None)

    def head(self) -> None:
        for words in zip(*(heading(name) for name in self.names), strict=True):
            self.show("  ".join(words), "bold")

    def show(self, line: str, style: str | None) -> None:
        print(line)


class ColouredLines(Lines):
    """Lines in a terminal that has colours, by rich."""

    def __enter__(self) -> Self:
        from rich.console import Console

        self.console = Console(file=sys.stdout, highlight=False)
        return super().__enter__()

    def show(self, line: str, style: str | None) -> None:
        self.console.print(line, style=style, soft_wrap=True)


def progress_of(verbose: int, n_networks: int, n_epochs: int) -> TrainingProgress:
    """What tells of a training; in a parallel search's processes and threads nothing does: their lines would mix."""
    if not verbose or is_worker():
        kind = TrainingProgress
    elif verbose == 1 and is_installed("tqdm"):
        kind = Bar
    else:
        kind = ColouredLines if sys.stdout.isatty() and is_installed("rich") else Lines
    return kind(n_networks, n_epochs)


def is_worker() -> bool:
    """Whether this is not the main thread of the main process."""
    return multiprocessing.parent_process() is not None or threading.current_thread() is not threading.main_thread()


def is_installed(package: str) -> bool:
    with contextlib.suppress(ImportError):
        __import__(package)
        return True
    return False


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def heading(name: str) -> tuple[str, str]:
    """The name of a column on two lines of one width: 'train' above 'accuracy'."""
    first, _, rest = name.partition("_")
    width = max(NARROWEST, len(first), len(rest))
    return (first.rjust(width), rest.rjust(width)) if rest else (" " * width, first.rjust(width))


def as_text(value: Any) -> str:
    """A number in so few places that it fits under its name."""
    if not is_number(value):
        return ""
    if isinstance(value, int):
        return str(value)
    return f"{value:.4f}" if 1e-3 <= abs(value) < 100 or value == 0 else f"{value:.1e}"

"""Show the progress of a fit: a bar over its epochs, or a line for each."""

import contextlib
import math
import multiprocessing
import sys
import threading
from typing import Any, Self

from sknn.history.records import make_record

LOG_SECONDS = 10.0  # between two updates of a bar that is written to a file, where each update adds a line
BAR = "{desc}: {percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} epochs [{elapsed}<{remaining}{postfix}]"
MIN_WIDTH = 7  # of a column
BEST_MARK = "*"  # of the best epoch so far
NOT_IN_THE_BAR = ("network", "epoch", "gap", "learning_rate", "seconds", "rows_per_second")
NOT_IN_A_LINE = ("rows_per_second",)


class TrainingProgress:
    """Shows nothing; the base class of the displays.

    Parameters
    ----------
    n_networks : int
        Networks that are trained jointly.
    n_epochs : int
        The most epochs of the training.
    """

    def __init__(self, n_networks: int, n_epochs: int) -> None:
        self.n_networks, self.n_epochs = n_networks, n_epochs

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def update(self, row: dict[str, Any]) -> None:
        """Show an epoch, given its row of the net's history."""


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
        record = make_record(row)
        shown = {
            name: f"{value:.4g}" for name, value in record.items() if is_number(value) and name not in NOT_IN_THE_BAR
        }
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update()


class Lines(TrainingProgress):
    """A table with a line for each epoch; a mark shows that an epoch is the best so far."""

    def __enter__(self) -> Self:
        self.names: list[str] = []
        self.best = math.inf
        return self

    def update(self, row: dict[str, Any]) -> None:
        record = make_record(row)
        is_first = record["epoch"] == 1
        if not self.names:
            self.names = [name for name, value in record.items() if is_number(value) and name not in NOT_IN_A_LINE]
            if is_first or self.n_epochs > 1:  # not for each of many calls of partial_fit
                self.print_header()
        if is_first:  # also the first epoch of the next network, if networks train one after another
            self.best = math.inf
        watched = -record["valid_score"] if "valid_score" in record else record.get("valid_loss", record["train_loss"])
        is_best = watched < self.best
        self.best = min(self.best, watched)
        cells = [as_text(record.get(name)).rjust(len(heading(name)[0])) for name in self.names]
        self.print_line("  ".join([*cells, BEST_MARK * is_best]).rstrip(), "green" if is_best else None)

    def print_header(self) -> None:
        for words in zip(*(heading(name) for name in self.names), strict=True):
            self.print_line("  ".join(words), "bold")

    def print_line(self, line: str, style: str | None) -> None:
        print(line)


class ColouredLines(Lines):
    """Lines with colours, by rich, for a terminal."""

    def __enter__(self) -> Self:
        from rich.console import Console

        self.console = Console(file=sys.stdout, highlight=False)
        return super().__enter__()

    def print_line(self, line: str, style: str | None) -> None:
        self.console.print(line, style=style, soft_wrap=True)


def progress_of(verbose: int, n_networks: int, n_epochs: int) -> TrainingProgress:
    """Return the display of a training; it shows nothing in a parallel search's workers, whose lines would mix."""
    if not verbose or is_worker():
        display = TrainingProgress
    elif verbose == 1 and is_installed("tqdm"):
        display = Bar
    else:
        display = ColouredLines if sys.stdout.isatty() and is_installed("rich") else Lines
    return display(n_networks, n_epochs)


def is_worker() -> bool:
    """Return whether this is another process or thread than the main one."""
    return multiprocessing.parent_process() is not None or threading.current_thread() is not threading.main_thread()


def is_installed(package: str) -> bool:
    with contextlib.suppress(ImportError):
        __import__(package)
        return True
    return False


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def heading(name: str) -> tuple[str, str]:
    """Return a column's name as two lines of one width: 'train' above 'accuracy'."""
    first, _, rest = name.partition("_")
    width = max(MIN_WIDTH, len(first), len(rest))
    return (first.rjust(width), rest.rjust(width)) if rest else (" " * width, first.rjust(width))


def as_text(value: Any) -> str:
    """Return a number with few enough digits to fit under its name."""
    if not is_number(value):
        return ""
    if isinstance(value, int):
        return str(value)
    return f"{value:.4f}" if 1e-3 <= abs(value) < 100 or value == 0 else f"{value:.1e}"

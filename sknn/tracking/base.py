"""What trackers of experiments have in common: they follow a fit from its first line to its last, and never lose it."""

import contextlib
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
from skorch.callbacks import Callback
from skorch.callbacks.logging import filter_log_keys

from sknn.history.records import record_of
from sknn.utils.warnings import warn


class Tracker(Callback):
    """Base class of callbacks that write a fit into a run of a tracker.

    skorch's own loggers take a live run or writer.  These take what makes one, so that they can be cloned and pickled,
    every fit has its own, and a fit that fails closes it.
    """

    tool: str  # as the user calls it
    is_ours_ = True  # whether the run was opened for the fit, and ends with it

    @abstractmethod
    def open(self, estimator: Any) -> None:
        """Begin a run, or find the one that the user has begun."""

    def describe(self, estimator: Any, X: Any, y: Any) -> None:
        """Write what is known before the training."""

    def write(self, epoch: int, values: dict[str, float], net: Any) -> None:
        """Write an epoch's values."""

    def conclude(self, estimator: Any, X: Any, y: Any) -> None:
        """Write what a finished `fit` has reached."""

    @abstractmethod
    def close(self, failed: bool) -> None:
        """End the run, if it is ours."""

    @contextlib.contextmanager
    def follow(self, estimator: Any, X: Any, y: Any, complete: bool) -> Iterator[None]:
        """Frame a fit of the estimator; `complete` tells `fit` from `partial_fit`.

        What prevents a run from being opened is raised, for no time has been spent yet; what goes wrong later is warned
        of.
        """
        self.open(estimator)
        failed = True
        try:
            if complete or self.is_ours_ or not hasattr(estimator, "net_"):  # else an earlier call of partial_fit has
                with at_most_a_warning(self.tool):
                    self.describe(estimator, X, y)
            yield
            failed = False
            if complete:
                with at_most_a_warning(self.tool):
                    self.conclude(estimator, X, y)
        finally:
            with at_most_a_warning(self.tool):
                self.close(failed)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        row = net.history[-1]
        with at_most_a_warning(self.tool):
            self.write(row["epoch"], values_of(row), net)


@contextlib.contextmanager
def at_most_a_warning(tool: str) -> Iterator[None]:
    """A tracker that fails must not take hours of training with it."""
    try:
        yield
    except Exception as error:  # whatever a disk, a database or a network raises
        warn(f"{tool} did not take everything: {error!r}. The fit is not affected.")


def values_of(row: dict[str, Any]) -> dict[str, float]:
    """The numbers of an epoch in a net's history or in `history_`, under the names of `history_`."""
    record = record_of(row)
    return {name: record[name] for name in filter_log_keys(record) if isinstance(record[name], int | float)}


def parameters_of(estimator: Any) -> dict[str, Any]:
    """An estimator's parameters, and those of the estimators in it, as numbers, strings and lists of them."""
    return {name: plain(value) for name, value in estimator.get_params().items()}


def results_of(network: Any) -> dict[str, float]:
    """What sums a fit up, besides the last epoch's values."""
    results = {"n_iter": network.n_iter_, "best_validation_score": network.best_validation_score_}
    return {name: value for name, value in results.items() if value is not None}


def plain(value: Any) -> Any:
    """A value that any tracker takes: what is no number, string or collection goes by the name of its type."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return getattr(value, "__name__", type(value).__name__)

"""The base class of trackers, which log a whole fit, and whose errors do not end it."""

import contextlib
import re
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
from skorch.callbacks import Callback
from skorch.callbacks.logging import filter_log_keys

from sknn.history.kinds import group_members
from sknn.history.records import make_record
from sknn.utils.warnings import warn


class Tracker(Callback):
    """Base class of callbacks that log a fit as a run of a tool.

    skorch's loggers take an open run or writer. A tracker takes the settings of a run and opens it in each fit. So it
    can be cloned and pickled, every fit has its own run, and a failed fit closes it.
    """

    tool: str  # its name in messages
    owns_run_ = True  # whether the fit opened the run, and closes it

    @abstractmethod
    def open(self, estimator: Any) -> None:
        """Open a run, or find the user's open run."""

    def write_description(self, estimator: Any, X: Any, y: Any) -> None:
        """Write parameters and data before the training."""

    def write_epoch(self, epoch: int, values: dict[str, float], net: Any) -> None:
        """Write the values of an epoch."""

    def write_results(self, estimator: Any, X: Any, y: Any) -> None:
        """Write the results of a finished `fit`."""

    @abstractmethod
    def close(self, failed: bool) -> None:
        """Close the run, unless it is the user's."""

    @contextlib.contextmanager
    def track_fit(self, estimator: Any, X: Any, y: Any, complete: bool) -> Iterator[None]:
        """Log the `fit` (or, if not `complete`, the `partial_fit`) of an estimator in this context.

        An error in opening the run is raised, before any time is spent on training. Later errors become warnings.
        """
        self.open(estimator)
        failed = True
        try:
            is_described = not (complete or self.owns_run_) and hasattr(estimator, "net_")  # by an earlier partial_fit
            if not is_described:
                with errors_as_warnings(self.tool):
                    self.write_description(estimator, X, y)
            yield
            failed = False
            if complete:
                with errors_as_warnings(self.tool):
                    self.write_results(estimator, X, y)
        finally:
            with errors_as_warnings(self.tool):
                self.close(failed)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        row = net.history[-1]
        with errors_as_warnings(self.tool):
            self.write_epoch(row["epoch"], numeric_record(row), net)


@contextlib.contextmanager
def errors_as_warnings(tool: str) -> Iterator[None]:
    """Turn errors into warnings, so that a tracker that fails does not end a long training."""
    try:
        yield
    except Exception as error:  # of a disk, a database, a connection, ...
        warn(f"{tool} did not log everything: {error!r}. The fit is not affected.")


def numeric_record(row: dict[str, Any]) -> dict[str, float]:
    """Return an epoch's numbers, named as in `history_`, from a row of either history."""
    record = make_record(row)
    return {name: record[name] for name in filter_log_keys(record) if isinstance(record[name], int | float)}


def plain_params(estimator: Any) -> dict[str, Any]:
    """Return the parameters of an estimator, and of estimators in it, as plain values."""
    return {name: to_plain(value) for name, value in estimator.get_params().items()}


def fit_results(est: Any) -> dict[str, float]:
    """Return the results of a fit besides the values of its epochs; with several kinds of members also their weights.

    They are `n_iter`, `best_validation_score`, `weight_batch_norm`, ...
    """
    results = {"n_iter": est.n_iter_, "best_validation_score": est.best_validation_score_}
    kinds = group_members(est.module_.kinds, est.member_weights_)
    weights = {f"weight_{kind_tag(kind.name)}": kind.weight for kind in kinds if len(kinds) > 1}
    return {name: value for name, value in (results | weights).items() if value is not None}


def kind_tag(kind: str) -> str:
    """Return a kind of members as a part of a name that every tool accepts.

    >>> kind_tag("batch norm, periodic")
    'batch_norm_periodic'
    """
    return re.sub(r"\W+", "_", kind)


def to_plain(value: Any) -> Any:
    """Return numbers, strings, lists or dicts, which every tool accepts; other objects become names."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    return getattr(value, "__name__", type(value).__name__)

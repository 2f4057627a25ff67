"""A fit of a search. Its network is trained before scikit-learn runs the task."""

import contextlib
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sknn.estimators.base import BaseNeural
from sknn.history.diagnosis import TrainingWarning
from sknn.model_selection.grouping import GroupKey, network_group_key
from sknn.model_selection.preprocessing_cache import PreprocessingCache
from sknn.model_selection.replace_fit import replace_fit
from sknn.model_selection.tasks import Task
from sknn.training.joint import train_jointly
from sknn.training.net import TrainingNet
from sknn.training.plan import TrainingSet


@dataclass
class Fit:
    """A task and the training of its final estimator.

    An error of this fit is stored in `error` and raised when scikit-learn calls `fit`, so scikit-learn handles it.
    """

    task: Task
    estimator: BaseNeural  # the last step of the task's pipeline, or the task's estimator itself
    key: GroupKey
    network_key: str = ""
    error: Exception | None = None
    is_trained: bool = False
    seconds: float = 0.0
    net: TrainingNet = field(init=False)  # set by `prepare`, if there is no error
    data: TrainingSet = field(init=False)

    @property
    def group(self) -> tuple[str, str]:
        """The key that is equal for fits that can be trained jointly."""
        return self.key.parameters, self.network_key

    @property
    def cost_key(self) -> tuple[bool, bool]:
        """Whether dropout and an L2 penalty are used. If one member uses them, they cost time for all members."""
        dropout = self.estimator.dropout
        return isinstance(dropout, str) or bool(np.any(dropout)), self.estimator.alpha > 0

    @property
    def n_bytes(self) -> int:
        """Memory of the network's parameters and their gradient."""
        return 0 if self.error is not None else 2 * self.net.module.n_bytes

    def prepare(self, cache: PreprocessingCache) -> None:
        """Fit the steps before the estimator, encode the rows, and build the network."""
        start = time.perf_counter()
        try:
            self.estimator._validate_params()
            table, n_rows = cache.encode(self.task, self.estimator, self.key)
            self.net, self.data = self.estimator._prepare(table, n_rows)
            self.network_key = network_group_key(self.net, table)
        except Exception as error:  # scikit-learn catches the same around `fit`
            if self.task.raises_errors and not isinstance(error, MemoryError):  # a later attempt may have more memory
                raise
            self.error = error
        self.seconds = time.perf_counter() - start

    def train(self) -> None:
        """Train the network singly."""
        start = time.perf_counter()
        with self.compute_context():
            train_jointly([self.net], [self.data])
        self.seconds += time.perf_counter() - start

    @contextlib.contextmanager
    def compute_context(self) -> Iterator[None]:
        """Set the number of threads, and add advice to an error for lack of memory."""
        with (
            self.estimator._explain_memory_errors(self.net.plan.batch_size),
            self.estimator._threads(self.net, self.data),
        ):
            yield

    def result(self) -> Any:
        """Run the task, with `_fit_precomputed` as its estimator's `fit`."""
        with replace_fit(self.task.estimator, self._fit_precomputed):
            result = self.task.run()
        if isinstance(result, dict) and "fit_time" in result:
            result |= {"fit_time": self.seconds, "group": self.group}
        return result

    def _fit_precomputed(self, *args: Any, **kwargs: Any) -> None:
        """Raise the stored error. Otherwise train the network if needed, and set the fitted attributes."""
        if self.error is not None:
            raise self.error
        if not self.is_trained:
            self.train()
        with warnings.catch_warnings(action="ignore", category=TrainingWarning):  # extreme candidates cause them
            self.estimator._finish_fit(self.net)

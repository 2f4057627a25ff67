"""A joblib backend that trains the networks of a search jointly.

scikit-learn's searches and cross-validations pass one task for each candidate and fold to `joblib.Parallel`. This
backend collects the tasks, trains their networks jointly, and then runs each task with a `fit` that uses the trained
network. Everything around the training (splitting, scoring, errors, verbosity, metadata) is scikit-learn's own.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import joblib
from joblib.parallel import ParallelBackendBase, get_active_backend

from sknn.model_selection.distribute import distribute
from sknn.model_selection.fold_models import FoldModel
from sknn.model_selection.progress import Progress
from sknn.model_selection.tasks import Task

REPORTED_N_JOBS = 2  # with 1, joblib runs its tasks without a backend


class JointTrainingBackend(ParallelBackendBase):
    """A joblib backend that collects tasks and runs all of them when the first result is requested.

    Parameters
    ----------
    default_backends : dict of {None, 'threads', 'processes'} to (backend, n_jobs)
        For each value of `prefer`, the backend and n_jobs that joblib would use without this one. These backends run
        tasks that are not fits. If a search has `n_jobs`, they also run its shares.
    keeps_finished : bool
        Whether an interrupted search keeps the finished candidates, and gives the others NaN scores.
    keeps_models : bool
        Whether `fold_models` collects the models of all fits, in the order of their tasks.
    """

    def __init__(
        self,
        default_backends: dict[str | None, tuple[Any, int]],
        keeps_finished: bool = False,
        keeps_models: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.default_backends, self.keeps_finished, self.keeps_models = default_backends, keeps_finished, keeps_models
        self.fold_models: list[FoldModel] = []
        self.tasks: list[Task] = []
        self.results: dict[int, Any] = {}
        self.parallel: Any = None
        self.n_jobs: int | None = None
        self.prefer: str | None = None

    def effective_n_jobs(self, n_jobs: int) -> int:
        if self.parallel is not None:
            return REPORTED_N_JOBS
        backend, default = self.default_backends[None]
        return backend.effective_n_jobs((default or 1) if n_jobs is None else n_jobs)

    def configure(
        self, n_jobs: int = 1, parallel: Any = None, prefer: str | None = None, require: Any = None, **kwargs: Any
    ) -> int:
        self.parallel, self.n_jobs, self.prefer = parallel, n_jobs, prefer
        parallel.pre_dispatch = "all"  # joblib submits all tasks before it requests a result
        return REPORTED_N_JOBS

    def terminate(self) -> None:
        self.parallel = None

    def start_call(self) -> None:
        self.tasks, self.results = [], {}

    def submit(self, func: Any, callback: Any = None) -> "Future":
        indices = range(len(self.tasks), len(self.tasks) + len(func.items))
        self.tasks += [Task.from_call(*item) for item in func.items]
        for i in indices if self.keeps_models else ():
            self.tasks[i].keep_model()
        return Future(self, indices, callback)

    apply_async = submit  # its name in older versions of joblib

    def pop_result(self, index: int) -> Any:
        """Return the result of a task and forget it. The first call runs all tasks."""
        if not self.results:
            self._run()
        result = self.results.pop(index)
        if isinstance(result, dict) and "estimator" in result and self.keeps_models:
            self.fold_models.append(FoldModel.from_result(result))
        return result

    def _run(self) -> None:
        progress = Progress([task.arguments if task.is_fit else {} for task in self.tasks])

        def on_result(index: int, result: Any) -> None:
            self.results[index] = result
            progress.update(index, result)

        backend, default = self.default_backends[self.prefer]
        n_jobs = default if self.n_jobs is None else self.n_jobs
        try:
            with progress, joblib.parallel_config(backend=backend, n_jobs=default):
                distribute(self.tasks, backend, n_jobs, self.prefer, on_result)
        except KeyboardInterrupt:
            if not (self.keeps_finished and progress.finished):
                raise
            progress.warn_of_interrupt()
            for i, task in enumerate(self.tasks):
                if i not in self.results:
                    self.results[i] = task.unfinished_result()


@dataclass
class Future:
    """The results of some tasks, in the form that joblib expects."""

    backend: JointTrainingBackend
    indices: range
    callback: Callable  # joblib counts the finished tasks with it

    def get(self, timeout: float | None = None) -> list[Any]:
        results = [self.backend.pop_result(i) for i in self.indices]
        self.callback(results)
        return results


@contextlib.contextmanager
def batched_fits(keeps_finished: bool = False) -> Iterator[None]:
    """Train the networks of scikit-learn's model selection jointly.

    This holds for all functions of scikit-learn that fit an estimator on several folds or with several parameters, and
    have `n_jobs`: the searches, `cross_validate`, `learning_curve`, `validation_curve` and others.

    Parameters
    ----------
    keeps_finished : bool, default=False
        Whether a search that is interrupted by Ctrl-C keeps the finished candidates, and gives the others NaN scores.

    Returns
    -------
    context manager

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import learning_curve
    >>> from sknn import NeuralClassifier
    >>> from sknn.model_selection import batched_fits
    >>> clf = NeuralClassifier(hidden_layer_sizes=16, ensemble_size=1, max_iter=10, random_state=0)
    >>> with batched_fits():
    ...     sizes, _, scores = learning_curve(clf, *load_iris(return_X_y=True), cv=3, shuffle=True, random_state=0)
    >>> scores.shape
    (5, 3)
    """
    with joint_training(keeps_finished=keeps_finished):
        yield


@contextlib.contextmanager
def joint_training(**settings: bool) -> Iterator[JointTrainingBackend]:
    """Make a backend with these settings the one that joblib uses."""
    backends = {prefer: get_active_backend(prefer=prefer) for prefer in (None, "threads", "processes")}
    if isinstance(backends[None][0], JointTrainingBackend):  # in a nested search
        backends = backends[None][0].default_backends
    backend = JointTrainingBackend(backends, nesting_level=backends[None][0].nesting_level, **settings)
    with joblib.parallel_config(backend=backend):
        yield backend

"""The fits that scikit-learn hands to joblib, trained together.

scikit-learn's searches and cross-validations give one task for each candidate and fold to `joblib.Parallel`.  Here is a
joblib backend that collects these tasks, trains the networks among them as few batched networks, and then lets each
task run as it is, with an estimator whose `fit` only picks up what is trained already.  So everything around the
training (splitting, scoring, errors, verbosity, metadata) is scikit-learn's own.
"""

import contextlib
import inspect
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import joblib
import numpy as np
import torch
from joblib.parallel import ParallelBackendBase, get_active_backend
from sklearn.base import clone
from sklearn.model_selection._validation import _fit_and_predict, _fit_and_score
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _check_method_params

from sknn._assembly import encoding_of, hashed, layout_of, shape_of, trains_with_others
from sknn._base import BaseNeural
from sknn._device import resolve_device
from sknn.batches import Table
from sknn.search_progress import Progress
from sknn.training import TrainingNet, TrainingSet
from sknn.training_together import train_together

MORE_THAN_ONE = 2  # workers; with one, joblib would run its tasks without asking a backend
BATCH_NUMBERS = 1 << 17  # weights of the networks that train together: more of them fall out of a core's cache
WEIGHT_COPIES = 6  # the network, its gradient, the solver's two means, the best epoch, and the estimator's own


# --- A task of joblib ---------------------------------------------------------------------------------------------


@dataclass
class Task:
    """One call of scikit-learn's, with its arguments by name."""

    function: Callable
    arguments: dict[str, Any]

    @classmethod
    def of(cls, call: Callable, args: tuple, kwargs: dict) -> "Task":
        function = getattr(call, "function", call)  # scikit-learn's wrapper sets the configuration, which is ours too
        if function not in (_fit_and_score, _fit_and_predict):
            return cls(call, {"args": args, "kwargs": kwargs})
        return cls(function, inspect.signature(function).bind(*args, **kwargs).arguments)

    def run(self) -> Any:
        if "kwargs" in self.arguments:
            return self.function(*self.arguments["args"], **self.arguments["kwargs"])
        result = self.function(**self.arguments)
        if isinstance(result, dict):
            result["group"] = f"alone: {self.arguments.get('candidate_progress')}"
        return result

    def network(self) -> BaseNeural | None:
        """The estimator at the end of the task's, with the candidate's parameters, if it can train with others."""
        if "train" not in self.arguments:
            return None
        estimator, parameters = self.arguments["estimator"], self.arguments.get("parameters")
        if parameters is not None:
            estimator.set_params(**clone(parameters, safe=False))
        pipelines = pipelines_of(estimator)
        last = pipelines[-1].steps[-1][1] if pipelines else estimator
        can = isinstance(last, BaseNeural) and type(last).fit is BaseNeural.fit and trains_with_others(last)
        return last if can else None


def pipelines_of(estimator: Any) -> list[Pipeline]:
    """The pipeline that an estimator is, the pipeline at its end, and so on."""
    pipelines = []
    while type(estimator) is Pipeline and estimator.steps:
        pipelines.append(estimator)
        estimator = estimator.steps[-1][1]
    return pipelines


# --- One fit ------------------------------------------------------------------------------------------------------


@dataclass
class Fit:
    """A task whose network is to be trained with others."""

    task: Task
    network: BaseNeural
    kind: "Kind"
    layout: str = ""
    net: TrainingNet | None = None
    data: TrainingSet | None = None
    error: Exception | None = None
    seconds: float = 0.0

    def prepare(self, shared: "Shared") -> None:
        """Fit the steps before the network, encode the rows, and build the network."""
        started = time.perf_counter()
        try:
            self.network._validate_params()
            table, n_rows = shared.encoded(self)
            self.net, self.data = self.network._prepare(table, n_rows)
            self.layout = layout_of(self.net, table)
        except Exception as error:  # scikit-learn decides what becomes of it, when the task runs
            self.error = error
        self.seconds = time.perf_counter() - started

    def result(self) -> Any:
        """Run the task, whose estimator has been trained beforehand."""
        estimator = self.task.arguments["estimator"]
        estimator.fit, estimator.set_params = self._pick_up, lambda **_: estimator
        try:
            result = self.task.run()
        finally:
            del estimator.fit, estimator.set_params
        if isinstance(result, dict) and "fit_time" in result:
            result |= {"fit_time": self.seconds, "group": self.group}
        return result

    @property
    def group(self) -> tuple[str, str]:
        """What is equal for fits that train together."""
        return self.kind.shape, self.layout

    def _pick_up(self, *args: Any, **kwargs: Any) -> Any:
        if self.error is not None:
            raise self.error
        assert self.net is not None
        self.network._conclude(self.net)
        return self.task.arguments["estimator"]


@dataclass(frozen=True)
class Kind:
    """Keys of what a candidate has in common with others: its layers, its encoding, and the steps before."""

    shape: str
    encoding: str
    steps: str

    @classmethod
    def of(cls, task: Task, network: BaseNeural) -> "Kind":
        steps = [pipeline.steps[:-1] for pipeline in pipelines_of(task.arguments["estimator"])]
        return cls(shape_of(network), encoding_of(network), hashed(steps))


@dataclass
class Shared:
    """What fits of the same rows and the same preprocessing have in common, made by the first of them."""

    arguments_of: dict[Any, tuple[list, tuple]] = field(default_factory=dict)
    table_of: dict[Any, tuple[dict, Table, int]] = field(default_factory=dict)

    def encoded(self, fit: Fit) -> tuple[Table, int]:
        rows, (args, params) = self._arguments(fit)
        key = rows, fit.kind.encoding
        if key not in self.table_of:
            before = set(vars(fit.network))
            table, n_rows = fit.network._encode_all(*args, **params)
            learned = {name: value for name, value in vars(fit.network).items() if name not in before}
            self.table_of[key] = learned, table, n_rows
        learned, table, n_rows = self.table_of[key]
        fit.network.__dict__.update(learned)
        return table, n_rows

    def _arguments(self, fit: Fit) -> tuple[Any, tuple]:
        """What the network's own `fit` is called with, after the steps before it; and a key to it."""
        task = fit.task.arguments
        pipelines = pipelines_of(task["estimator"])
        key = id(task["train"]), fit.kind.steps
        if key not in self.arguments_of:
            arguments = arguments_of_fit(fit)
            self.arguments_of[key] = [pipeline.steps[:-1] for pipeline in pipelines], arguments
        fitted, arguments = self.arguments_of[key]
        for pipeline, steps in zip(pipelines, fitted, strict=True):
            pipeline.steps[:-1] = steps
        return key, arguments


def arguments_of_fit(fit: Fit) -> tuple:
    """Fit what stands before the network, and note what its `fit` is then called with."""
    task, network = fit.task.arguments, fit.network
    X, y = _safe_split(task["estimator"], task["X"], task["y"], task["train"])
    params = _check_method_params(task["X"], params=task.get("fit_params") or {}, indices=task["train"])
    noted: list[tuple] = []
    network.fit = lambda *args, **kwargs: noted.append((args, kwargs))  # type: ignore[method-assign, assignment]
    try:
        task["estimator"].fit(X, y, **params)
    finally:
        del network.fit
    return noted[0]


# --- All fits of one process ----------------------------------------------------------------------------------------


def run_tasks(tasks: Sequence[Task], report: Callable[[int, Any], None]) -> None:
    """Run tasks, in groups of equal networks; report each one's place and result as soon as it is known."""
    fits = fits_of(tasks)
    alone = [i for i in range(len(tasks)) if i not in fits]
    for part in parts_that_fit(fits):
        shared, ready = Shared(), {i: fits.pop(i) for i in part}
        for fit in ready.values():
            fit.prepare(shared)
        for batch in batches(ready):
            train([ready[i] for i in batch])
            for i in batch:
                report(i, ready.pop(i).result())
    for i in alone:
        report(i, tasks[i].run())


def fits_of(tasks: Sequence[Task]) -> dict[int, Fit]:
    """The tasks that can train with others, by their place."""
    kinds: dict[int, Kind] = {}  # of each candidate, whose parameters are one object for all of its folds
    fits = {}
    for i, task in enumerate(tasks):
        network = task.network()
        if network is not None:
            candidate = id(task.arguments.get("parameters"))
            if candidate not in kinds:
                kinds[candidate] = Kind.of(task, network)
            fits[i] = Fit(task, network, kinds[candidate])
    return fits


def run_part(tasks: Sequence[Task]) -> list[Any]:
    """Run tasks in another process."""
    results: dict[int, Any] = {}
    run_tasks(tasks, results.__setitem__)
    return [results[i] for i in range(len(tasks))]


def parts_that_fit(fits: dict[int, Fit]) -> list[list[int]]:
    """Places of the fits, those of one shape together, so many at once as their encoded rows fit in memory."""
    shapes: dict[str, list[int]] = {}
    for i, fit in fits.items():
        shapes.setdefault(fit.kind.shape, []).append(i)
    return [part for places in shapes.values() for part in split_by_tables(fits, places)]


def split_by_tables(fits: dict[int, Fit], places: Sequence[int]) -> Iterator[list[int]]:
    """Some places at a time, whose encoded rows need a quarter of the free memory at most."""
    free = memory() / 4
    tables: set[Any] = set()
    part: list[int] = []
    for i in places:
        task, kind = fits[i].task.arguments, fits[i].kind
        tables.add((id(task["train"]), kind.steps, kind.encoding))
        if part and len(tables) * 4 * np.prod(np.shape(task["X"]), dtype=float) > free:
            yield part
            part, tables = [], set()
        part.append(i)
    yield part


def batches(fits: dict[int, Fit]) -> Iterator[list[int]]:
    """Places of the fits that train at once: of one group, and not too many."""
    groups: dict[Any, list[int]] = {}
    for i, fit in fits.items():
        groups.setdefault(fit.group if fit.error is None else i, []).append(i)
    for places in groups.values():
        net = fits[places[0]].net
        at_once = 1 if net is None else networks_at_once(net)
        pieces = -(-len(places) // at_once)
        yield from (part.tolist() for part in np.array_split(places, pieces))


def networks_at_once(net: TrainingNet) -> int:
    """How many networks like this one are best trained together."""
    flat = net.module.flat
    fitting = memory(flat.device) / 4 / (WEIGHT_COPIES * flat.numel() * flat.element_size())
    best = fitting if flat.is_cuda else min(fitting, BATCH_NUMBERS / flat.numel())
    return max(1, int(best))


def memory(device: torch.device | None = None) -> float:
    """Bytes that are free."""
    if device is not None and device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on this system
        return 4e9


def train(fits: Sequence[Fit]) -> None:
    """Train the networks of one batch; of one that does not fit in memory, one half after the other."""
    if fits[0].error is not None:
        return
    started = time.perf_counter()
    nets, datasets = [fit.net for fit in fits], [fit.data for fit in fits]
    try:
        with fits[0].network._memory_advice(nets[0].plan.batch_size), fits[0].network._threads(nets[0]):  # type: ignore[union-attr, arg-type]
            train_together(nets, datasets)  # type: ignore[arg-type]
    except MemoryError as error:
        if len(fits) == 1:
            fits[0].error = error
            return
        half = len(fits) // 2
        train(fits[:half])
        train(fits[half:])
        return
    except Exception as error:
        for fit in fits:
            fit.error = error
    for fit in fits:
        fit.seconds += (time.perf_counter() - started) / len(fits)


# --- joblib's side --------------------------------------------------------------------------------------------------


class BatchedFits(ParallelBackendBase):
    """A joblib backend that runs all of its tasks at once, when the first result is asked for.

    Parameters
    ----------
    inner : tuple of (backend, n_jobs)
        Where tasks that have nothing to do with networks go, and the shares of a search with `n_jobs`.
    keeps_finished : bool
        Whether an interrupted search goes on with the candidates that are finished.
    """

    uses_threads = True
    supports_sharedmem = True

    def __init__(self, inner: tuple[Any, int], keeps_finished: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner, self.keeps_finished = inner, keeps_finished
        self.tasks: list[Task] = []
        self.results: dict[int, Any] = {}
        self.n_jobs = 1

    def effective_n_jobs(self, n_jobs: int) -> int:
        return MORE_THAN_ONE

    def configure(self, n_jobs: int = 1, parallel: Any = None, **kwargs: Any) -> int:
        self.parallel, self.n_jobs = parallel, n_jobs
        parallel.pre_dispatch = "all"  # joblib hands over all tasks before it asks for a result
        return MORE_THAN_ONE

    def start_call(self) -> None:
        self.tasks, self.results = [], {}

    def submit(self, func: Any, callback: Any = None) -> "Promise":
        places = range(len(self.tasks), len(self.tasks) + len(func.items))
        self.tasks += [Task.of(*item) for item in func.items]
        return Promise(self, places, callback)

    apply_async = submit  # its name in older versions of joblib

    def result_of(self, place: int) -> Any:
        if not self.results:
            self._run()
        return self.results.pop(place)

    def _run(self) -> None:
        progress = Progress([task.arguments for task in self.tasks])

        def report(place: int, result: Any) -> None:
            self.results[place] = result
            progress.update(place, result)

        try:
            with progress, joblib.parallel_config(backend=self.inner[0], n_jobs=self.inner[1]):
                self._share_out(report)
        except KeyboardInterrupt:
            if not (self.keeps_finished and progress.n_finished):
                raise
            progress.warn_of_interrupt()
            for place, task in enumerate(self.tasks):
                if place not in self.results:
                    self.results[place] = unfinished(task)

    def _share_out(self, report: Callable[[int, Any], None]) -> None:
        """Run the tasks here, or each process's share of them there."""
        n_jobs = self.n_jobs if self.n_jobs is not None else self.inner[1]
        with joblib.parallel_config(backend=self.inner[0]):
            n_shares = min(joblib.effective_n_jobs(n_jobs), len(self.tasks))
        if n_shares <= 1 or any(on_a_gpu(task) for task in self.tasks[:1]):
            run_tasks(self.tasks, report)
            return
        shares = shares_of(self.tasks, n_shares)
        run = Parallel(n_jobs=n_jobs, backend=self.inner[0], return_as="generator")
        for places, results in zip(
            shares, run(delayed(run_part)([self.tasks[i] for i in places]) for places in shares), strict=True
        ):
            for place, result in zip(places, results, strict=True):
                report(place, result)


def shares_of(tasks: Sequence[Task], n_shares: int) -> list[list[int]]:
    """Places of the tasks, by process: equal networks and equal rows lie side by side."""
    fits = fits_of(tasks)
    shapes = [fits[i].kind.shape if i in fits else "" for i in range(len(tasks))]
    order = sorted(range(len(tasks)), key=lambda i: (shapes[i], id(tasks[i].arguments.get("train")), i))
    return [part.tolist() for part in np.array_split(order, n_shares)]


def on_a_gpu(task: Task) -> bool:
    network = task.network()
    return network is not None and resolve_device(network.device).type == "cuda"


def unfinished(task: Task) -> Any:
    """The result of a task that was not run: its score is NaN."""

    def stop(*args: Any, **kwargs: Any) -> Any:
        raise InterruptedError

    estimator = task.arguments["estimator"]
    estimator.fit = stop
    result = task.function(**task.arguments | {"error_score": np.nan, "verbose": 0})
    del estimator.fit
    return result | {"fit_error": None, "group": "unfinished"}


@dataclass
class Promise:
    """The results of some tasks, as joblib waits for them."""

    backend: BatchedFits
    places: Iterable[int]
    callback: Callable  # by which joblib counts what is done

    def get(self, timeout: float | None = None) -> list[Any]:
        results = [self.backend.result_of(place) for place in self.places]
        self.callback(results)
        return results


@contextlib.contextmanager
def batched_fits(keeps_finished: bool = False) -> Iterator[None]:
    """Train the networks of scikit-learn's model selection together.

    Inside of it, whatever of scikit-learn fits a network to several splits or with several parameters does so at once:
    its own searches, `cross_validate`, `learning_curve`, `validation_curve` and what else goes through `n_jobs`.

    Parameters
    ----------
    keeps_finished : bool, default=False
        Whether a search that is interrupted by Ctrl-C goes on with the candidates whose scores are known.

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
    inner = get_active_backend()
    if isinstance(inner[0], BatchedFits):  # of a search in a search
        inner = inner[0].inner
    backend = BatchedFits(inner, keeps_finished, nesting_level=inner[0].nesting_level)
    with joblib.parallel_config(backend=backend):
        yield

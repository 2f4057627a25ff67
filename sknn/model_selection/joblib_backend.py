"""The fits that scikit-learn hands to joblib, trained together.

scikit-learn's searches and cross-validations give one task for each candidate and fold to `joblib.Parallel`.  Here is a
joblib backend that collects these tasks, trains the networks among them as few batched networks, and then lets each
task run as it is, with an estimator whose `fit` only picks up what is trained already.  So everything around the
training (splitting, scoring, errors, verbosity, metadata) is scikit-learn's own.
"""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
import torch
from joblib.parallel import ParallelBackendBase, get_active_backend
from sklearn.utils.parallel import Parallel, delayed

from sknn.model_selection.fits import Fit, GroupKey, Shared, Task
from sknn.model_selection.progress import Progress
from sknn.training.joint import train_jointly
from sknn.training.net import TrainingNet
from sknn.utils.device import resolve_device

UNFINISHED = "unfinished"  # the group of what an interrupt has left
MORE_THAN_ONE = 2  # workers; with one, joblib would run its tasks without asking a backend
FEWEST_TOGETHER = 2
BATCH_VALUES = 1 << 17  # weights of the networks that train together: more of them fall out of a core's cache
SHARES, FEWEST_IN_A_SHARE = 4, 16  # of each process, and fits that it takes at once to be worth training together
WEIGHT_COPIES = 6  # the network, its gradient, the solver's two means, the best epoch, and the estimator's own


# --- All fits of one process ----------------------------------------------------------------------------------------


def run_tasks(tasks: Sequence[Task], report: Callable[[int, Any], None]) -> None:
    """Run tasks, in groups of equal networks; report each one's place and result as soon as it is known."""
    fits = fits_of(tasks)
    shapes: dict[str, deque[int]] = {}
    for i, fit in fits.items():
        shapes.setdefault(fit.kind.shape, deque()).append(i)
    for places in shapes.values():
        while places:
            ready = prepared(fits, places)
            for batch in batches(ready):
                train([ready[i] for i in batch])
                for i in batch:
                    fits.pop(i)
                    report(i, ready.pop(i).result())
                    tasks[i].forget()
    for i, task in enumerate(tasks):
        if task.arguments:
            report(i, task.run())


def prepared(fits: dict[int, Fit], places: deque[int]) -> dict[int, Fit]:
    """Take so many places that the tables and networks of their fits need a quarter of the free memory, at most."""
    ready: dict[int, Fit] = {}
    shared, free, used = Shared(), memory() / 4, 0
    while places and (not ready or used + shared.size < free):
        fit = fits[places[0]]
        fit.prepare(shared)
        if isinstance(fit.error, MemoryError) and ready:
            fit.error = None
            break  # once the others are trained, there is more
        ready[places.popleft()] = fit
        used += fit.size
    return ready


def fits_of(tasks: Sequence[Task]) -> dict[int, Fit]:
    """The tasks that can train with others, by their place."""
    kinds: dict[int, GroupKey] = {}  # of each candidate, whose parameters are one object for all of its folds
    fits = {}
    for i, task in enumerate(tasks):
        network = task.network()
        if network is not None:
            candidate = id(task.arguments.get("parameters"))
            if candidate not in kinds:
                kinds[candidate] = GroupKey.of(task, network)
            fits[i] = Fit(task, network, kinds[candidate])
    return fits


def run_part(tasks: Sequence[Task]) -> list[Any]:
    """Run tasks in another process."""
    results: dict[int, Any] = {}
    run_tasks(tasks, results.__setitem__)
    return [results[i] for i in range(len(tasks))]


def batches(fits: dict[int, Fit]) -> Iterator[list[int]]:
    """Places of the fits that train at once: of one group, and not too many.

    Those that have use for dropout, or for a penalty, come after those that have not and need not pay for it.
    """
    groups: dict[Any, list[int]] = {}
    for i, fit in fits.items():
        groups.setdefault(fit.group if fit.error is None else i, []).append(i)
    for places in groups.values():
        net = fits[places[0]].net
        at_once = 1 if net is None else networks_at_once(net)
        pieces = -(-len(places) // at_once)
        places.sort(key=lambda i: fits[i].cost_key)
        yield from (part.tolist() for part in np.array_split(places, pieces))


def networks_at_once(net: TrainingNet) -> int:
    """How many networks like this one are best trained together."""
    param_buffer = net.module.param_buffer
    fitting = memory(param_buffer.device) / 4 / (WEIGHT_COPIES * param_buffer.numel() * param_buffer.element_size())
    best = fitting if param_buffer.is_cuda else min(fitting, BATCH_VALUES / param_buffer.numel())
    return max(1, int(best))


def memory(device: torch.device | None = None) -> float:
    """Bytes that are free."""
    if device is not None and device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if "SC_AVPHYS_PAGES" not in getattr(os, "sysconf_names", ()):  # on this system
        return 4e9
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def train(fits: Sequence[Fit]) -> None:
    """Train the networks of one batch; where they need too much memory, one half after the other.

    One that is left alone trains when its task runs: there scikit-learn takes whatever is raised for a failure of that
    candidate.  Here an exception may be no candidate's, but that of a time-out for example, so it ends the search.
    """
    fits = [fit for fit in fits if fit.error is None]
    if len(fits) < FEWEST_TOGETHER:
        return
    started = time.perf_counter()
    nets, datasets = [fit.net for fit in fits], [fit.data for fit in fits]
    try:
        with contextlib.ExitStack() as frames:
            for fit in fits:
                frames.enter_context(fit.blamed_for_its_scorers())
            frames.enter_context(fits[0].computing())
            train_jointly(nets, datasets)  # type: ignore[arg-type]
    except MemoryError:
        half = len(fits) // 2
        train(fits[:half])
        train(fits[half:])
        return
    for fit in fits:
        fit.is_trained = True
        fit.seconds += (time.perf_counter() - started) / len(fits)


# --- joblib's side --------------------------------------------------------------------------------------------------


class BatchedFits(ParallelBackendBase):
    """A joblib backend that runs all of its tasks at once, when the first result is asked for.

    Parameters
    ----------
    inner : dict of {None, 'threads', 'processes'} to (backend, n_jobs)
        What joblib would take without this one, by what a call prefers: there go the calls that have nothing to do with
        networks, and the shares of a search with `n_jobs`.
    keeps_finished : bool
        Whether an interrupted search goes on with the candidates that are finished.
    """

    def __init__(self, inner: dict[str | None, tuple[Any, int]], keeps_finished: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner, self.keeps_finished = inner, keeps_finished
        self.tasks: list[Task] = []
        self.results: dict[int, Any] = {}
        self.parallel: Any = None
        self.n_jobs: int | None = None
        self.prefer: str | None = None

    def effective_n_jobs(self, n_jobs: int) -> int:
        if self.parallel is not None:
            return MORE_THAN_ONE
        backend, default = self.inner[None]
        return backend.effective_n_jobs((default or 1) if n_jobs is None else n_jobs)

    def configure(
        self, n_jobs: int = 1, parallel: Any = None, prefer: str | None = None, require: Any = None, **kwargs: Any
    ) -> int:
        self.parallel, self.n_jobs, self.prefer = parallel, n_jobs, prefer
        parallel.pre_dispatch = "all"  # joblib hands over all tasks before it asks for a result
        return MORE_THAN_ONE

    def terminate(self) -> None:
        self.parallel = None

    def start_call(self) -> None:
        self.tasks, self.results = [], {}

    def submit(self, func: Any, callback: Any = None) -> "Future":
        places = range(len(self.tasks), len(self.tasks) + len(func.items))
        self.tasks += [Task.of(*item) for item in func.items]
        return Future(self, places, callback)

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

        backend, n_jobs = self.inner[self.prefer]
        try:
            with progress, joblib.parallel_config(backend=backend, n_jobs=n_jobs):
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
        backend, default = self.inner[self.prefer]
        n_jobs = default if self.n_jobs is None else self.n_jobs
        n_shares = 1 if n_jobs is None else min(backend.effective_n_jobs(n_jobs), len(self.tasks))
        networks = [i for i, task in enumerate(self.tasks) if "train" in task.arguments]
        gpus = gpus_of(self.tasks, networks)
        if len(gpus) > 1:
            run_on_gpus(self.tasks, gpus, report)
            return
        if n_shares <= 1 or gpus:
            run_tasks(self.tasks, report)
            return
        shares = shares_of(self.tasks, n_shares) if networks else [[i] for i in range(len(self.tasks))]
        calls = (delayed(run_part)([self.tasks[i] for i in places]) for places in shares)
        as_they_come = "generator" if getattr(backend, "supports_return_generator", False) else "list"
        run = Parallel(n_jobs=n_jobs, prefer=self.prefer, return_as=as_they_come)
        for places, results in zip(shares, run(calls), strict=True):
            for place, result in zip(places, results, strict=True):
                report(place, result)
                self.tasks[place].forget()


def shares_of(tasks: Sequence[Task], n_shares: int) -> list[list[int]]:
    """Places of the tasks that a process takes at once: equal networks and equal rows lie side by side.

    Each process gets several shares if they are large enough, so that there are results before the end.
    """
    fits = fits_of(tasks)
    shapes = [fits[i].kind.shape if i in fits else "" for i in range(len(tasks))]
    order = sorted(range(len(tasks)), key=lambda i: (shapes[i], id(tasks[i].arguments.get("train")), i))
    n_shares = max(n_shares, min(SHARES * n_shares, len(tasks) // FEWEST_IN_A_SHARE))
    return [part.tolist() for part in np.array_split(order, n_shares)]


def gpus_of(tasks: Sequence[Task], networks: Sequence[int]) -> list[int]:
    """The GPUs that the networks train on, which are one process's: all there are, unless the networks name one."""
    network = tasks[networks[0]].network() if networks else None
    device = None if network is None else resolve_device(network.device)
    if device is None or device.type != "cuda":
        return []
    return list(range(torch.cuda.device_count())) if device.index is None else [device.index]


def run_on_gpus(tasks: Sequence[Task], gpus: Sequence[int], report: Callable[[int, Any], None]) -> None:
    """Run tasks on several GPUs, with a thread for each, which takes one share of equal networks after the other."""
    shares, lock = deque(shares_of(tasks, len(gpus))), threading.Lock()

    def take() -> list[int] | None:
        with lock:
            return shares.popleft() if shares else None

    def work(gpu: int) -> None:
        with torch.cuda.device(gpu):
            while places := take():
                results = run_part([tasks[i] for i in places])
                with lock:
                    for place, result in zip(places, results, strict=True):
                        report(place, result)
                        tasks[place].forget()

    with ThreadPoolExecutor(len(gpus)) as pool:
        try:
            for done in [pool.submit(work, gpu) for gpu in gpus]:
                done.result()
        finally:
            shares.clear()  # after an error or an interrupt, no thread begins another


def unfinished(task: Task) -> Any:
    """The result of a task that was not run: its score is NaN."""

    def stop(*args: Any, **kwargs: Any) -> Any:
        raise InterruptedError

    estimator = task.arguments["estimator"]
    estimator.fit = stop
    result = task.function(**task.arguments | {"error_score": np.nan, "verbose": 0})
    del estimator.fit
    return result | {"fit_error": None, "group": UNFINISHED}


@dataclass
class Future:
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
    inner = {prefer: get_active_backend(prefer=prefer) for prefer in (None, "threads", "processes")}
    if isinstance(inner[None][0], BatchedFits):  # of a search in a search
        inner = inner[None][0].inner
    backend = BatchedFits(inner, keeps_finished, nesting_level=inner[None][0].nesting_level)
    with joblib.parallel_config(backend=backend):
        yield

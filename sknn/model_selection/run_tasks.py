"""Run tasks in one process: train the networks of each group jointly, then run the tasks."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from sknn.model_selection.fits import Fit
from sknn.model_selection.grouping import GroupKey
from sknn.model_selection.memory import free_memory, max_joint_networks
from sknn.model_selection.preprocessing_cache import PreprocessingCache
from sknn.model_selection.tasks import Task
from sknn.model_selection.train_fits import train_fits

OnResult = Callable[[int, Any], None]  # called with a task's index and result


def run_tasks(tasks: Sequence[Task], on_result: OnResult) -> None:
    """Run the fits that can be trained jointly, then the other tasks. Call `on_result` after each task."""
    fits = find_joint_fits(tasks)
    single = [i for i in range(len(tasks)) if i not in fits]
    groups: dict[str, deque[int]] = {}
    for i, fit in fits.items():
        groups.setdefault(fit.key.parameters, deque()).append(i)
    for indices in groups.values():
        while indices:
            prepared = prepare_fits(fits, indices)
            for batch in split_into_batches(prepared):
                train_fits([prepared[i] for i in batch])
                for i in batch:
                    on_result(i, prepared.pop(i).result())
                    tasks[i].release()
                    del fits[i]
    for i in single:
        on_result(i, tasks[i].run())


def find_joint_fits(tasks: Sequence[Task]) -> dict[int, Fit]:
    """Return the fits that can be trained jointly, by the index of their task."""
    keys: dict[int, GroupKey] = {}  # by the id of a candidate's parameters, which all of its folds share
    fits = {}
    for i, task in enumerate(tasks):
        estimator = task.joint_estimator()
        if estimator is not None:
            candidate = id(task.arguments.get("parameters"))
            if candidate not in keys:
                keys[candidate] = GroupKey.from_task(task, estimator)
            fits[i] = Fit(task, estimator, keys[candidate])
    return fits


def prepare_fits(fits: dict[int, Fit], indices: deque[int]) -> dict[int, Fit]:
    """Prepare fits until their tables and networks need a quarter of the free memory, but at least one.

    Their indices are removed from the left of `indices`.
    """
    prepared: dict[int, Fit] = {}
    cache, limit, n_bytes = PreprocessingCache(), free_memory() / 4, 0
    while indices and (not prepared or n_bytes + cache.n_bytes < limit):
        fit = fits[indices[0]]
        fit.prepare(cache)
        if isinstance(fit.error, MemoryError) and prepared:
            fit.error = None  # try again when the others are trained and their memory is free
            break
        prepared[indices.popleft()] = fit
        n_bytes += fit.n_bytes
    return prepared


def split_into_batches(fits: dict[int, Fit]) -> Iterator[list[int]]:
    """Yield the indices of the fits to train jointly: fits of one group, sorted by cost, as many as memory allows."""
    groups: dict[Any, list[int]] = {}
    for i, fit in fits.items():
        groups.setdefault(fit.group if fit.error is None else i, []).append(i)
    for indices in groups.values():
        first = fits[indices[0]]
        max_fits = 1 if first.error is not None else max_joint_networks(first.net)
        n_batches = -(-len(indices) // max_fits)
        indices.sort(key=lambda i: fits[i].cost_key)
        yield from (batch.tolist() for batch in np.array_split(indices, n_batches))

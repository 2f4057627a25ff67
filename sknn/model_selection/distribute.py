"""Distribute tasks to processes, to the workers of a cluster, or to GPUs."""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from sklearn.utils.parallel import Parallel, delayed

from sknn.model_selection.run_tasks import OnResult, find_joint_fits, run_tasks
from sknn.model_selection.tasks import Task
from sknn.utils.device import resolve_device

SHARES_PER_WORKER = 4  # so that the first results come early
MIN_FITS_PER_SHARE = 16  # fewer gain little from a joint training


def distribute(
    tasks: Sequence[Task], backend: Any, n_jobs: int | None, prefer: str | None, on_result: OnResult
) -> None:
    """Run tasks in this process, on several GPUs, or in the workers of a joblib backend."""
    has_fits = any(task.is_fit for task in tasks)
    gpus = find_gpus(tasks) if has_fits else []
    n_workers = 1 if n_jobs is None else min(backend.effective_n_jobs(n_jobs), len(tasks))
    if len(gpus) > 1:
        run_on_gpus(tasks, gpus, on_result)
    elif gpus or n_workers <= 1:
        run_tasks(tasks, on_result)
    else:
        shares = split_into_shares(tasks, n_workers) if has_fits else [[i] for i in range(len(tasks))]
        return_as = "generator" if getattr(backend, "supports_return_generator", False) else "list"
        parallel = Parallel(n_jobs=n_jobs, prefer=prefer, return_as=return_as)
        calls = (delayed(run_share)([tasks[i] for i in indices]) for indices in shares)
        for indices, results in zip(shares, parallel(calls), strict=True):
            for i, result in zip(indices, results, strict=True):
                on_result(i, result)
                tasks[i].release()


def run_share(tasks: Sequence[Task]) -> list[Any]:
    """Run tasks and return their results."""
    results: dict[int, Any] = {}
    run_tasks(tasks, results.__setitem__)
    return [results[i] for i in range(len(tasks))]


def split_into_shares(tasks: Sequence[Task], n_workers: int) -> list[list[int]]:
    """Return the indices of the tasks in each share, sorted by network and rows.

    Each worker gets several shares if they are large enough.
    """
    fits = find_joint_fits(tasks)
    keys = [fits[i].key.parameters if i in fits else "" for i in range(len(tasks))]
    order = sorted(range(len(tasks)), key=lambda i: (keys[i], id(tasks[i].arguments.get("train")), i))
    n_shares = max(n_workers, min(SHARES_PER_WORKER * n_workers, len(tasks) // MIN_FITS_PER_SHARE))
    return [indices.tolist() for indices in np.array_split(order, n_shares)]


def find_gpus(tasks: Sequence[Task]) -> list[int]:
    """Return the GPUs that the estimators train on: the one that `device` names, or all GPUs."""
    estimator = next(task for task in tasks if task.is_fit).joint_estimator()
    device = None if estimator is None else resolve_device(estimator.device)
    if device is None or device.type != "cuda":
        return []
    return list(range(torch.cuda.device_count())) if device.index is None else [device.index]


def run_on_gpus(tasks: Sequence[Task], gpus: Sequence[int], on_result: OnResult) -> None:
    """Run tasks on several GPUs, with a thread for each GPU that runs one share after the other."""
    shares, lock = deque(split_into_shares(tasks, len(gpus))), threading.Lock()

    def next_share() -> list[int] | None:
        with lock:
            return shares.popleft() if shares else None

    def run(gpu: int) -> None:
        with torch.cuda.device(gpu):
            while indices := next_share():
                results = run_share([tasks[i] for i in indices])
                with lock:
                    for i, result in zip(indices, results, strict=True):
                        on_result(i, result)
                        tasks[i].release()

    with ThreadPoolExecutor(len(gpus)) as pool:
        try:
            for future in [pool.submit(run, gpu) for gpu in gpus]:
                future.result()
        finally:
            shares.clear()  # after an error or an interrupt, no thread starts another share

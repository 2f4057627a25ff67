"""Threads that torch and numpy compute with: how many, and restored afterwards."""

import contextlib
import functools
import os
import threading
from collections.abc import Iterator
from typing import Any

import joblib
import torch
from threadpoolctl import ThreadpoolController

# Below this many multiplications in a step, a second thread costs too much where other processes keep the cores busy:
# at the end of every operation one waits for the other, which waits for a core.  Measured on two cores that two to five
# busy processes shared, two threads took, of the time of one: 3 to 14 times with steps of the default network (40 to
# 700 million), 2.2 times with 7 billion, 1.7 with 13 to 20, 1.2 with 26 and with 53 (layers of 2048, batches of 4096).
WORK_FOR_THREADS = 50_000_000_000
IMPORTED_BY = os.getpid()

if hasattr(os, "register_at_fork"):
    # The threads that torch computes with are not there in a forked process, and whoever calls them waits for ever.
    os.register_at_fork(after_in_child=functools.partial(torch.set_num_threads, 1))


def most_threads() -> int:
    """Threads that this process may compute with: one if it was forked, else what affinity and container allow."""
    return 1 if os.getpid() != IMPORTED_BY else _cpu_count()


@functools.cache  # asking takes as long as a prediction
def _cpu_count() -> int:
    return joblib.cpu_count()


@contextlib.contextmanager
def threads(n_threads: int | str, work_per_step: int) -> Iterator[None]:
    """Compute with `n_threads` threads ("auto": one where a step is too small to share), then restore the setting.

    Not with more than this process may use.
    """
    before = torch.get_num_threads()
    chosen = 1 if work_per_step < WORK_FOR_THREADS else before
    wanted = chosen if n_threads == "auto" else int(n_threads)
    wanted = wanted if wanted == 1 else min(wanted, most_threads())
    if wanted == before:
        yield
        return
    torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _OneBlasThread:
    """While anyone is inside, numpy's BLAS computes on one thread.

    Its idle threads stay awake for a while, as torch's do: where both have several, each waits for the other's to leave
    the processor, and a product takes twenty times as long.  The setting is the process's, so the last one out
    restores it, unless somebody else has come in between.  What an interrupt keeps from being restored is restored by
    the next one out.
    """

    def __init__(self) -> None:
        self._before: list[tuple[Any, int]] = []
        self._begin_anew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        self._lock, self._inside = threading.RLock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                if not self._before:
                    counts = [(library, library.get_num_threads()) for library in _blas_libraries()]
                    self._before = [(library, n_threads) for library, n_threads in counts if n_threads > 1]
                for library, _ in self._before:
                    _set_blas_threads(library, 1)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                for library, n_threads in self._before:
                    _set_blas_threads(library, n_threads)
                self._before = []


@functools.cache
def _blas_libraries() -> list[Any]:
    """What sets the threads of each OpenBLAS that has its own, numpy's among them.

    Not of one on OpenMP, nor of MKL: their threads may be torch's as well.
    """
    found = ThreadpoolController().select(internal_api="openblas").lib_controllers
    return [library for library in found if library.threading_layer == "pthreads"]


def _set_blas_threads(library: Any, n_threads: int) -> None:
    """Whichever thread asks; newer threadpoolctl hears only the first one that ever did, until told to forget it."""
    forget = getattr(library, "clear_controlling_thread", lambda force: None)
    forget(force=True)
    library.set_num_threads(n_threads)
    forget(force=True)


one_blas_thread = _OneBlasThread()

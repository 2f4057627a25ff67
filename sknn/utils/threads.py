"""Set the numbers of threads of torch and of numpy's BLAS for a block of code."""

import contextlib
import functools
import os
import threading
from collections.abc import Iterator
from typing import Any

import joblib
import torch
from threadpoolctl import ThreadpoolController

# Multiplications in a step from which more than one thread is used. With less work a second thread is slow on busy
# cores: at the end of every operation each thread waits for the other, which waits for a core. On two cores that were
# shared with two to five busy processes, two threads took this many times as long as one: 3 to 14 for steps of the
# default network (40 to 700 million multiplications), 2.2 for 7 billion, 1.7 for 13 to 20, 1.2 for 26 and 53 (layers of
# 2048, batches of 4096).
WORK_FOR_THREADS = 50_000_000_000
IMPORTING_PROCESS = os.getpid()
_cpu_count = functools.cache(joblib.cpu_count)  # a call takes as long as a prediction

if hasattr(os, "register_at_fork"):
    # A forked process does not have torch's worker threads, and an operation that needs them would wait forever.
    os.register_at_fork(after_in_child=functools.partial(torch.set_num_threads, 1))


def max_threads() -> int:
    """Return the number of threads that this process may use: 1 if it was forked, else that of available CPUs."""
    return 1 if os.getpid() != IMPORTING_PROCESS else _cpu_count()


@contextlib.contextmanager
def threads(n_threads: int | str, work_per_step: int) -> Iterator[None]:
    """Use `n_threads` threads in torch, but at most those available to the process; restore the setting afterwards.

    "auto" is one thread for steps that are too small to share, else the current setting.
    """
    before = torch.get_num_threads()
    if n_threads == "auto":
        n_threads = 1 if work_per_step < WORK_FOR_THREADS else before
    n = int(n_threads)
    n = n if n == 1 else min(n, max_threads())
    if n == before:
        yield
        return
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class SingleBlasThread:
    """A context manager in which numpy's BLAS uses one thread.

    Idle threads of BLAS spin for a while, like those of torch. If both have several threads, each library waits until
    the other's threads leave the cores, and a product takes twenty times as long.

    The setting belongs to the process, so the contexts of all threads are counted, and the last exit restores it. If an
    interrupt prevents that, the setting is restored when the last context exits the next time.
    """

    def __init__(self) -> None:
        self._before: list[tuple[Any, int]] = []  # BLAS libraries, and their numbers of threads outside of the context
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._lock, self._n_contexts = threading.RLock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if self._n_contexts == 0:
                if not self._before:
                    counts = [(library, library.get_num_threads()) for library in _blas_libraries()]
                    self._before = [(library, n_threads) for library, n_threads in counts if n_threads > 1]
                for library, _ in self._before:
                    _set_blas_threads(library, 1)
            self._n_contexts += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_contexts -= 1
            if self._n_contexts == 0:
                for library, n_threads in self._before:
                    _set_blas_threads(library, n_threads)
                self._before = []


@functools.cache
def _blas_libraries() -> list[Any]:
    """Return threadpoolctl's controllers of all OpenBLAS libraries with their own threads, such as numpy's.

    MKL, and OpenBLAS built with OpenMP, are left out: torch may use the same threads.
    """
    controllers = ThreadpoolController().select(internal_api="openblas").lib_controllers
    return [library for library in controllers if library.threading_layer == "pthreads"]


def _set_blas_threads(library: Any, n_threads: int) -> None:
    """Set the number of threads from any thread.

    Newer threadpoolctl ignores calls from other threads than the first, so clear its record before and after.
    """
    clear = getattr(library, "clear_controlling_thread", lambda force: None)
    clear(force=True)
    library.set_num_threads(n_threads)
    clear(force=True)


one_blas_thread = SingleBlasThread()

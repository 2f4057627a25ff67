"""Where and how a network computes: device, precision, threads, and random streams that belong to one estimator."""

import contextlib
import functools
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

DEVICES = ("auto", "cpu", "cuda", "mps", "xla")
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.float32, "auto": torch.float32}

# Below this many multiplications in a step, a second thread costs too much where other processes keep the cores busy:
# at the end of every operation one waits for the other, which waits for a core.  Measured on two cores that two to five
# busy processes shared, two threads took, of the time of one: 3 to 14 times with steps of the default network (40 to
# 700 million), 2.2 times with 7 billion, 1.7 with 13 to 20, 1.2 with 26 and with 53 (layers of 2048, batches of 4096).
WORK_FOR_THREADS = 50_000_000_000


def resolve_device(device: str) -> torch.device:
    """The torch device of a `device` parameter.

    Raises
    ------
    ValueError
        If there is no such device, or not on this machine.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind = device.partition(":")[0]
    if kind not in DEVICES:
        raise ValueError(f"device={device!r} is unknown; use one of {', '.join(DEVICES)}, or a numbered 'cuda:1'.")
    if kind == "xla":
        return _xla_device()
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device={device!r} is no device's name: {error}") from error
    if kind == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={device!r} is not on this machine, which has {torch.cuda.device_count()} CUDA devices; "
            "use device='cpu', or 'auto' for the best one there is."
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device={device!r} is not on this machine; use device='cpu', or 'auto'.")
    return resolved


def _xla_device() -> torch.device:
    try:
        import torch_xla.core.xla_model as xla_model
    except ImportError as error:
        raise ValueError("device='xla' (TPU) needs the package torch_xla; install it, or use device='auto'.") from error
    return xla_model.xla_device()


@dataclass(frozen=True)
class Precision:
    """The type of the parameters, and that of the matrix products where it differs."""

    dtype: torch.dtype
    product_dtype: torch.dtype | None = None


def resolve_precision(precision: str, device: torch.device) -> Precision:
    """The types of a `precision` parameter; "auto" is float32 here, and `lbfgs` asks for float64 itself."""
    if precision == "float64" and device.type == "mps":
        raise ValueError("precision='float64' is not supported on device='mps'; use 'float32' or another device.")
    return Precision(DTYPES[precision], torch.bfloat16 if precision == "bfloat16" else None)


# --- Threads ------------------------------------------------------------------------------------------------------

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


def stream(seed: int, member: int, purpose: str, device: torch.device, start: int = 0) -> torch.Generator:
    """A generator for one purpose of one member, from epoch `start` on; no two of them are related."""
    return torch.Generator(_generates_on(device)).manual_seed(_own_seed(seed, member, purpose, start))


# Of plain random bits: on a CPU numpy's SFC64, which takes a third of the time of torch's Mersenne twister.
BitGenerator = torch.Generator | np.random.BitGenerator


def stream_of_bits(seed: int, member: int, purpose: str, device: torch.device, start: int = 0) -> BitGenerator:
    """Like `stream`, for `fill_with_bits`."""
    if device.type == "cuda":
        return stream(seed, member, purpose, device, start)
    return np.random.SFC64(_own_seed(seed, member, purpose, start))


def fill_with_bits(words: Tensor, generator: BitGenerator) -> None:
    """Fill a tensor of int64 with random bits."""
    if isinstance(generator, torch.Generator):
        words.random_(-(2**63), None, generator=generator)
    else:
        # Raw words, copied by numpy, take a third of the time of `integers` and `copy_`.
        words.numpy().view(np.uint64)[...] = generator.random_raw(words.numel()).reshape(words.shape)


def _generates_on(device: torch.device) -> torch.device | str:
    return device if device.type == "cuda" else "cpu"


def _own_seed(seed: int, member: int, purpose: str, start: int) -> int:
    entropy = [seed, member, start, *purpose.encode()]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))

"""How the net and the estimators deal with skorch's callbacks: copies, pickles, and who wants to see batches."""

import copy
import dis
import pickle
from typing import Any

from skorch.callbacks import Callback, EpochScoring, LRScheduler, TensorBoard


def listed(callbacks: Any) -> list:
    """The parameter as a list, which one callback need not be, and None is not."""
    if isinstance(callbacks, Callback):
        return [callbacks]
    return [] if callbacks is None else list(callbacks)


def copy_callback(callback: Any) -> Any:
    """A callback as it was before any training; writers and loggers, which cannot be copied, are shared."""
    if isinstance(callback, tuple):
        return callback[0], copy_callback(callback[1])
    if isinstance(callback, type):
        return callback
    fresh = copy.copy(callback)
    for name in [name for name in vars(fresh) if name.endswith("_")]:
        delattr(fresh, name)
    return fresh


def instantiated(callback: Any) -> Any:
    """A callback that may have been given as its class."""
    if isinstance(callback, tuple):
        return callback[0], instantiated(callback[1])
    return callback() if isinstance(callback, type) else callback


def can_be_pickled(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception:  # whatever a writer or a logger raises
        return False
    return True


def watches_batches(callback: Callback) -> bool:
    """Whether a callback wants to be told of every batch, which costs more than a small network's step."""
    if isinstance(callback, EpochScoring):  # only to cache predictions, which this net does not
        return False
    if isinstance(callback, LRScheduler):
        return callback.step_every == "batch"
    if hasattr(callback, "log_on_batch_end"):
        return callback.log_on_batch_end
    idle = (Callback, TensorBoard)  # whose own methods do nothing
    methods = ("on_batch_begin", "on_batch_end", "on_grad_computed")
    return any(getattr(type(callback), name) not in [getattr(base, name) for base in idle] for name in methods)


def is_raised_by_code(interrupt: KeyboardInterrupt) -> bool:
    """Whether a `raise` statement made it, as in skorch's EarlyStopping; Ctrl-C strikes at any other instruction."""
    traceback = interrupt.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and traceback.tb_frame.f_code.co_code[traceback.tb_lasti] == dis.opmap["RAISE_VARARGS"]

"""Copy, pickle and classify skorch callbacks, and tell an end of training by a callback from the user's Ctrl-C."""

import copy
import pickle
from traceback import walk_tb
from typing import Any

from skorch.callbacks import Callback, EarlyStopping, EpochScoring, LRScheduler, TensorBoard


class StopTraining(KeyboardInterrupt):
    """Raise it in a callback to end a training; the model trained so far is kept, without a warning.

    It is a `KeyboardInterrupt`, since skorch's callbacks end a training by one. A plain `KeyboardInterrupt` counts as
    the user's Ctrl-C, which also ends a search.

    Parameters
    ----------
    *args : object
        As for any exception.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skorch.callbacks import Callback
    >>> from sknn import NeuralClassifier
    >>> from sknn.callbacks import StopTraining
    >>> class AfterThreeEpochs(Callback):
    ...     def on_epoch_end(self, net, **kwargs):
    ...         if len(net.history) == 3:
    ...             raise StopTraining
    >>> clf = NeuralClassifier(callbacks=[AfterThreeEpochs()], random_state=0)
    >>> clf.fit(*load_iris(return_X_y=True)).n_iter_
    3
    """


def listed(callbacks: Any) -> list:
    """Return the parameter `callbacks` as a list; it may be a single callback, or None."""
    if isinstance(callbacks, Callback):
        return [callbacks]
    return [] if callbacks is None else list(callbacks)


def copy_callback(callback: Any) -> Any:
    """Return a copy of a callback as before any training; it shares writers and loggers, which can't be copied."""
    if isinstance(callback, tuple):
        return callback[0], copy_callback(callback[1])
    if isinstance(callback, type):
        return callback
    fresh = copy.copy(callback)
    for name in [name for name in vars(fresh) if name.endswith("_")]:
        delattr(fresh, name)
    return fresh


def instantiated(callback: Any) -> Any:
    """Return a callback, which may be given as its class."""
    if isinstance(callback, tuple):
        return callback[0], instantiated(callback[1])
    return callback() if isinstance(callback, type) else callback


def name_of(callback: Any) -> str:
    """Return the name of a callback's class."""
    callback = callback[1] if isinstance(callback, tuple) else callback
    return callback.__name__ if isinstance(callback, type) else type(callback).__name__


def can_be_pickled(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception:  # writers and loggers raise errors of many kinds
        return False
    return True


def watches_batches(callback: Callback) -> bool:
    """Return whether a callback acts on every batch; calling it takes longer than a small network's step."""
    if isinstance(callback, EpochScoring):  # it would only cache predictions, which this net does not do
        return False
    if isinstance(callback, LRScheduler):
        return callback.step_every == "batch"
    if hasattr(callback, "log_on_batch_end"):
        return callback.log_on_batch_end
    idle = (Callback, TensorBoard)  # classes whose own methods do nothing
    methods = ("on_batch_begin", "on_batch_end", "on_grad_computed")
    return any(getattr(type(callback), name) not in [getattr(base, name) for base in idle] for name in methods)


def is_of_callback(interrupt: KeyboardInterrupt) -> bool:
    """Return whether a callback ended the training, rather than the user by Ctrl-C."""
    return isinstance(interrupt, StopTraining) or _is_early_stopping(interrupt)


def _is_early_stopping(interrupt: KeyboardInterrupt) -> bool:
    """Return whether skorch's EarlyStopping raised it: in its own code, at the end of its patience."""
    frames = [frame for frame, _ in walk_tb(interrupt.__traceback__)]
    if not frames or frames[-1].f_code is not EarlyStopping.on_epoch_end.__code__:
        return False
    callback = frames[-1].f_locals["self"]
    return callback.misses_ == callback.patience

"""How the net and the estimators deal with callbacks: copies, pickles, who sees batches, and who ends a training."""

import copy
import pickle
from traceback import walk_tb
from typing import Any

from skorch.callbacks import Callback, EarlyStopping, EpochScoring, LRScheduler, TensorBoard


class StopTraining(KeyboardInterrupt):
    """Raised by a callback to end a training; what has been trained so far is kept, without a warning.

    skorch ends a training by a `KeyboardInterrupt`, which this is, too.  A plain `KeyboardInterrupt` is taken for the
    user's Ctrl-C, which also ends a search.

    Parameters
    ----------
    *args : object
        As any exception takes them.

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


def name_of(callback: Any) -> str:
    """The name of a callback's class."""
    callback = callback[1] if isinstance(callback, tuple) else callback
    return callback.__name__ if isinstance(callback, type) else type(callback).__name__


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


def is_of_callback(interrupt: KeyboardInterrupt) -> bool:
    """Whether a callback ended the training, and not the user by Ctrl-C."""
    return isinstance(interrupt, StopTraining) or _is_of_early_stopping(interrupt)


def _is_of_early_stopping(interrupt: KeyboardInterrupt) -> bool:
    """Whether skorch's EarlyStopping raised it: at the end of its patience, in its own code."""
    frames = [frame for frame, _ in walk_tb(interrupt.__traceback__)]
    if not frames or frames[-1].f_code is not EarlyStopping.on_epoch_end.__code__:
        return False
    callback = frames[-1].f_locals["self"]
    return callback.misses_ == callback.patience

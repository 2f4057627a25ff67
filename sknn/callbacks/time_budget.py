"""End a training within a time budget."""

import time
from numbers import Real
from typing import Any

from skorch.callbacks import Callback

from sknn.training.callbacks import StopTraining
from sknn.training.lbfgs import LBFGSNet


class TimeBudget(Callback):
    """Ends a training within a number of seconds, with the best model so far.

    Parameters
    ----------
    seconds : float
        Wall time for the epochs. Steps before them (encoding the table) and after them do not count.

    Attributes
    ----------
    seconds_per_epoch_ : float
        The longest epoch so far.

    Raises
    ------
    ValueError
        At the beginning of the training, if `seconds` is not positive, or with solver='lbfgs'.

    Notes
    -----
    A training ends if another epoch, as long as the longest so far, would exceed the budget. The first epoch is always
    trained. With validation rows (`early_stopping` or `X_val`) each member keeps the weights of its best epoch, else
    its last weights. A cosine schedule is spread over `max_iter` epochs, even if the budget only suffices for a few:
    use a smaller `max_iter` then, or `learning_rate="constant"`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknn import NeuralClassifier
    >>> from sknn.callbacks import TimeBudget
    >>> X, y = load_iris(return_X_y=True)
    >>> long = NeuralClassifier(callbacks=[TimeBudget(600)], random_state=0).fit(X, y)
    >>> short = NeuralClassifier(callbacks=[TimeBudget(1e-6)], random_state=0).fit(X, y)
    >>> short.n_iter_, long.n_iter_ > 1
    (1, True)
    """

    started_: float
    epoch_started_: float
    seconds_per_epoch_: float

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        if not (isinstance(self.seconds, Real) and self.seconds > 0):
            raise ValueError(f"seconds={self.seconds!r} of TimeBudget must be a positive number of seconds.")
        if isinstance(net, LBFGSNet):
            raise ValueError(
                "TimeBudget does not work with solver='lbfgs', which calls callbacks after the last iteration; use "
                "max_iter or max_fun."
            )
        self.started_ = self.epoch_started_ = time.monotonic()
        self.seconds_per_epoch_ = 0.0

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        now = time.monotonic()
        self.seconds_per_epoch_ = max(self.seconds_per_epoch_, now - self.epoch_started_)
        self.epoch_started_ = now
        if now + self.seconds_per_epoch_ > self.started_ + self.seconds:
            raise StopTraining

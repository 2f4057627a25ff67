"""A training that ends in time."""

import time
from numbers import Real
from typing import Any

from skorch.callbacks import Callback

from sknn.training.callbacks import StopTraining
from sknn.training.lbfgs import LBFGSNet


class TimeBudget(Callback):
    """Ends a training before it has taken so many seconds, with the best model so far.

    Parameters
    ----------
    seconds : float
        Wall time for the epochs; what comes before them (encoding the table) and after does not count.

    Attributes
    ----------
    seconds_per_epoch_ : float
        The longest epoch so far.

    Raises
    ------
    ValueError
        At the begin of the training, if `seconds` is not positive, or with solver='lbfgs'.

    Notes
    -----
    A training ends when another epoch, as long as the longest so far, would not end in time; the first epoch is always
    taken.  With validation rows (`early_stopping` or `X_val`) each member gets back the weights of its best epoch, else
    the last weights are kept.  A cosine schedule is spread over `max_iter` epochs, however many there is time for: with
    a budget that is much shorter, choose a smaller `max_iter`, or `learning_rate="constant"`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sknn import NeuralClassifier
    >>> from sknn.callbacks import TimeBudget
    >>> X, y = load_iris(return_X_y=True)
    >>> patient = NeuralClassifier(callbacks=[TimeBudget(600)], random_state=0).fit(X, y)
    >>> hurried = NeuralClassifier(callbacks=[TimeBudget(1e-6)], random_state=0).fit(X, y)
    >>> hurried.n_iter_, patient.n_iter_ > 1
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
                "TimeBudget does not work with solver='lbfgs', whose iterations callbacks see when they are over; use "
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

"""A training that ends early if its trial of Optuna is not promising."""

from typing import Any

from skorch.callbacks import Callback

from sknn.history.records import record_of


class OptunaPruning(Callback):
    """Reports each epoch to a trial of Optuna, and ends the training if the trial is not promising.

    Parameters
    ----------
    trial : optuna.Trial
    monitor : str, default='valid_loss'
        The record of `history_` that is reported.  It has to go the way of the study's `direction`: the default suits
        `direction='minimize'`.

    Raises
    ------
    optuna.TrialPruned
        Out of `fit`, when the trial should be pruned.
    ImportError
        If Optuna is not installed.
    KeyError
        If there is no such record, as there is no validation loss without `early_stopping` or `X_val`.

    Notes
    -----
    An estimator with callbacks trains on its own, also in a search.  Over several folds, report the mean of their
    scores instead, after each fold.
    """

    def __init__(self, trial: Any, monitor: str = "valid_loss") -> None:
        self.trial, self.monitor = trial, monitor

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        try:
            from optuna import TrialPruned
        except ImportError as error:
            raise ImportError("OptunaPruning needs Optuna; install it with: pip install 'sknn[optuna]'") from error
        record = record_of(net.history[-1])
        if self.monitor not in record:
            raise KeyError(f"monitor={self.monitor!r} is not recorded; there are {', '.join(record)}.")
        self.trial.report(record[self.monitor], len(net.history))
        if self.trial.should_prune():
            raise TrialPruned(f"Pruned in epoch {len(net.history)}, at {self.monitor} {record[self.monitor]:.4g}.")

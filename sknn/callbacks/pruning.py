"""End a training if its Optuna trial is not promising."""

from typing import Any

from skorch.callbacks import Callback

from sknn.history.records import make_record


class OptunaPruning(Callback):
    """Reports each epoch to a trial of Optuna, and ends the training if the trial is not promising.

    Parameters
    ----------
    trial : optuna.Trial
    monitor : str, default='valid_loss'
        The value of `history_` to report. It has to fit the study's `direction`: the default is for
        `direction='minimize'`.

    Raises
    ------
    optuna.TrialPruned
        In `fit`, if the trial should be pruned.
    ImportError
        If Optuna is not installed.
    KeyError
        If `monitor` is not recorded; for example, there is no validation loss without `early_stopping` or `X_val`.

    Notes
    -----
    An estimator with callbacks is not trained jointly with others in a search. To prune a cross-validation, report the
    mean score after each fold instead of using this callback.
    """

    def __init__(self, trial: Any, monitor: str = "valid_loss") -> None:
        self.trial, self.monitor = trial, monitor

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        try:
            from optuna import TrialPruned
        except ImportError as error:
            raise ImportError("OptunaPruning needs Optuna; install it with: pip install 'sknn[optuna]'") from error
        record = make_record(net.history[-1])
        if self.monitor not in record:
            raise KeyError(f"monitor={self.monitor!r} is not recorded; use one of {', '.join(record)}.")
        self.trial.report(record[self.monitor], len(net.history))
        if self.trial.should_prune():
            raise TrialPruned(f"Pruned in epoch {len(net.history)}, at {self.monitor} {record[self.monitor]:.4g}.")

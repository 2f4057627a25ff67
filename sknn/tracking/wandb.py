"""A fit as a run of Weights & Biases."""

from typing import Any

from sknn.tracking.base import Tracker, parameters_of, results_of


class WandbTracker(Tracker):
    """Logs each fit as a run of Weights & Biases.

    The parameters are the run's config; the values of every epoch (losses and their gap, metrics, learning rate,
    seconds, rows per second) its history; `n_iter` and `best_validation_score` its summary.

    A fit that fails marks its run as failed.  If a run is open already (`wandb.init`), the fit writes to that one and
    leaves it open: do so around a loop of `partial_fit`, each call of which is a fit of one epoch.

    Parameters
    ----------
    project : str, optional
        The project's name; by default what `wandb.init` takes it to be.
    name : str, optional
        The run's name; by default one that Weights & Biases makes up.
    options : dict, optional
        Further arguments of `wandb.init`: `{"mode": "offline", "dir": "logs"}`.

    Raises
    ------
    ImportError
        Out of `fit`, if Weights & Biases is not installed.

    Notes
    -----
    skorch's `WandbLogger` takes a run that is open, so that it can follow one fit only, and cannot be pickled.
    """

    tool = "Weights & Biases"

    def __init__(self, project: str | None = None, name: str | None = None, options: dict | None = None) -> None:
        self.project, self.name, self.options = project, name, options

    def open(self, estimator: Any) -> None:
        try:
            import wandb
        except ImportError as error:
            raise ImportError(
                "WandbTracker needs Weights & Biases; install it with: pip install 'sknn[wandb]'"
            ) from error
        self.is_ours_ = wandb.run is None
        self.run_ = wandb.run or wandb.init(**{"project": self.project, "name": self.name} | (self.options or {}))

    def describe(self, estimator: Any, X: Any, y: Any) -> None:
        self.run_.config.update(parameters_of(estimator), allow_val_change=True)
        if self.is_ours_:  # in a run of the user's, epochs may not be what the other values go by
            self.run_.define_metric("*", step_metric="epoch")

    def write(self, epoch: int, values: dict[str, float], net: Any) -> None:
        self.run_.log(values | {"epoch": epoch})

    def conclude(self, estimator: Any, X: Any, y: Any) -> None:
        self.run_.summary.update(results_of(estimator))

    def close(self, failed: bool) -> None:
        if self.is_ours_:
            self.run_.finish(exit_code=int(failed))

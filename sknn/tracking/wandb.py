"""Log a fit as a run of Weights & Biases."""

from typing import Any

from sknn.tracking.base import Tracker, fit_results, plain_params


class WandbTracker(Tracker):
    """Logs each fit as a run of Weights & Biases.

    The parameters are the run's config. The values of every epoch (losses and their gap, metrics, learning rate,
    seconds, rows per second) are its history. `n_iter`, `best_validation_score` and the weights of the kinds
    of members, if they differ, are in its summary.

    A fit that fails marks its run as failed. If a run is already open (`wandb.init`), the fit writes to it and leaves
    it open. Open a run for a loop of `partial_fit`, because each call is a fit of one epoch.

    Parameters
    ----------
    project : str, optional
        The project's name; by default that of `wandb.init`.
    name : str, optional
        The run's name; by default Weights & Biases generates one.
    options : dict, optional
        Further arguments of `wandb.init`: `{"mode": "offline", "dir": "logs"}`.

    Raises
    ------
    ImportError
        In `fit`, if Weights & Biases is not installed.

    Notes
    -----
    skorch's `WandbLogger` takes an open run, so it can only log one fit and can't be pickled.
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
        self.owns_run_ = wandb.run is None
        self.run_ = wandb.run or wandb.init(**{"project": self.project, "name": self.name} | (self.options or {}))

    def write_description(self, estimator: Any, X: Any, y: Any) -> None:
        self.run_.config.update(plain_params(estimator), allow_val_change=True)
        if self.owns_run_:  # in a user's run, other values may have another x-axis than the epoch
            self.run_.define_metric("*", step_metric="epoch")

    def write_epoch(self, epoch: int, values: dict[str, float], net: Any) -> None:
        self.run_.log(values | {"epoch": epoch})

    def write_results(self, estimator: Any, X: Any, y: Any) -> None:
        self.run_.summary.update(fit_results(estimator))

    def close(self, failed: bool) -> None:
        if self.owns_run_:
            self.run_.finish(exit_code=int(failed))

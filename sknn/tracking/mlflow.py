"""Log a fit as a run of MLflow: parameters, data, values of every epoch, and the model."""

import contextlib
import importlib.metadata
import importlib.util
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from sknn.history.curves import TrainingCurves
from sknn.inspection.training_curve import TrainingCurveDisplay
from sknn.tracking.base import Tracker, errors_as_warnings, fit_results, plain_params, to_plain

FLUSH_SECONDS = 10.0  # a write to the store takes about 25 ms, even for a few values
MAX_METRICS, MAX_PARAMS = 1000, 100  # MLflow's limits for one call
SAMPLE_ROWS = 100  # for the signature
_schema_lock = threading.Lock()
REQUIREMENTS = ("sknn", "torch", "skorch", "scikit-learn", "scipy", "numpy", "joblib", "cloudpickle")


class MLflowTracker(Tracker):
    """Logs each fit as a run of MLflow.

    The run holds the parameters, the training data (as a dataset: its schema, size and digest, not its rows), the
    losses, metrics, learning rate and seconds of every epoch, and, after a `fit`, a picture of the training (if
    matplotlib is installed) and the model with its signature and pinned requirements. `mlflow.sklearn.load_model`
    loads the estimator, `mlflow.pyfunc.load_model` a model to serve.

    A fit that fails marks its run as failed. If a run is already open (`mlflow.start_run`), the fit writes to it and
    leaves it open. Open a run for a loop of `partial_fit`, because each call is a fit of one epoch.

    Parameters
    ----------
    experiment : str, optional
        The experiment's name, which is created if it does not exist; by default MLflow's current experiment.
    name : str, optional
        The run's name; by default that of the estimator's class.
    log_dataset, log_model : bool, default=True
        Whether to log the description of the data, and the model.

    Raises
    ------
    ImportError
        In `fit`, if MLflow is not installed.

    Notes
    -----
    Values are written to the store every 10 seconds and at the end, with the times at which they were measured.

    The model is stored with cloudpickle, because estimators may hold the user's functions and modules, which the safer
    skops does not support. Only load models that you trust.

    Set the store with `mlflow.set_tracking_uri`. skorch's `MlflowLogger` writes the values and the weights to your own
    run.
    """

    tool = "MLflow"

    def __init__(
        self,
        experiment: str | None = None,
        name: str | None = None,
        log_dataset: bool = True,
        log_model: bool = True,
    ) -> None:
        self.experiment, self.name, self.log_dataset, self.log_model = experiment, name, log_dataset, log_model

    def open(self, estimator: Any) -> None:
        mlflow = import_mlflow("MLflowTracker")
        self.pending_metrics_: list = []
        self.last_flush_ = time.monotonic()
        self.client_ = mlflow.MlflowClient()
        self.owns_run_ = mlflow.active_run() is None
        self.run_ = mlflow.active_run() or mlflow.start_run(
            experiment_id=None if self.experiment is None else find_experiment(self.experiment),
            run_name=self.name or type(estimator).__name__,
        )

    def write_description(self, estimator: Any, X: Any, y: Any) -> None:
        log_params(self.client_, self._run_id, plain_params(estimator))
        if self.log_dataset:
            log_dataset(X, y)

    def write_epoch(self, epoch: int, values: dict[str, float], net: Any) -> None:
        self._add_metrics(values, epoch, time.time())
        if time.monotonic() - self.last_flush_ >= FLUSH_SECONDS:
            self._flush()

    def write_results(self, estimator: Any, X: Any, y: Any) -> None:
        self._write_fit_results(estimator)
        if self.log_model:
            log_model(estimator, X)

    def close(self, failed: bool) -> None:
        import mlflow

        try:
            self._flush()
        finally:
            if self.owns_run_:
                mlflow.end_run("FAILED" if failed else "FINISHED")

    @property
    def _run_id(self) -> str:
        return self.run_.info.run_id

    def _add_metrics(self, values: dict[str, float], step: int, seconds: float) -> None:
        self.pending_metrics_ += make_metrics(values, step, seconds)

    def _write_fit_results(self, est: Any) -> None:
        self._add_metrics(fit_results(est), len(est.history_), time.time())
        if importlib.util.find_spec("matplotlib") is not None:
            self.client_.log_figure(self._run_id, draw_training(est), "training_curve.png")

    def _flush(self) -> None:
        """Write the metrics since the last call."""
        metrics, self.pending_metrics_, self.last_flush_ = self.pending_metrics_, [], time.monotonic()
        for start in range(0, len(metrics), MAX_METRICS):
            self.client_.log_batch(self._run_id, metrics=metrics[start : start + MAX_METRICS])


def import_mlflow(caller: str) -> Any:
    try:
        import mlflow.sklearn
    except ImportError as error:
        raise ImportError(f"{caller} needs MLflow; install it with: pip install 'sknn[mlflow]'") from error
    return mlflow


def find_experiment(name: str) -> str:
    """Return the id of an experiment, and create it if it does not exist."""
    import mlflow

    experiment = mlflow.get_experiment_by_name(name)
    return mlflow.create_experiment(name) if experiment is None else experiment.experiment_id


def make_metrics(values: dict[str, float], step: int, seconds: float) -> list:
    """Convert values, measured at a Unix time, into MLflow's metrics."""
    from mlflow.entities import Metric

    return [Metric(name, float(value), int(1000 * seconds), step) for name, value in values.items()]


def log_params(client: Any, run_id: str, params: dict[str, Any]) -> None:
    from mlflow.entities import Param

    entries = [Param(name, str(to_plain(value))) for name, value in params.items()]
    for start in range(0, len(entries), MAX_PARAMS):
        client.log_batch(run_id, params=entries[start : start + MAX_PARAMS])


def log_dataset(X: Any, y: Any) -> None:
    """Log the training data of the active run; MLflow can't describe a sparse table."""
    import mlflow

    if sp.issparse(X):
        return
    if hasattr(X, "to_pandas"):  # polars
        X = X.to_pandas()
    with schema_inference():
        mlflow.log_input(make_dataset(X, y), context="training")


def make_dataset(X: Any, y: Any) -> Any:
    """Return MLflow's dataset of a table and its target."""
    from mlflow.data.numpy_dataset import from_numpy
    from mlflow.data.pandas_dataset import from_pandas

    if not hasattr(X, "iloc"):
        return from_numpy(np.asarray(X), targets=np.asarray(y))
    if np.ndim(y) != 1:
        return from_pandas(X)
    target = str(getattr(y, "name", None) or "target")
    while target in X.columns:
        target += "_"
    return from_pandas(X.assign(**{target: np.asarray(y)}), targets=target)


def draw_training(est: Any) -> Any:
    """Return a figure of a training. It is created without pyplot, so it opens no window and needs no closing."""
    from matplotlib.figure import Figure

    panels = TrainingCurves(est.history_).main_panels()
    figure = Figure(figsize=(5.5 * len(panels), 4.0), layout="constrained")
    TrainingCurveDisplay.from_estimator(est, kind=panels, ax=figure.subplots(1, len(panels), squeeze=False)[0])
    return figure


def log_model(estimator: Any, X: Any) -> None:
    import mlflow.sklearn

    signature = None
    with errors_as_warnings("MLflow"):  # MLflow does not support all types of columns
        signature = infer_signature(estimator, X)
    mlflow.sklearn.log_model(
        estimator,
        name="model",
        signature=signature,
        pip_requirements=pinned_requirements(),
        serialization_format="cloudpickle",
    )


def infer_signature(estimator: Any, X: Any) -> Any:
    """Return the model's signature (types of inputs and outputs), from a few rows."""
    from mlflow import models

    rows: Any = X[:SAMPLE_ROWS] if hasattr(X, "shape") else np.asarray(X[:SAMPLE_ROWS])
    predicted = estimator.predict(rows)
    if hasattr(rows, "to_pandas"):
        rows = rows.to_pandas()
    with schema_inference():
        return models.infer_signature(rows, predicted)


@contextlib.contextmanager
def schema_inference() -> Iterator[None]:
    """Let MLflow infer the schema of a table without warnings, in one thread at a time.

    It warns of every column of integers, although the user chose their type, and of columns of strings, because of its
    use of pandas. Logging one dataset in two threads at the same time fails.
    """
    with _schema_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Hint: Inferred schema contains integer column")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="mlflow")
        yield


def pinned_requirements() -> list[str]:
    """Return the model's requirements in the installed versions, without local parts (+cpu) that pip can't find."""
    versions = {name: importlib.metadata.version(name) for name in REQUIREMENTS}
    return [f"{name}=={version.partition('+')[0]}" for name, version in versions.items()]

"""A fit as a run of MLflow: parameters, data, values of every epoch, and the model."""

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
from sknn.tracking.base import Tracker, at_most_a_warning, parameters_of, plain, results_of

FLUSH_SECONDS = 10.0  # a write to the store takes some 25 ms, however few values it holds
MOST_METRICS, MOST_PARAMS = 1000, 100  # that MLflow takes at once
SAMPLE_ROWS = 100  # that the signature is read from
_one_table_at_a_time = threading.Lock()
REQUIREMENTS = ("sknn", "torch", "skorch", "scikit-learn", "scipy", "numpy", "joblib", "cloudpickle")


class MLflowTracker(Tracker):
    """Logs each fit as a run of MLflow.

    The run holds the parameters, the training data (as a dataset: its schema, size and digest, not its rows), the
    losses, metrics, learning rate and seconds of every epoch, and, after a `fit`, a picture of the training (if
    matplotlib is installed) and the model with its signature and pinned requirements: `mlflow.sklearn.load_model` gives
    the estimator back, `mlflow.pyfunc.load_model` serves it.

    A fit that fails marks its run as failed.  If a run is open already (`mlflow.start_run`), the fit writes to that one
    and leaves it open: do so around a loop of `partial_fit`, each call of which is a fit of one epoch.

    Parameters
    ----------
    experiment : str, optional
        The experiment's name, made if need be; by default MLflow's current one.
    name : str, optional
        The run's name; by default the estimator's class.
    log_dataset, log_model : bool, default=True
        Whether to log the data's description, and the model.

    Raises
    ------
    ImportError
        Out of `fit`, if MLflow is not installed.

    Notes
    -----
    Values reach the store every 10 seconds, and at the end, with the time at which they were measured.

    The model is stored with cloudpickle, because networks hold functions and modules of the user's, which the safer
    skops does not take.  Load models only from those whom you trust.

    Where to track to is MLflow's own setting (`mlflow.set_tracking_uri`).  skorch's `MlflowLogger` writes the values
    and the weights to a run of your own.
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
        self.waiting_: list = []
        self.written_ = time.monotonic()
        self.client_ = mlflow.MlflowClient()
        self.is_ours_ = mlflow.active_run() is None
        self.run_ = mlflow.active_run() or mlflow.start_run(
            experiment_id=None if self.experiment is None else experiment_id(self.experiment),
            run_name=self.name or type(estimator).__name__,
        )

    def describe(self, estimator: Any, X: Any, y: Any) -> None:
        log_params(self.client_, self._run_id, parameters_of(estimator))
        if self.log_dataset:
            log_dataset(X, y)

    def write(self, epoch: int, values: dict[str, float], net: Any) -> None:
        self._keep(values, epoch, time.time())
        if time.monotonic() - self.written_ >= FLUSH_SECONDS:
            self._flush()

    def conclude(self, estimator: Any, X: Any, y: Any) -> None:
        self._log_results(estimator)
        if self.log_model:
            log_model(estimator, X)

    def close(self, failed: bool) -> None:
        import mlflow

        try:
            self._flush()
        finally:
            if self.is_ours_:
                mlflow.end_run("FAILED" if failed else "FINISHED")

    @property
    def _run_id(self) -> str:
        return self.run_.info.run_id

    def _keep(self, values: dict[str, float], step: int, when: float) -> None:
        self.waiting_ += metrics(values, step, when)

    def _log_results(self, network: Any) -> None:
        self._keep(results_of(network), len(network.history_), time.time())
        if importlib.util.find_spec("matplotlib") is not None:
            self.client_.log_figure(self._run_id, curves_of(network), "training_curve.png")

    def _flush(self) -> None:
        """Write what has been measured since the last time."""
        epochs_without_improvement, self.waiting_, self.written_ = self.waiting_, [], time.monotonic()
        for start in range(0, len(epochs_without_improvement), MOST_METRICS):
            self.client_.log_batch(self._run_id, metrics=epochs_without_improvement[start : start + MOST_METRICS])


def import_mlflow(what: str) -> Any:
    try:
        import mlflow.sklearn
    except ImportError as error:
        raise ImportError(f"{what} needs MLflow; install it with: pip install 'sknn[mlflow]'") from error
    return mlflow


def experiment_id(name: str) -> str:
    import mlflow

    found = mlflow.get_experiment_by_name(name)
    return mlflow.create_experiment(name) if found is None else found.experiment_id


def metrics(values: dict[str, float], step: int, when: float) -> list:
    """Values as MLflow takes them; `when` in seconds."""
    from mlflow.entities import Metric

    return [Metric(name, float(value), int(1000 * when), step) for name, value in values.items()]


def log_params(client: Any, run_id: str, params: dict[str, Any]) -> None:
    from mlflow.entities import Param

    entries = [Param(name, str(plain(value))) for name, value in params.items()]
    for start in range(0, len(entries), MOST_PARAMS):
        client.log_batch(run_id, params=entries[start : start + MOST_PARAMS])


def log_dataset(X: Any, y: Any) -> None:
    """Note which table the active run is trained on; MLflow has no way to describe a sparse one."""
    import mlflow

    if sp.issparse(X):
        return
    if hasattr(X, "to_pandas"):  # polars
        X = X.to_pandas()
    with schema_inferred():
        mlflow.log_input(described(X, y), context="training")


def described(X: Any, y: Any) -> Any:
    """A table and its target as MLflow's description of a dataset."""
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


def curves_of(network: Any) -> Any:
    """A figure of a training, unknown to pyplot: it opens no window, and nobody has to close it."""
    from matplotlib.figure import Figure

    panels = TrainingCurves(network.history_).main_panels()
    figure = Figure(figsize=(5.5 * len(panels), 4.0), layout="constrained")
    TrainingCurveDisplay.from_estimator(network, kind=panels, ax=figure.subplots(1, len(panels), squeeze=False)[0])
    return figure


def log_model(estimator: Any, X: Any) -> None:
    import mlflow.sklearn

    signature = None
    with at_most_a_warning("MLflow"):  # columns of a kind that MLflow has no name for
        signature = signature_of(estimator, X)
    mlflow.sklearn.log_model(
        estimator,
        name="model",
        signature=signature,
        pip_requirements=requirements(),
        serialization_format="cloudpickle",
    )


def signature_of(estimator: Any, X: Any) -> Any:
    """What the model takes and gives, from a few rows."""
    from mlflow.models import infer_signature

    rows: Any = X[:SAMPLE_ROWS] if hasattr(X, "shape") else np.asarray(X[:SAMPLE_ROWS])
    predicted = estimator.predict(rows)
    if hasattr(rows, "to_pandas"):
        rows = rows.to_pandas()
    with schema_inferred():
        return infer_signature(rows, predicted)


@contextlib.contextmanager
def schema_inferred() -> Iterator[None]:
    """Let MLflow look at a table, in one thread at a time.

    It warns of every column of integers, which the user has chosen to be what they are, and by its own use of pandas of
    columns of strings; and two threads that note one dataset at once stumble over each other.
    """
    with _one_table_at_a_time, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Hint: Inferred schema contains integer column")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="mlflow")
        yield


def requirements() -> list[str]:
    """What the model needs, in the versions that trained it; without what pip would not find, as in 2.13.0+cpu."""
    versions = {name: importlib.metadata.version(name) for name in REQUIREMENTS}
    return [f"{name}=={version.partition('+')[0]}" for name, version in versions.items()]

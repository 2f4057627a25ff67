"""Log every fit of an estimator, pipeline or search as a run of MLflow, without a callback."""

import contextlib
import functools
import inspect
import threading
import time
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

import numpy as np
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline

from sknn.estimators.base import BaseNeural
from sknn.tracking.base import errors_as_warnings, numeric_record
from sknn.tracking.mlflow import MLflowTracker, import_mlflow, log_model, log_params, make_metrics
from sknn.training.callbacks import listed

_original_fits: dict[type, Callable] = {}  # of the classes whose `fit` is wrapped
_this_thread = threading.local()
_running_searches: set[int] = set()  # ids, of all threads


def autolog(*, disable: bool = False, log_datasets: bool = True, log_models: bool = True) -> None:
    """Log every `fit` as a run of MLflow from now on.

    A run holds the parameters, a description of the training data, the values of every epoch and the model (see
    `sknn.callbacks.MLflowTracker`). There is a run for each `fit` of

    - a `NeuralClassifier` or a `NeuralRegressor`,
    - a `Pipeline` that ends in one, or in a search,
    - a search over either, from scikit-learn or from `sknn.model_selection`: it logs the training and the model of the
      best candidate, and has a child run for each candidate with its parameters and its scores on every fold.

    Fits inside of such a fit have no runs, and an estimator with an `MLflowTracker` is only logged by the tracker. If a
    run is already open (`mlflow.start_run`), the fit writes to it. Errors of MLflow become warnings, and the fit goes
    on.

    Parameters
    ----------
    disable : bool, default=False
        Whether to stop logging.
    log_datasets, log_models : bool, default=True
        Whether to log the description of the data, and the model.

    Returns
    -------
    None

    Raises
    ------
    ImportError
        If MLflow is not installed.

    Notes
    -----
    Logging wraps `fit` of three base classes. It does not change the training, not even the joint training of a search,
    because values are written at the end of the fit; use `MLflowTracker` to watch a long training. `partial_fit` is not
    logged. Fits in other threads during a search are considered part of the search.

    Examples
    --------
    >>> import sknn
    >>> sknn.autolog(disable=True)
    """
    while _original_fits:
        cls, original = _original_fits.popitem()
        cls.fit = original  # type: ignore[attr-defined]
    if disable:
        return
    import_mlflow("sknn.autolog")
    for cls in (BaseNeural, Pipeline, BaseSearchCV):
        _original_fits[cls] = cls.fit  # type: ignore[attr-defined]
        cls.fit = _with_logging(cls.fit, FitLogger(log_dataset=log_datasets, log_model=log_models))  # type: ignore


def _with_logging(fit: Callable, settings: "FitLogger") -> Callable:
    """Return a `fit` that logs the outermost fit of an estimator of sknn, or of a pipeline or search with one."""
    signature = inspect.signature(fit)

    @functools.wraps(fit)
    def logged(*args: Any, **kwargs: Any) -> Any:
        arguments = signature.bind(*args, **kwargs).arguments
        estimator = arguments["self"]
        with contextlib.ExitStack() as contexts:
            if not _is_inside_another_fit(estimator) and _find_sknn_estimator(estimator) is not None:
                contexts.enter_context(_outermost_fit(estimator))
                with errors_as_warnings("MLflow"):
                    logger = FitLogger(**settings.get_params())
                    X, y = arguments["X"], arguments.get("y")
                    contexts.enter_context(logger.track_fit(estimator, X, y, complete=True))
            return fit(*args, **kwargs)

    return logged


def _is_inside_another_fit(estimator: Any) -> bool:
    if getattr(_this_thread, "is_fitting", False):
        return True
    return bool(_running_searches) and not isinstance(estimator, BaseSearchCV)


@contextlib.contextmanager
def _outermost_fit(estimator: Any) -> Iterator[None]:
    """Mark other fits of this thread (for a search, of all threads) in this context as part of the estimator's fit."""
    _this_thread.is_fitting = True
    if isinstance(estimator, BaseSearchCV):
        _running_searches.add(id(estimator))
    try:
        yield
    finally:
        _this_thread.is_fitting = False
        _running_searches.discard(id(estimator))


def _last_step(estimator: Any) -> Any:
    """Return the last step of a pipeline, or the estimator itself."""
    while isinstance(estimator, Pipeline) and estimator.steps:
        estimator = estimator.steps[-1][1]
    return estimator


def _find_sknn_estimator(estimator: Any) -> BaseNeural | None:
    """Return the estimator of sknn in a pipeline or search (its best one after the fit), unless it has a tracker."""
    last = _last_step(estimator)
    if isinstance(last, BaseSearchCV):
        return _find_sknn_estimator(getattr(last, "best_estimator_", last.estimator))
    return last if isinstance(last, BaseNeural) and not _has_tracker(last) else None


def _has_tracker(est: BaseNeural) -> bool:
    callbacks = (callback[1] if isinstance(callback, tuple) else callback for callback in listed(est.callbacks))
    return any(isinstance(callback, MLflowTracker) or callback is MLflowTracker for callback in callbacks)


class FitLogger(MLflowTracker):
    """Logs a fit at its end, without being a callback of it."""

    def write_results(self, estimator: Any, X: Any, y: Any) -> None:
        search = _last_step(estimator)
        if isinstance(search, BaseSearchCV):
            self._write_search(search)
        est = _find_sknn_estimator(estimator)
        if est is not None and hasattr(est, "net_"):  # the estimator of a search without refit is not fitted
            self._write_history(est)
            self._write_fit_results(est)
            if self.log_model:
                log_model(getattr(estimator, "best_estimator_", estimator), X)

    def _write_history(self, est: BaseNeural) -> None:
        """Write the values of every epoch, with the approximate time of its end."""
        ends = list(accumulate(row.get("seconds", 0.0) for row in est.history_))
        start = time.time() - (ends[-1] if ends else 0.0)
        for epoch, (row, end) in enumerate(zip(est.history_, ends, strict=True), 1):
            self._add_metrics(numeric_record(row), epoch, start + end)

    def _write_search(self, search: Any) -> None:
        """Write the best candidate to the run of the search, and each candidate to a child run."""
        if hasattr(search, "best_params_"):
            best = {f"best_{name}": value for name, value in search.best_params_.items()}
            log_params(self.client_, self._run_id, best)
        if hasattr(search, "best_score_"):
            self._add_metrics({"best_score": search.best_score_, "best_index": search.best_index_}, 0, time.time())
        for index in range(len(search.cv_results_["params"])):
            self._write_candidate(search, index)

    def _write_candidate(self, search: Any, index: int) -> None:
        from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

        results = {name: column[index] for name, column in search.cv_results_.items()}
        params = results.pop("params")
        values = {name: value for name, value in results.items() if not name.startswith("param_")}
        child = self.client_.create_run(
            self.run_.info.experiment_id, tags={MLFLOW_PARENT_RUN_ID: self._run_id}, run_name=f"candidate {index}"
        )
        log_params(self.client_, child.info.run_id, params)
        self.client_.log_batch(child.info.run_id, metrics=make_metrics(values, 0, time.time()))
        failed = any(name.startswith("mean_test_") and np.isnan(value) for name, value in values.items())
        self.client_.set_terminated(child.info.run_id, "FAILED" if failed else "FINISHED")

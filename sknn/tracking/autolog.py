"""Every fit as a run of MLflow, without a callback: of a network, a pipeline that ends in one, or a search over one."""

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
from sknn.tracking.base import at_most_a_warning, values_of
from sknn.tracking.mlflow import MLflowTracker, import_mlflow, log_model, log_params, metrics
from sknn.training.callbacks import listed

_originals: dict[type, Callable] = {}  # the fits that are wrapped while autologging is on
_this_thread = threading.local()
_searches: set[int] = set()  # that are running, in any thread


def autolog(*, disable: bool = False, log_datasets: bool = True, log_models: bool = True) -> None:
    """Log every `fit` of a network as a run of MLflow, from now on.

    A run holds the parameters, the training data's description, the values of every epoch and the model, as
    `sknn.callbacks.MLflowTracker` describes.  There is one for each `fit` of

    - a `NeuralClassifier` or a `NeuralRegressor`,
    - a `Pipeline` that ends in one, or in a search,
    - a search over either, scikit-learn's or that of `sknn.model_selection`: with the best candidate's network and
      model, and a child run for each candidate with its parameters and its scores on every fold.

    What is fitted inside of such a fit has no run of its own, and what has an `MLflowTracker` has that one's only.  If
    a run is open already (`mlflow.start_run`), the fit writes to that one.  What goes wrong with MLflow is warned of,
    and does no harm to the fit.

    Parameters
    ----------
    disable : bool, default=False
        Whether to end it.
    log_datasets, log_models : bool, default=True
        Whether to log the data's description, and the model.

    Returns
    -------
    None

    Raises
    ------
    ImportError
        If MLflow is not installed.

    Notes
    -----
    While it is on, `fit` of the three base classes is wrapped.  Networks train as they do without it: their values are
    written when they are fitted, so a search stays batched.  Use `MLflowTracker` to watch a long training.
    `partial_fit` is not logged.  While a search runs, fits in other threads are taken for its own.

    Examples
    --------
    >>> import sknn
    >>> sknn.autolog(disable=True)
    """
    while _originals:
        cls, original = _originals.popitem()
        cls.fit = original  # type: ignore[attr-defined]
    if disable:
        return
    import_mlflow("sknn.autolog")
    for cls in (BaseNeural, Pipeline, BaseSearchCV):
        _originals[cls] = cls.fit  # type: ignore[attr-defined]
        cls.fit = _logged(cls.fit, FitLogger(log_dataset=log_datasets, log_model=log_models))  # type: ignore


def _logged(fit: Callable, settings: "FitLogger") -> Callable:
    """A `fit` that is logged, if it is nobody's part and has a network in it."""
    signature = inspect.signature(fit)

    @functools.wraps(fit)
    def logged(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        estimator = given["self"]
        with contextlib.ExitStack() as frames:
            if not _is_part_of_another(estimator) and _network(estimator) is not None:
                frames.enter_context(_marked(estimator))
                with at_most_a_warning("MLflow"):
                    logger = FitLogger(**settings.get_params())
                    frames.enter_context(logger.follow(estimator, given["X"], given.get("y"), complete=True))
            return fit(*args, **kwargs)

    return logged


def _is_part_of_another(estimator: Any) -> bool:
    if getattr(_this_thread, "is_fitting", False):
        return True
    return bool(_searches) and not isinstance(estimator, BaseSearchCV)


@contextlib.contextmanager
def _marked(estimator: Any) -> Iterator[None]:
    """While an estimator is fitted, what else is fitted in this thread, or for a search, is part of that."""
    _this_thread.is_fitting = True
    if isinstance(estimator, BaseSearchCV):
        _searches.add(id(estimator))
    try:
        yield
    finally:
        _this_thread.is_fitting = False
        _searches.discard(id(estimator))


def _last(estimator: Any) -> Any:
    """The last step of a pipeline, or the estimator itself."""
    while isinstance(estimator, Pipeline) and estimator.steps:
        estimator = estimator.steps[-1][1]
    return estimator


def _network(estimator: Any) -> BaseNeural | None:
    """The network that an estimator is, or ends in, or that a search is about; none that has a tracker of its own."""
    last = _last(estimator)
    if isinstance(last, BaseSearchCV):
        return _network(getattr(last, "best_estimator_", last.estimator))
    return last if isinstance(last, BaseNeural) and not _has_tracker(last) else None


def _has_tracker(network: BaseNeural) -> bool:
    callbacks = (callback[1] if isinstance(callback, tuple) else callback for callback in listed(network.callbacks))
    return any(isinstance(callback, MLflowTracker) or callback is MLflowTracker for callback in callbacks)


class FitLogger(MLflowTracker):
    """Logs a fit from outside, when it is done."""

    def conclude(self, estimator: Any, X: Any, y: Any) -> None:
        search = _last(estimator)
        if isinstance(search, BaseSearchCV):
            self._write_search(search)
        network = _network(estimator)
        if network is not None and hasattr(network, "net_"):  # a search without refit has none that is fitted
            self._keep_history(network)
            self._log_results(network)
            if self.log_model:
                log_model(getattr(estimator, "best_estimator_", estimator), X)

    def _keep_history(self, network: BaseNeural) -> None:
        """Every epoch's values, at about the time when the epoch was done."""
        ends = list(accumulate(row.get("seconds", 0.0) for row in network.history_))
        start = time.time() - (ends[-1] if ends else 0.0)
        for epoch, (row, end) in enumerate(zip(network.history_, ends, strict=True), 1):
            self._keep(values_of(row), epoch, start + end)

    def _write_search(self, search: Any) -> None:
        """The best candidate in the run of the search, and a run below it for each."""
        if hasattr(search, "best_params_"):
            best = {f"best_{name}": value for name, value in search.best_params_.items()}
            log_params(self.client_, self._run_id, best)
        if hasattr(search, "best_score_"):
            self._keep({"best_score": search.best_score_, "best_index": search.best_index_}, 0, time.time())
        for number in range(len(search.cv_results_["params"])):
            self._write_candidate(search, number)

    def _write_candidate(self, search: Any, number: int) -> None:
        from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

        results = {name: column[number] for name, column in search.cv_results_.items()}
        params = results.pop("params")
        values = {name: value for name, value in results.items() if not name.startswith("param_")}
        child = self.client_.create_run(
            self.run_.info.experiment_id, tags={MLFLOW_PARENT_RUN_ID: self._run_id}, run_name=f"candidate {number}"
        )
        log_params(self.client_, child.info.run_id, params)
        self.client_.log_batch(child.info.run_id, metrics=metrics(values, 0, time.time()))
        failed = any(name.startswith("mean_test_") and np.isnan(value) for name, value in values.items())
        self.client_.set_terminated(child.info.run_id, "FAILED" if failed else "FINISHED")

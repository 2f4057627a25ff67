"""Fitted preprocessing steps and encoded rows, computed once for all fits that share them."""

from typing import Any

from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params

from sknn.estimators.base import BaseNeural
from sknn.estimators.built_with import network_parameters
from sknn.model_selection.fold_models import stopping_rows
from sknn.model_selection.grouping import GroupKey
from sknn.model_selection.replace_fit import replace_fit
from sknn.model_selection.tasks import Task, nested_pipelines
from sknn.training.table import Table

FitArguments = tuple[tuple, dict[str, Any]]


class PreprocessingCache:
    """A cache of fitted preprocessing steps, and of the tables that they lead to.

    The keys contain the id of a fold's training indices, so the tasks must live longer than the cache.
    """

    def __init__(self) -> None:
        self._steps: dict[Any, tuple[list, FitArguments]] = {}
        self._tables: dict[Any, tuple[dict[str, Any], Table, int]] = {}

    @property
    def n_bytes(self) -> int:
        """Memory of the tables."""
        return sum(table.n_bytes for _, table, _ in self._tables.values())

    def encode(self, task: Task, estimator: BaseNeural, key: GroupKey) -> tuple[Table, int]:
        """Fit the encoders and all steps before them. Return the encoded table and its number of training rows."""
        rows_key = id(task.arguments["train"]), key.steps, bool(estimator.early_stopping)
        args, params = self._fit_steps(task, estimator, rows_key)
        table_key = rows_key, key.encoding
        if table_key not in self._tables:
            before = set(vars(estimator))
            table, n_rows = estimator._encode_all(*args, **params)
            names = vars(estimator).keys() - before - {"_built_with"}
            attributes = {name: getattr(estimator, name) for name in names}
            self._tables[table_key] = attributes, table, n_rows
        attributes, table, n_rows = self._tables[table_key]
        estimator.__dict__.update(attributes, _built_with=network_parameters(estimator))
        return table, n_rows

    def _fit_steps(self, task: Task, estimator: BaseNeural, rows_key: tuple) -> FitArguments:
        """Put fitted steps into the task's pipelines. Return the arguments of the estimator's `fit`."""
        pipelines = nested_pipelines(task.estimator)
        if rows_key not in self._steps:
            fit_arguments = fit_steps(task, estimator)
            self._steps[rows_key] = [pipeline.steps[:-1] for pipeline in pipelines], fit_arguments
        fitted_steps, fit_arguments = self._steps[rows_key]
        for pipeline, steps in zip(pipelines, fitted_steps, strict=True):
            pipeline.steps[:-1] = steps
        return fit_arguments


def fit_steps(task: Task, estimator: BaseNeural) -> FitArguments:
    """Fit the steps before the estimator. Return the arguments that the estimator's `fit` gets from its pipeline."""
    arguments = task.arguments
    X, y = _safe_split(task.estimator, arguments["X"], arguments["y"], arguments["train"])
    params = _check_method_params(arguments["X"], params=arguments.get("fit_params") or {}, indices=arguments["train"])
    calls: list[FitArguments] = []
    with replace_fit(estimator, lambda *args, **kwargs: calls.append((args, kwargs))):
        task.estimator.fit(X, y, **params)
    args, params = calls[0]
    return args, params if "X_val" in params else params | stopping_rows(task, estimator)

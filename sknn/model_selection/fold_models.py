"""The models of a search's fits: each predicts its fold's test rows, which also stop its training early."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params

from sknn.estimators.base import BaseNeural
from sknn.estimators.pipelines import final_step
from sknn.model_selection.tasks import UNFINISHED, Task, nested_pipelines


@dataclass
class FoldModel:
    """The estimator of one fit, the rows that it has not trained on, and whether the fit came to its end."""

    estimator: Any
    test: np.ndarray
    is_fitted: bool

    @classmethod
    def from_result(cls, result: dict[str, Any]) -> Self:
        """Take the model out of the result of a task that keeps it."""
        is_fitted = result["fit_error"] is None and result["group"] != UNFINISHED
        return cls(result.pop("estimator"), result.pop("test"), is_fitted)


def stopping_rows(task: Task, estimator: BaseNeural) -> dict[str, Any]:
    """Return the fold's test rows as arguments of the `fit` of the task's final estimator, whose steps are fitted.

    There are none if the task does not keep its model, or the estimator does not stop early. Rows of labels that the
    training rows lack are left out.
    """
    if not (task.keeps_model and estimator.early_stopping):
        return {}
    arguments = task.arguments
    test = known_rows(arguments["y"], row_numbers(arguments["train"]), row_numbers(arguments["test"]), estimator)
    weight = row_weights(arguments.get("fit_params") or {}, task.estimator)
    if weight is not None:
        weight = _check_method_params(arguments["X"], {"weight": weight}, indices=test)["weight"]
    if not len(test) or (weight is not None and not np.any(weight)):
        return {}
    X, y = _safe_split(task.estimator, arguments["X"], arguments["y"], test, arguments["train"])
    for pipeline in nested_pipelines(task.estimator):
        X = pipeline[:-1].transform(X) if len(pipeline.steps) > 1 else X
    return {"X_val": X, "y_val": y, "sample_weight_val": weight}


def known_rows(y: Any, train: np.ndarray, test: np.ndarray, estimator: BaseNeural) -> np.ndarray:
    """Return the test rows whose labels occur among the training rows; all of them if y holds no labels."""
    if not is_classifier(estimator) or np.size(y) != len(y):
        return test
    labels = np.ravel(np.asarray(y))
    return test[np.isin(labels[test], labels[train])]


def row_numbers(rows: Any) -> np.ndarray:
    """Return the numbers of rows that a splitter gives as numbers or as a mask."""
    rows = np.asarray(rows)
    return np.flatnonzero(rows) if rows.dtype == bool else rows


def row_weights(params: dict[str, Any], estimator: Any) -> Any:
    """Return the weights of the rows among the parameters of `fit`, or None."""
    prefix, _ = final_step(estimator)
    return params.get(f"{prefix}sample_weight", params.get("sample_weight"))

"""A task: a function call that joblib runs, usually the fit of one candidate on one fold."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection._validation import _fit_and_predict, _fit_and_score
from sklearn.pipeline import Pipeline

from sknn.estimators.base import BaseNeural
from sknn.model_selection.replace_fit import replace_fit

UNFINISHED = "unfinished"  # the group of fits that did not run because of an interrupt
FIT_FUNCTIONS = (_fit_and_score, _fit_and_predict)
FIT_METHODS = ("fit", "_train", "_prepare", "_finish_fit")


@dataclass
class Task:
    """A function and its arguments. For a fit, all arguments are in `arguments`, by name."""

    function: Callable
    args: tuple  # by position
    arguments: dict[str, Any]
    keeps_model: bool = False  # whether the result holds the fold's model, stopped early on the fold's test rows

    @classmethod
    def from_call(cls, call: Callable, args: tuple, kwargs: dict) -> "Task":
        function = getattr(call, "function", call)  # unwrap: scikit-learn's configuration is set already
        if function in FIT_FUNCTIONS:
            return cls(function, (), inspect.signature(function).bind(*args, **kwargs).arguments)
        return cls(call, args, kwargs)

    @property
    def is_fit(self) -> bool:
        """Whether this is a fit of an estimator on one fold."""
        return self.function in FIT_FUNCTIONS

    @property
    def raises_errors(self) -> bool:
        """Whether an error of `fit` ends the search; otherwise, the candidate gets the `error_score`."""
        return self.function is not _fit_and_score or self.arguments.get("error_score") == "raise"

    @property
    def estimator(self) -> Any:
        """The estimator that scikit-learn fits and scores."""
        return self.arguments["estimator"]

    def run(self) -> Any:
        result = self.function(*self.args, **self.arguments)
        if self.is_fit and isinstance(result, dict):
            result |= {"group": f"single: {self.arguments.get('candidate_progress')}"} | self._test_rows()
        return result

    def keep_model(self) -> None:
        """Let the result hold the fitted estimator, as `cross_validate(return_estimator=True)` does."""
        self.keeps_model = self.function is _fit_and_score
        if self.keeps_model:
            self.arguments["return_estimator"] = True

    def _test_rows(self) -> dict[str, Any]:
        return {"test": self.arguments["test"]} if self.keeps_model else {}

    def unfinished_result(self) -> dict[str, Any]:
        """Return the result of a fit that did not run: all scores are NaN."""

        def interrupt(*args: Any, **kwargs: Any) -> None:
            raise InterruptedError

        with replace_fit(self.estimator, interrupt):
            result = self.function(**self.arguments | {"error_score": np.nan, "verbose": 0})
        return result | {"fit_error": None, "group": UNFINISHED} | self._test_rows()

    def release(self) -> None:
        """Drop the references to the estimator and the data."""
        self.args, self.arguments = (), {}

    def joint_estimator(self) -> BaseNeural | None:
        """Set the candidate's parameters. Return the final estimator, or None if it cannot be trained jointly."""
        if not self.is_fit:
            return None
        parameters = self.arguments.get("parameters")
        if parameters is not None:
            self.estimator.set_params(**clone(parameters, safe=False))
        pipelines = nested_pipelines(self.estimator)
        final_estimator = pipelines[-1].steps[-1][1] if pipelines else self.estimator
        return final_estimator if can_train_jointly(final_estimator) else None


def nested_pipelines(estimator: Any) -> list[Pipeline]:
    """Return the pipeline, the pipeline at its end, and so on. The list is empty for other estimators."""
    pipelines = []
    while type(estimator) is Pipeline and estimator.steps:
        pipelines.append(estimator)
        estimator = estimator.steps[-1][1]
    return pipelines


def can_train_jointly(estimator: Any) -> bool:
    """Return whether the estimator trains an MLP in steps, without callbacks, a warm start, or an overridden method."""
    return (
        isinstance(estimator, BaseNeural)
        and all(getattr(type(estimator), name) is getattr(BaseNeural, name) for name in FIT_METHODS)
        and isinstance(estimator.solver, str)
        and estimator.solver != "lbfgs"
        and estimator.module is None
        and not estimator.callbacks
        and not estimator.warm_start
    )

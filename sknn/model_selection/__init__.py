"""Searches and cross-validations of scikit-learn, with all candidates and folds of a network trained together."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import sklearn.model_selection as theirs
from sklearn.experimental import enable_halving_search_cv  # noqa: F401

from sknn.model_selection.joblib_backend import UNFINISHED, batched_fits
from sknn.model_selection.spaces import search_space

__all__ = [
    "GridSearchCV",
    "HalvingGridSearchCV",
    "HalvingRandomSearchCV",
    "RandomizedSearchCV",
    "batched_fits",
    "cross_val_predict",
    "cross_val_score",
    "cross_validate",
    "search_space",
]


DIFFERENCES = """Scores are those of scikit-learn's search: a network among others becomes what it becomes alone.  But:

- `cv_results_["group"]` numbers the candidates whose networks have one shape, and train together;
- without a `random_state`, seeds are drawn in another order than candidates come;
- `fit_time` is a fit's share of the time of what trained with it;
- the steps of a pipeline before the network are fitted once for each fold and setting of theirs;
- `n_jobs` counts processes among which the fits are shared out (or, under `joblib.parallel_config`, workers of a
  cluster); on GPUs everything stays in one process, with a share for each of them;
- `verbose` shows a bar over the fits, with the best score so far, if tqdm is installed;
- Ctrl-C ends a grid or a randomized search with what is finished: the other candidates' scores are NaN.

Candidates that cannot train with others do so on their own: other estimators, custom modules, solver='lbfgs' or a class
of torch, and estimators with callbacks or `warm_start`.
"""


class _Batched:
    """A search of scikit-learn's whose fits are batched; `cv_results_` also tells which candidates trained together."""

    _keeps_finished = True

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        with batched_fits(self._keeps_finished):
            return super().fit(X, y, **params)  # type: ignore[misc]

    def _format_results(
        self, candidate_params: Sequence[dict], n_splits: int, out: Sequence[dict], more_results: Any = None
    ) -> dict[str, Any]:
        results = super()._format_results(candidate_params, n_splits, out, more_results)  # type: ignore[misc]
        names = [result.get("group", "") for result in out[::n_splits]]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(n for n in names if n != UNFINISHED))}
        numbers[UNFINISHED] = -1
        results["group"] = np.array([numbers[name] for name in names])
        return results


def _without_examples(docstring: str) -> str:
    text = inspect.cleandoc(docstring)
    return text.split("\nSee Also\n")[0].split("\nNotes\n")[0].split("\nExamples\n")[0]


def _with_parameters_of(theirs: type) -> Callable:
    """Append scikit-learn's description of the parameters and attributes to a class's docstring."""
    sections = _without_examples(theirs.__doc__ or "").split("Parameters\n----------\n", 1)[1]

    def document(cls: type) -> type:
        cls.__doc__ = f"{inspect.cleandoc(cls.__doc__ or '')}\n\n{DIFFERENCES}\nParameters\n----------\n{sections}"
        return cls

    return document


@_with_parameters_of(theirs.GridSearchCV)
class GridSearchCV(_Batched, theirs.GridSearchCV):
    """scikit-learn's `GridSearchCV`, whose networks train together."""


@_with_parameters_of(theirs.RandomizedSearchCV)
class RandomizedSearchCV(_Batched, theirs.RandomizedSearchCV):
    """scikit-learn's `RandomizedSearchCV`, whose networks train together."""


@_with_parameters_of(theirs.HalvingGridSearchCV)
class HalvingGridSearchCV(_Batched, theirs.HalvingGridSearchCV):
    """scikit-learn's `HalvingGridSearchCV`, whose networks train together."""

    _keeps_finished = False  # a round that is not finished decides nothing


@_with_parameters_of(theirs.HalvingRandomSearchCV)
class HalvingRandomSearchCV(_Batched, theirs.HalvingRandomSearchCV):
    """scikit-learn's `HalvingRandomSearchCV`, whose networks train together."""

    _keeps_finished = False


def _batched(function: Callable) -> Callable:
    """The function, with its fits batched."""

    @functools.wraps(function)
    def together(*args: Any, **kwargs: Any) -> Any:
        with batched_fits():
            return function(*args, **kwargs)

    together.__module__ = __name__
    together.__doc__ = _without_examples(function.__doc__ or "")
    return together


cross_validate = _batched(theirs.cross_validate)
cross_val_score = _batched(theirs.cross_val_score)
cross_val_predict = _batched(theirs.cross_val_predict)

"""Searches and cross-validations of scikit-learn, with joint training of the networks of all candidates and folds."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from sklearn import model_selection
from sklearn.experimental import enable_halving_search_cv  # noqa: F401

from sknn.model_selection.batched_search import BatchedSearch
from sknn.model_selection.ensemble_search import EnsembleSearchCV
from sknn.model_selection.joblib_backend import batched_fits
from sknn.model_selection.spaces import search_space

__all__ = [
    "EnsembleSearchCV",
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


DIFFERENCES = """The scores are those of scikit-learn's search, since joint training gives each network the weights of a
single training. The differences:

- `cv_results_["group"]` numbers the groups of candidates that were trained jointly;
- without a `random_state`, the order in which seeds are drawn is not the order of the candidates;
- `fit_time` is a fit's share of the time of its joint training;
- the steps of a pipeline before the network are fitted once for each fold and setting of these steps;
- `n_jobs` is the number of processes that share the fits (or, under `joblib.parallel_config`, of workers of a cluster);
  on GPUs everything stays in one process, and each GPU gets a share;
- `verbose` shows a progress bar of the fits, with the best score so far, if tqdm is installed;
- Ctrl-C ends a grid or randomized search with the finished candidates; the scores of the others are NaN.

Some candidates are trained one by one: other estimators, custom modules, solver='lbfgs' or a class of torch, and
estimators with callbacks or `warm_start`.
"""


def _without_examples(docstring: str) -> str:
    text = inspect.cleandoc(docstring)
    return text.split("\nSee Also\n")[0].split("\nNotes\n")[0].split("\nExamples\n")[0]


def _with_parameters_of(sklearn_class: type) -> Callable:
    """Return a decorator that appends scikit-learn's parameters and attributes to a class's docstring."""
    sections = _without_examples(sklearn_class.__doc__ or "").split("Parameters\n----------\n", 1)[1]

    def document(cls: type) -> type:
        cls.__doc__ = f"{inspect.cleandoc(cls.__doc__ or '')}\n\n{DIFFERENCES}\nParameters\n----------\n{sections}"
        return cls

    return document


@_with_parameters_of(model_selection.GridSearchCV)
class GridSearchCV(BatchedSearch, model_selection.GridSearchCV):
    """scikit-learn's `GridSearchCV`, with joint training of its networks."""


@_with_parameters_of(model_selection.RandomizedSearchCV)
class RandomizedSearchCV(BatchedSearch, model_selection.RandomizedSearchCV):
    """scikit-learn's `RandomizedSearchCV`, with joint training of its networks."""


@_with_parameters_of(model_selection.HalvingGridSearchCV)
class HalvingGridSearchCV(BatchedSearch, model_selection.HalvingGridSearchCV):
    """scikit-learn's `HalvingGridSearchCV`, with joint training of its networks."""

    _keeps_finished = False  # an unfinished round cannot choose candidates


@_with_parameters_of(model_selection.HalvingRandomSearchCV)
class HalvingRandomSearchCV(BatchedSearch, model_selection.HalvingRandomSearchCV):
    """scikit-learn's `HalvingRandomSearchCV`, with joint training of its networks."""

    _keeps_finished = False


def _batched(function: Callable) -> Callable:
    """Return scikit-learn's function with its fits batched."""

    @functools.wraps(function)
    def batched(*args: Any, **kwargs: Any) -> Any:
        with batched_fits():
            return function(*args, **kwargs)

    batched.__module__ = __name__
    batched.__doc__ = _without_examples(function.__doc__ or "")
    return batched


cross_validate = _batched(model_selection.cross_validate)
cross_val_score = _batched(model_selection.cross_val_score)
cross_val_predict = _batched(model_selection.cross_val_predict)

"""Ranges in which a search finds something, as scipy's distributions or Optuna's."""

from collections.abc import Callable
from numbers import Integral
from typing import Any

from scipy.stats import loguniform, uniform
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline

from sknn.estimators.base import BaseNeural

# A small table needs more regularisation, and there is less reason to look where there is little.
MOST_DROPOUT = ((2_000, 0.6), (50_000, 0.4), (float("inf"), 0.25))


def search_space(estimator: Any, n_samples: int, kind: str = "scipy") -> dict[str, Any]:
    """Sensible ranges of the parameters that are worth a search.

    Learning rate, weight decay (or `alpha`, for other solvers than 'adamw'), dropout, and of a classifier label
    smoothing.  Networks that differ in these train together, so a search over them costs a few fits.  Layers and batch
    sizes are left out for that reason: a network of another shape trains on its own.

    Parameters
    ----------
    estimator : NeuralClassifier, NeuralRegressor, or a Pipeline that ends in one
    n_samples : int
        Training rows.  With up to 2,000, dropout is searched up to 0.6; with more than 50,000, up to 0.25.
    kind : {'scipy', 'optuna'}, default='scipy'
        'scipy' for `RandomizedSearchCV`, 'optuna' for `OptunaSearchCV`, or `study.ask`.

    Returns
    -------
    dict of str to distribution
        By parameter name, with the names of a pipeline's steps.

    Raises
    ------
    TypeError
        If the estimator does not end in one of ours.
    ImportError
        If Optuna is asked for, and not installed.

    Examples
    --------
    >>> from sknn import NeuralClassifier
    >>> from sknn.model_selection import search_space
    >>> sorted(search_space(NeuralClassifier(), n_samples=1000))
    ['dropout', 'label_smoothing', 'learning_rate_init', 'weight_decay']
    """
    if kind not in ("scipy", "optuna"):
        raise ValueError(f"kind={kind!r} is unknown; use 'scipy' or 'optuna'.")
    if not isinstance(n_samples, Integral) or n_samples < 1:
        raise ValueError(f"n_samples={n_samples!r} must be a whole number of training rows, 1 or more.")
    prefix, network = "", estimator
    while isinstance(network, Pipeline):
        name, network = network.steps[-1]
        prefix += f"{name}__"
    if not isinstance(network, BaseNeural):
        raise TypeError(f"estimator={estimator!r} has to be a NeuralClassifier, a NeuralRegressor, or to end in one.")
    log, even = (loguniform, _uniform) if kind == "scipy" else _optuna()
    space = {
        "learning_rate_init": log(5e-4, 2e-2),
        "dropout": even(0.0, next(most for rows, most in MOST_DROPOUT if n_samples <= rows)),
    }
    space |= {"weight_decay": log(1e-4, 1.0)} if network.solver == "adamw" else {"alpha": log(1e-6, 1.0)}
    if is_classifier(network):
        space["label_smoothing"] = even(0.0, 0.1)
    return {prefix + name: distribution for name, distribution in space.items()}


def _uniform(low: float, high: float) -> Any:
    return uniform(low, high - low)


def _optuna() -> tuple[Callable, Callable]:
    try:
        from optuna.distributions import FloatDistribution
    except ImportError as error:
        raise ImportError("kind='optuna' needs Optuna; install it with: pip install 'sknn[optuna]'") from error
    return (lambda low, high: FloatDistribution(low, high, log=True)), FloatDistribution

"""Ranges of parameters that are worth a search, as distributions of scipy or Optuna."""

from collections.abc import Callable
from numbers import Integral
from typing import Any

import scipy.stats
from sklearn.base import is_classifier

from sknn.estimators.base import BaseNeural
from sknn.estimators.pipelines import final_step

# Most training rows, and the largest dropout to search: a small table needs more regularisation.
MAX_DROPOUT = ((2_000, 0.6), (50_000, 0.4), (float("inf"), 0.25))

# Kinds of networks to search. Batch norm comes twice, since its networks are better more often. Target means are not
# left out in any, so that fewer kinds have to be trained separately.
ARCHITECTURES = {
    "hidden_layer_sizes": [(128, 128), (128, 128, 128)],
    "batch_norm": [True, True, False],
    "numeric_embedding": [None, "piecewise_linear"],
    "target_means": [True],
}


def search_space(estimator: Any, n_samples: int, kind: str = "scipy", architecture: bool = False) -> dict[str, Any]:
    """Return sensible ranges of the parameters that are worth a search.

    These are the learning rate, the weight decay (or `alpha`, if the solver is not 'adamw'), the dropout, and for a
    classifier the label smoothing. Networks that differ only in these are trained jointly, so a search over them takes
    as long as a few fits. Layers and batch sizes are left out: networks that differ in them are trained separately.

    Parameters
    ----------
    estimator : NeuralClassifier, NeuralRegressor, or a Pipeline that ends in one
    n_samples : int
        Number of training rows. With up to 2,000, dropout is searched up to 0.6; with more than 50,000, up to 0.25.
    kind : {'scipy', 'optuna'}, default='scipy'
        'scipy' for `RandomizedSearchCV`, 'optuna' for `OptunaSearchCV`, or `study.ask`.
    architecture : bool, default=False
        Whether to search layers, batch norm and numeric embeddings, too, and to use target means, as `EnsembleSearchCV`
        does. The other ranges are then narrower, and label smoothing is left out, since it makes the log loss worse.
        Optuna has no choices of several numbers, so it does not get the layers.

    Returns
    -------
    dict of str to distribution
        By parameter name, prefixed with the names of a pipeline's steps.

    Raises
    ------
    TypeError
        If the estimator is no neural network, and no pipeline that ends in one.
    ImportError
        If `kind` is 'optuna' and Optuna is not installed.

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
    prefix, final_estimator = final_step(estimator)
    if not isinstance(final_estimator, BaseNeural):
        raise TypeError(
            f"estimator={estimator!r} must be a NeuralClassifier, a NeuralRegressor, or a Pipeline that ends in one."
        )
    choice, log_uniform, uniform = (
        (list, scipy.stats.loguniform, _uniform) if kind == "scipy" else _optuna_distributions()
    )
    space = {
        "learning_rate_init": log_uniform(*((2e-3, 1.5e-2) if architecture else (5e-4, 2e-2))),
        "dropout": uniform(0.0, next(dropout for n_rows, dropout in MAX_DROPOUT if n_samples <= n_rows)),
    }
    if final_estimator.solver == "adamw":
        space["weight_decay"] = log_uniform(*((1e-3, 0.3) if architecture else (1e-4, 1.0)))
    else:
        space["alpha"] = log_uniform(1e-6, 1.0)
    if architecture:
        names = [name for name in ARCHITECTURES if kind == "scipy" or name != "hidden_layer_sizes"]
        space |= {name: choice(ARCHITECTURES[name]) for name in names}
    elif is_classifier(final_estimator):
        space["label_smoothing"] = uniform(0.0, 0.1)
    return {prefix + name: distribution for name, distribution in space.items()}


def _uniform(low: float, high: float) -> Any:
    return scipy.stats.uniform(low, high - low)


def _optuna_distributions() -> tuple[Callable, Callable, Callable]:
    try:
        from optuna.distributions import CategoricalDistribution, FloatDistribution
    except ImportError as error:
        raise ImportError("kind='optuna' needs Optuna; install it with: pip install 'sknn[optuna]'") from error
    return CategoricalDistribution, (lambda low, high: FloatDistribution(low, high, log=True)), FloatDistribution

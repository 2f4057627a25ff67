"""Convert scikit-learn's MLP to an estimator with the same results."""

from typing import Any

import numpy as np
import torch
from sklearn.neural_network import MLPClassifier, MLPRegressor

from sknn.estimators.base import BaseNeural
from sknn.estimators.classifier import NeuralClassifier
from sknn.estimators.regressor import NeuralRegressor

# The settings of scikit-learn's MLP that are not among its parameters.
SKLEARN_DEFAULTS = {
    "scaling": None,
    "ensemble_size": 1,
    "dropout": 0.0,
    "scoring": None,
    "categorical_features": None,
    "batch_norm": False,
    "numeric_embedding": None,
    "target_means": False,
}
STOCHASTIC_BATCH = 200  # batch_size="auto" of scikit-learn's MLP


def from_sklearn(mlp: MLPClassifier | MLPRegressor, **parameters: Any) -> BaseNeural:
    """Return an estimator that trains like an `MLPClassifier` or `MLPRegressor`, with its weights if it is fitted.

    Parameters
    ----------
    mlp : MLPClassifier or MLPRegressor
    **parameters
        Parameters of the new estimator that differ (`device`, `precision`, ...).

    Returns
    -------
    NeuralClassifier or NeuralRegressor
        One network, no scaling, no dropout, the same solver and stopping rule. If `mlp` is fitted it predicts at once,
        and with `warm_start=True` the next fit starts from those weights, with new momentum and schedule. With 'adam'
        the learning rate is constant, since scikit-learn's MLP ignores `learning_rate` then.

    Raises
    ------
    TypeError
        For any other estimator.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> mlp = MLPClassifier(random_state=0, solver="lbfgs", max_iter=1000).fit(X, y)
    >>> bool(abs(from_sklearn(mlp).predict_proba(X) - mlp.predict_proba(X)).max() < 1e-6)
    True
    """
    if not isinstance(mlp, MLPClassifier | MLPRegressor):
        raise TypeError(f"mlp must be an MLPClassifier or an MLPRegressor of scikit-learn; got {type(mlp).__name__}.")
    cls = NeuralClassifier if isinstance(mlp, MLPClassifier) else NeuralRegressor
    settings = mlp.get_params() | SKLEARN_DEFAULTS
    if mlp.solver == "adam":
        settings["learning_rate"] = "constant"
    if mlp.batch_size == "auto":
        settings["batch_size"] = STOCHASTIC_BATCH
    est = cls(**settings | parameters)
    if hasattr(mlp, "coefs_"):
        _take_weights(est, mlp)
    return est


def _take_weights(est: BaseNeural, mlp: Any) -> None:
    """Build the network on one row of zeros, and copy the weights of `mlp` into it."""
    X = np.zeros((1, mlp.n_features_in_))
    if isinstance(mlp, MLPClassifier):
        is_multilabel = mlp.out_activation_ == "logistic" and len(mlp.classes_) > 1 and mlp.n_outputs_ > 1
        y = np.zeros((1, mlp.n_outputs_), dtype=int) if is_multilabel else mlp.classes_[:1]
        classes = None if is_multilabel else mlp.classes_
    else:
        y, classes = np.ones(1) if mlp.n_outputs_ == 1 else np.ones((1, mlp.n_outputs_)), None
    est._build(X, y, classes)
    network: Any = est.module_
    with torch.no_grad():
        for (weight, bias), w, b in zip(network.linears(), mlp.coefs_, mlp.intercepts_, strict=True):
            network.parameter_of(weight).copy_(torch.from_numpy(w))
            network.parameter_of(bias).copy_(torch.from_numpy(b)[None, None])
    if hasattr(mlp, "feature_names_in_"):
        est.feature_names_in_ = mlp.feature_names_in_
    for name in ("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"):
        if hasattr(mlp, name):
            setattr(est, name, getattr(mlp, name))

"""Whose network is looked at: an estimator's own, that of a pipeline's last step, or of a search's best."""

from typing import Any

from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sknn.estimators.base import BaseNeural


def fitted_network(estimator: Any) -> BaseNeural:
    """The fitted NeuralClassifier or NeuralRegressor in an estimator.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    TypeError
        If there is none.
    """
    inner = estimator
    while not isinstance(inner, BaseNeural):
        if isinstance(inner, Pipeline) and inner.steps:
            inner = inner[-1]
            continue
        if hasattr(inner, "fit") and hasattr(inner, "get_params"):
            check_is_fitted(inner)
        holders = [name for name in ("best_estimator_", "regressor_") if hasattr(inner, name)]
        if not holders:
            raise TypeError(
                f"estimator={estimator!r} holds no network: pass a NeuralClassifier or NeuralRegressor, a Pipeline "
                "that ends in one, or a search over one with refit=True."
            )
        inner = getattr(inner, holders[0])
    check_is_fitted(inner, "net_")
    return inner

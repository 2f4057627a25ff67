"""Find the fitted estimator of sknn in a pipeline, a search or another meta-estimator."""

from typing import Any

from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sknn.estimators.base import BaseNeural


def find_fitted_estimator(estimator: Any) -> BaseNeural:
    """Return the fitted NeuralClassifier or NeuralRegressor that is, or is inside of, an estimator.

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
        attributes = [name for name in ("best_estimator_", "regressor_") if hasattr(inner, name)]
        if not attributes:
            raise TypeError(
                f"estimator={estimator!r} has no network: pass a NeuralClassifier or NeuralRegressor, a Pipeline that "
                "ends in one, or a search over one with refit=True."
            )
        inner = getattr(inner, attributes[0])
    check_is_fitted(inner, "net_")
    return inner

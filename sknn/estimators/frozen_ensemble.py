"""`FrozenEnsemble`: the weighted mean of fitted models."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if

from sknn.estimators.pipelines import final_estimator


class FrozenEnsemble(BaseEstimator):
    """The weighted mean of the predictions of fitted models, which `fit` and `clone` leave as they are.

    Parameters
    ----------
    estimators : list of fitted estimators
        Each is a `NeuralClassifier`, or each a `NeuralRegressor`, or a Pipeline that ends in one.
    weights : ndarray of shape (n_estimators,)
        The share of each model; they add up to 1.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels that any of the models knows; a model that lacks one predicts 0 for it.
    n_features_in_, feature_names_in_ : int, ndarray
        Those of the models.

    Examples
    --------
    >>> import numpy as np
    >>> from sknn import NeuralRegressor
    >>> from sknn.estimators.frozen_ensemble import FrozenEnsemble
    >>> X = np.linspace(-1, 1, 100)[:, None]
    >>> models = [NeuralRegressor(8, max_iter=5, random_state=seed).fit(X, X[:, 0]) for seed in (0, 1)]
    >>> ensemble = FrozenEnsemble(models, np.array([0.25, 0.75]))
    >>> bool(np.allclose(ensemble.predict(X), 0.25 * models[0].predict(X) + 0.75 * models[1].predict(X)))
    True
    """

    def __init__(self, estimators: Sequence[Any], weights: Any) -> None:
        self.estimators, self.weights = estimators, weights

    def fit(self, X: Any = None, y: Any = None, **params: Any) -> Self:
        """Return the ensemble as it is.

        Parameters
        ----------
        X, y, **params
            Not used.

        Returns
        -------
        self
        """
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_clone__(self) -> Self:
        return self

    def __sklearn_tags__(self) -> Any:
        return get_tags(self.estimators[0])

    @property
    def classes_(self) -> np.ndarray:
        """The labels that any of the models knows."""
        return np.unique(np.concatenate([model.classes_ for model in self.estimators]))

    @property
    def n_features_in_(self) -> int:
        """The number of columns."""
        return self.estimators[0].n_features_in_

    @property
    def feature_names_in_(self) -> np.ndarray:
        """The names of the columns, if they are strings."""
        return self.estimators[0].feature_names_in_

    @property
    def network(self) -> Any:
        """The neural network of the first model; the others have targets of the same kind."""
        return final_estimator(self.estimators[0])

    def predict(self, X: Any) -> np.ndarray:
        """Labels or values of rows.

        Parameters
        ----------
        X : like the X of `fit`, of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_outputs)
        """
        return labels(self, self.predict_proba(X)) if is_classifier(self) else self._mean(X)

    @available_if(is_classifier)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class, the weighted mean over models.

        Parameters
        ----------
        X : like the X of `fit`, of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        return self._mean(X)

    @available_if(is_classifier)
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Log of the probability of each class.

        Parameters
        ----------
        X : like the X of `fit`, of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The models' own score: accuracy, R2, or for quantiles the share of the pinball loss that is explained.

        Parameters
        ----------
        X, y, sample_weight
            As in the models' `score`.

        Returns
        -------
        float
        """
        return self.network._score_of(y, self.predict(X), sample_weight)

    def _mean(self, X: Any) -> np.ndarray:
        classes = self.classes_ if is_classifier(self) else None
        return sum(
            weight * predictions(model, X, classes)
            for model, weight in zip(self.estimators, self.weights.tolist(), strict=True)
        )


def predictions(model: Any, X: Any, classes: np.ndarray | None) -> np.ndarray:
    """Return a classifier's probabilities of these classes, 0 for those that it does not know, or a regressor's values.

    With no classes, the model is a regressor.
    """
    if classes is None:
        return model.predict(X)
    p = model.predict_proba(X)
    if np.array_equal(model.classes_, classes):
        return p
    aligned = np.zeros((len(p), len(classes)), p.dtype)
    aligned[:, np.searchsorted(classes, model.classes_)] = p
    return aligned


def labels(ensemble: FrozenEnsemble, p: np.ndarray) -> np.ndarray:
    """Return the labels of probabilities."""
    if ensemble.network._target.kind_ == "multilabel":
        return (p > 0.5).astype(int)
    return ensemble.classes_[p.argmax(1)]

"""Simple models that a network should beat: a constant, and a linear model."""

import warnings
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge

from sknn.preprocessing.features import FeatureEncoder

MAX_LEVELS = 100  # a category with more levels is left out of the linear model: it would need a column for each


def fit_baselines(X: Any, y: Any, is_classification: bool) -> dict[str, Any]:
    """Return fitted baselines by their name; each takes raw tables.

    The linear model is scikit-learn's, with columns that are scaled and encoded as those of the network.
    """
    encoder = FeatureEncoder(scaling="standard", max_one_hot=MAX_LEVELS, dtype=np.float64)
    if is_classification:
        models = {
            "most frequent class": DummyClassifier(strategy="prior"),
            "linear model": LogisticRegression(max_iter=1000),
        }
    else:
        models = {"median": DummyRegressor(strategy="median"), "linear model": Ridge()}
    with warnings.catch_warnings(action="ignore"):  # the network warns of the columns, and a baseline may converge late
        encoder.fit(X)
        rows = encoder.transform(X).numeric
        return {name: Baseline(encoder, model.fit(rows, y)) for name, model in models.items()}


class Baseline:
    """A model of encoded columns that takes raw tables."""

    def __init__(self, encoder: FeatureEncoder, model: Any) -> None:
        self.encoder, self.model = encoder, model

    def predict(self, X: Any) -> np.ndarray:
        """Return labels or values of rows."""
        return self.model.predict(self._encode(X))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class."""
        return self.model.predict_proba(self._encode(X))

    def _encode(self, X: Any) -> np.ndarray:
        with warnings.catch_warnings(action="ignore"):
            return self.encoder.transform(X).numeric

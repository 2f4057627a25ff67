"""Candidates that share encoded rows and preprocessing steps, and candidates that must not."""

import numpy as np
import sklearn.model_selection
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sknn import NeuralClassifier
from sknn.model_selection import GridSearchCV
from tests.model_selection.common import CLF, MODULES, SMALL, X, assert_equal_results, y


def test_steps_that_cannot_be_hashed_are_fitted_for_each_candidate(monkeypatch):
    pipe = Pipeline([("both", FeatureUnion([("a", StandardScaler()), ("b", PCA(2))])), ("net", CLF)])
    monkeypatch.setattr("joblib.hash", lambda value: 1 / 0)
    scores = GridSearchCV(pipe, {"net__alpha": [0, 1]}, cv=2, refit=False).fit(X, y)
    assert scores.cv_results_["mean_test_score"][0] == sklearn.model_selection.cross_val_score(pipe, X, y, cv=2).mean()


def test_functions_that_cannot_be_pickled_are_different_candidates():
    scalings = [lambda X, k=k: X * (np.arange(X.shape[1]) != k) for k in range(20)]
    pipe = Pipeline([("scale", FunctionTransformer()), ("net", clone(CLF).set_params(max_iter=1, ensemble_size=1))])
    settings = {"cv": 2, "refit": False, "scoring": "neg_log_loss"}
    expected, actual = (
        module.GridSearchCV(pipe, {"scale__func": scalings}, **settings).fit(X, y) for module in MODULES
    )
    assert_equal_results(actual.cv_results_, expected.cv_results_)


class ZeroClassifier(NeuralClassifier):
    """A classifier that replaces all values of X by 0."""

    def _check_X(self, X, reset):
        return super()._check_X(np.asarray(X) * 0, reset)


def test_a_subclass_does_not_share_encoded_rows():
    pipe = Pipeline([("net", CLF)])
    grid = {"net": [CLF, ZeroClassifier(**SMALL)]}
    expected, actual = (module.GridSearchCV(pipe, grid, cv=2, refit=False).fit(X, y) for module in MODULES)
    np.testing.assert_array_equal(expected.cv_results_["mean_test_score"], actual.cv_results_["mean_test_score"])
    assert actual.cv_results_["group"].tolist() == [0, 1]

"""Data, estimators and helpers of several test files of this folder."""

import numpy as np
import pytest
import sklearn.model_selection
from sklearn.datasets import load_breast_cancer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import sknn.model_selection
from sknn import NeuralClassifier
from sknn.training.net import TrainingNet

X, y = load_breast_cancer(return_X_y=True)
X, y = X[:240, :8], y[:240]
SMALL = {"hidden_layer_sizes": (8,), "ensemble_size": 2, "max_iter": 4, "random_state": 0, "n_threads": 1}
CLF = NeuralClassifier(**SMALL)
PIPE = Pipeline([("scale", StandardScaler()), ("net", CLF)])
GRID = {"learning_rate_init": [1e-3, 1e-2], "dropout": [0.0, 0.3], "alpha": [0.0, 0.1]}
PIPE_GRID = {f"net__{name}": values for name, values in GRID.items()}

MODULES = (sklearn.model_selection, sknn.model_selection)  # the expected results come from the first
IGNORE_NOT_FINITE = pytest.mark.filterwarnings("ignore:One or more of the test scores")


def record_trainings(monkeypatch):
    """Return a list that gets the number of members of each training from now on."""
    n_members, fit_loop = [], TrainingNet.fit_loop

    def recorded(self, *args, **kwargs):
        n_members.append(self.module_.n_members)
        return fit_loop(self, *args, **kwargs)

    monkeypatch.setattr(TrainingNet, "fit_loop", recorded)
    return n_members


def assert_equal_results(actual, expected):
    """Compare two `cv_results_`, apart from times and groups."""
    assert set(actual) - set(expected) == {"group"}
    assert set(expected) <= set(actual)
    for name, values in expected.items():
        if "time" not in name:
            np.testing.assert_array_equal(actual[name], values, err_msg=name)

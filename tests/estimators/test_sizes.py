"""Whatever sizes a user picks: the loss is that of scikit-learn's MLP with these sizes, or lower."""

import warnings

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.metrics import log_loss, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import NeuralClassifier, NeuralRegressor


def waves():
    """Return a table in which regularisation as for wide networks would leave narrow ones unable to learn."""
    random = np.random.default_rng(0)
    X = random.normal(size=(4000, 10))
    return X, np.sin(3 * X[:, 0]) + X[:, 1] * X[:, 2]


LOADERS = {
    "waves": waves,
    "diabetes": lambda: load_diabetes(return_X_y=True),
    "digits": lambda: load_digits(return_X_y=True),
    "breast_cancer": lambda: load_breast_cancer(return_X_y=True),
}


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(8,), (32,), (64,), (64, 32)], ids=str)
@pytest.mark.parametrize("table", LOADERS)
def test_networks_of_any_size_are_as_good_as_scikit_learns(table, sizes):
    X, y = LOADERS[table]()
    classifies = y.dtype.kind == "i"
    X, X_test, y, y_test = train_test_split(X, y, random_state=0, stratify=y if classifies else None)
    if classifies:
        est, mlp = NeuralClassifier(sizes, random_state=0), MLPClassifier(sizes, random_state=0)
    else:
        est = NeuralRegressor(sizes, random_state=0)
        mlp = TransformedTargetRegressor(
            MLPRegressor(hidden_layer_sizes=sizes, random_state=0), transformer=StandardScaler()
        )
    with warnings.catch_warnings(action="ignore"):  # scikit-learn's 200 epochs are too few for some
        mlp = make_pipeline(StandardScaler(), mlp).fit(X, y)
    est.fit(X, y)

    def loss(model):
        if classifies:
            return log_loss(y_test, model.predict_proba(X_test))
        return root_mean_squared_error(y_test, model.predict(X_test))

    assert loss(est) <= 1.02 * loss(mlp) + 0.01

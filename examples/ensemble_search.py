"""AutoML in a given time: EnsembleSearchCV beside tuned gradient boosting, FLAML and CatBoost.

    python examples/ensemble_search.py [seconds of each]

FLAML and CatBoost are left out if they are not installed.
"""

import importlib.util
import sys
import time
import warnings

import numpy as np
from scipy.stats import loguniform
from sklearn.datasets import load_diabetes, load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import log_loss, root_mean_squared_error
from sklearn.model_selection import ParameterSampler, cross_val_score, train_test_split

from sknn import NeuralClassifier, NeuralRegressor
from sknn.model_selection import EnsembleSearchCV

SPACE = {
    "learning_rate": loguniform(0.02, 0.3),
    "max_leaf_nodes": [7, 15, 31, 63],
    "l2_regularization": loguniform(1e-3, 10),
    "min_samples_leaf": [5, 20, 50],
}


def network(classifies, seconds):
    """Return the default network without a search."""
    return (NeuralClassifier if classifies else NeuralRegressor)(random_state=0)


def ensemble_search(classifies, seconds):
    """Return the search, with more candidates than there is time for."""
    return EnsembleSearchCV(network(classifies, seconds), n_iter=500, time_limit=seconds, random_state=0)


class TunedBoosting:
    """A random search over gradient boosting that ends in time."""

    def __init__(self, classifies, seconds):
        self.estimator = (HistGradientBoostingClassifier if classifies else HistGradientBoostingRegressor)(
            random_state=0, early_stopping=True
        )
        self.scoring, self.seconds = "neg_log_loss" if classifies else "neg_mean_squared_error", seconds

    def fit(self, X, y):
        """Score candidates by cross-validation until the time is over, then fit the best."""
        end, best = time.perf_counter() + self.seconds, -np.inf
        for parameters in ({}, *ParameterSampler(SPACE, 1000, random_state=0)):
            score = cross_val_score(self.estimator.set_params(**parameters), X, y, cv=5, scoring=self.scoring).mean()
            if score > best:
                best, self.parameters = score, parameters
            if time.perf_counter() > end:
                break
        self.best = self.estimator.set_params(**self.parameters).fit(X, y)
        return self.best


class Flaml:
    """FLAML with all its learners, by its defaults."""

    def __init__(self, classifies, seconds):
        self.settings = {
            "task": "classification" if classifies else "regression",
            "metric": "log_loss" if classifies else "rmse",
            "time_budget": seconds,
        }

    def fit(self, X, y):
        """Return the fitted AutoML."""
        from flaml import AutoML

        automl = AutoML()
        automl.fit(X, y, seed=0, verbose=0, n_jobs=1, **self.settings)
        return automl


def catboost(classifies, seconds):
    """Return CatBoost with its defaults."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    return (CatBoostClassifier if classifies else CatBoostRegressor)(verbose=0, random_seed=0, thread_count=1)


METHODS = {
    "network, not tuned": network,
    "EnsembleSearchCV": ensemble_search,
    "gradient boosting": TunedBoosting,
    "FLAML": Flaml,
    "CatBoost, not tuned": catboost,
}
PACKAGES = {"FLAML": "flaml", "CatBoost, not tuned": "catboost"}


def test_loss(model, X, y, classifies):
    """Return the log loss or the root mean squared error."""
    return log_loss(y, model.predict_proba(X)) if classifies else root_mean_squared_error(y, model.predict(X))


def main(seconds):
    """Print the loss of each method on each table, and the seconds that it took."""
    results = {}
    for name, load in {"digits": load_digits, "diabetes": load_diabetes}.items():
        X, X_test, y, y_test = train_test_split(*load(return_X_y=True), random_state=0)
        classifies = name == "digits"
        print(f"\n{name}: {'log loss' if classifies else 'root mean squared error'} of {len(y_test)} rows")
        for method, make in METHODS.items():
            package = PACKAGES.get(method)
            if package and importlib.util.find_spec(package) is None:
                print(f"  {method:20} left out: {package} is not installed")
                continue
            start = time.perf_counter()
            with warnings.catch_warnings(action="ignore"):  # other libraries give warnings
                model = make(classifies, seconds).fit(X, y)
                loss = test_loss(model, X_test, y_test, classifies)
            print(f"  {method:20} {loss:8.4f} in {time.perf_counter() - start:3.0f} s")
            results[name, method] = loss
    return results


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)

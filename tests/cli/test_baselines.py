"""The simple models that a network is compared with."""

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sknn.cli.baselines import fit_baselines

rng = np.random.default_rng(0)
X = pd.DataFrame({"size": rng.normal(5, 2, 80), "city": rng.choice(["Oslo", "Rome", "Bern"], 80)})
VALUES = X["size"] + (X["city"] == "Rome") + rng.normal(0, 0.1, 80)
LABELS = np.where(VALUES + rng.normal(0, 1, 80) > 5, "large", "small")


def scaled_columns(model):
    """Return scikit-learn's pipeline of scaled numbers and one-hot categories."""
    return make_pipeline(make_column_transformer((StandardScaler(), ["size"]), (OneHotEncoder(), ["city"])), model)


def test_the_linear_classifier_is_that_of_scikit_learn():
    models = fit_baselines(X, LABELS, is_classification=True)

    expected = scaled_columns(LogisticRegression(max_iter=1000)).fit(X, LABELS).predict_proba(X)
    np.testing.assert_allclose(models["linear model"].predict_proba(X), expected, atol=1e-3)
    shares = pd.Series(LABELS).value_counts(normalize=True).sort_index()
    np.testing.assert_allclose(models["most frequent class"].predict_proba(X), np.tile(shares, (80, 1)))
    assert set(models["most frequent class"].predict(X)) == {shares.idxmax()}


def test_the_linear_regressor_is_that_of_scikit_learn():
    models = fit_baselines(X, VALUES, is_classification=False)

    expected = scaled_columns(Ridge()).fit(X, VALUES).predict(X)
    np.testing.assert_allclose(models["linear model"].predict(X), expected, atol=1e-6)
    assert set(models["median"].predict(X)) == {np.median(VALUES)}


def test_missing_and_unseen_values_are_taken():
    models = fit_baselines(X.assign(size=X["size"].where(X["size"] > 3)), VALUES, is_classification=False)
    new = pd.DataFrame({"size": [np.nan, 4.0], "city": ["Paris", None]})

    assert np.isfinite(models["linear model"].predict(new)).all()


def test_a_category_of_very_many_levels_is_left_out():
    wide = pd.DataFrame({"size": np.arange(300.0), "name": [f"n{i}" for i in range(300)]})
    models = fit_baselines(wide, wide["size"], is_classification=False)

    assert models["linear model"].model.n_features_in_ == 1

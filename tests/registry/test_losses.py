"""The loss of each row, against scikit-learn, and the constant predictions."""

import numpy as np
import pytest
import sklearn.metrics
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression

from sknn.registry.losses import METRICS, choose_metric, losses_of

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 3))
LABELS = np.where(X[:, 0] + rng.normal(size=200) > 0.7, "yes", "no")
VALUES = X[:, 1] + rng.exponential(size=200)
SCORES = {
    "log_loss": lambda model: sklearn.metrics.log_loss(LABELS, model.predict_proba(X)),
    "accuracy": lambda model: sklearn.metrics.accuracy_score(LABELS, model.predict(X)),
    "squared_error": lambda model: sklearn.metrics.mean_squared_error(VALUES, model.predict(X)),
    "absolute_error": lambda model: sklearn.metrics.mean_absolute_error(VALUES, model.predict(X)),
}
DUMMIES = {
    "log_loss": DummyClassifier(strategy="prior"),
    "accuracy": DummyClassifier(strategy="most_frequent"),
    "squared_error": DummyRegressor(strategy="mean"),
    "absolute_error": DummyRegressor(strategy="median"),
}


def data_of(metric):
    return (LogisticRegression(), LABELS) if METRICS[metric].for_classifier else (LinearRegression(), VALUES)


@pytest.mark.parametrize("metric", METRICS)
def test_the_mean_is_scikit_learns_metric(metric):
    model, y = data_of(metric)
    losses = losses_of(metric, model.fit(X, y), "a model", X, y)

    assert losses.shape == (200,)
    assert METRICS[metric].value(losses) == pytest.approx(SCORES[metric](model))


@pytest.mark.parametrize("metric", METRICS)
def test_the_constant_is_scikit_learns_dummy(metric):
    y = data_of(metric)[1]

    assert METRICS[metric].value(METRICS[metric].constant(y)) == pytest.approx(
        SCORES[metric](DUMMIES[metric].fit(X, y))
    )


def test_the_default_metric_suits_the_model():
    assert choose_metric(None, LogisticRegression()) == "log_loss"
    assert choose_metric(None, LinearRegression()) == "squared_error"


def test_a_metric_of_the_other_kind_is_an_error():
    with pytest.raises(ValueError) as error:
        choose_metric("accuracy", LinearRegression())
    assert str(error.value) == (
        "metric='accuracy' does not suit a regressor; give one of ['squared_error', 'absolute_error']."
    )


def test_a_label_that_the_model_does_not_know_is_an_error():
    y = np.where(LABELS == "no", "maybe", LABELS)

    with pytest.raises(ValueError) as error:
        losses_of("log_loss", LogisticRegression().fit(X, LABELS), "models:/churn/3", X, y)
    assert str(error.value) == (
        "The target holds ['maybe'], which models:/churn/3 does not know; its classes are ['no', 'yes']."
    )

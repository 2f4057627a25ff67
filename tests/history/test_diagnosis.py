"""Diagnoses of synthetic loss curves, and of real trainings with and without problems."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, make_classification

from sknn import NeuralClassifier, NeuralRegressor
from sknn.history.diagnosis import ADVICE, WARNING_PATIENCE, TrainingWarning, diagnose, find_advice
from sknn.model_selection import GridSearchCV

FALLING = [0.2 + 1 / epoch for epoch in range(1, 41)]


def records(train, valid=None):
    if valid is None:
        return [{"train_loss": loss} for loss in train]
    return [{"train_loss": t, "valid_loss": v} for t, v in zip(train, valid, strict=True)]


def noise(n, size):
    return size * np.random.default_rng(0).standard_normal(n)


def test_a_rising_validation_loss_and_a_falling_training_loss_are_overfitting():
    valid = FALLING[:15] + [FALLING[14] + 0.03 * epoch for epoch in range(25)]

    diagnoses = diagnose(records(FALLING, valid))

    assert diagnoses[:15] == [None] * 15
    assert set(diagnoses[25:]) == {"overfitting"}


def test_a_validation_loss_that_stays_high_is_overfitting():
    valid = FALLING[:15] + [1.0] * 25

    assert diagnose(records(FALLING, valid))[-1] == "overfitting"


@pytest.mark.parametrize(
    "valid",
    [
        pytest.param([1.2 * loss for loss in FALLING], id="a gap that shrinks with the loss"),
        pytest.param(np.array(FALLING) + 0.5, id="a constant gap"),
        pytest.param(np.array(FALLING) + noise(40, 0.01), id="noise"),
        pytest.param(FALLING[:15] + [FALLING[14] * 1.01] * 25, id="a rise of one percent"),
    ],
)
def test_a_gap_that_does_not_grow_has_no_diagnosis(valid):
    assert diagnose(records(FALLING, list(valid))) == [None] * 40


def test_two_rising_losses_are_a_divergence():
    rising = FALLING[:15] + [FALLING[14] + 0.05 * epoch for epoch in range(25)]

    assert diagnose(records(rising, rising))[-1] == "divergence"
    assert diagnose(records(rising))[-1] == "divergence"


def test_a_loss_that_is_not_finite_is_a_divergence_at_once():
    assert diagnose(records([1.0, float("nan"), float("inf")])) == [None, "divergence", "divergence"]


def test_a_loss_that_does_not_change_is_flat_from_the_tenth_epoch_on():
    constant = list(0.69 + noise(12, 1e-4))

    assert diagnose(records(constant)) == [None] * 9 + ["flat"] * 3
    assert diagnose(records([0.0] * 12)) == [None] * 12


def test_thousands_of_epochs_are_diagnosed_like_few():
    train = list(1 / np.arange(1, 20_001))
    valid = train[:10_000] + list(np.linspace(1e-4, 0.3, 10_000))
    diagnoses = diagnose(records(train, valid))

    assert diagnoses.index("overfitting") > 10_000
    assert diagnoses[-1] == "overfitting"


def test_negative_losses_are_diagnosed_like_positive_ones():
    train = [loss - 10 for loss in FALLING]
    valid = train[:15] + [train[14] + 0.1 * epoch for epoch in range(25)]

    assert diagnose(records(train, valid))[-1] == "overfitting"
    assert diagnose(records(train, train)) == [None] * 40


def test_few_or_no_epochs_have_no_diagnosis():
    assert diagnose([]) == []
    assert diagnose(records([1, 2, 3, 4, 5, 6, 7, 8, 9])) == [None] * 9


def test_missing_losses_have_no_diagnosis():
    assert diagnose([{}, *records([1.0] * 20)]) == [None] * 21


def test_the_advice_is_for_the_last_epoch():
    assert find_advice([], [0]) is None
    assert find_advice(["flat", None], [0]) is None
    assert find_advice([None, "flat"], [0]) == ADVICE["flat"]


def test_overfitting_has_advice_if_most_members_trained_on_without_improvement():
    assert find_advice([None, "overfitting"], [16, 0, 16]) == ADVICE["overfitting"]
    assert find_advice([None, "overfitting"], [15]) is None
    assert find_advice([None, "overfitting"], [16, 0, 0]) is None


def test_the_default_patience_is_shorter_than_that_of_the_warning():
    assert NeuralClassifier().n_iter_no_change < WARNING_PATIENCE


def overfitting():
    X, y = make_classification(200, 20, flip_y=0.3, random_state=0)
    clf = NeuralClassifier(dropout=0, ensemble_size=1, n_iter_no_change=60, max_iter=60, random_state=0)
    return clf, X, y


def test_an_overfitting_fit_diagnoses_its_epochs_and_warns_once():
    clf, X, y = overfitting()

    with pytest.warns(TrainingWarning, match="overfits the training rows. Try more dropout") as caught:
        clf.fit(X, y)

    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert clf.history_[-1]["diagnosis"] == "overfitting"
    assert clf.history_[0]["diagnosis"] is None


def test_a_search_warns_of_its_best_estimator_but_not_of_candidates():
    clf, X, y = overfitting()
    search = GridSearchCV(clf, {"learning_rate_init": [6e-3, 7e-3]}, cv=3, refit=False).fit(X, y)

    with pytest.warns(TrainingWarning) as caught:
        search.set_params(refit=True).fit(X, y)

    assert len(caught) == 1


def test_a_training_that_early_stopping_ended_does_not_warn():
    clf, X, y = overfitting()

    clf.set_params(n_iter_no_change=25).fit(X, y)

    assert clf.history_[-1]["diagnosis"] == "overfitting"


def test_a_tiny_learning_rate_gives_a_flat_loss():
    reg = NeuralRegressor(learning_rate_init=1e-9, max_iter=12, ensemble_size=1, random_state=0)

    with pytest.warns(TrainingWarning, match="has not changed since the first epochs.*try a larger learning_rate_init"):
        reg.fit(*load_diabetes(return_X_y=True))


def test_the_advice_for_a_rising_loss_is_a_smaller_learning_rate():
    X, y = load_digits(return_X_y=True)
    clf = NeuralClassifier(solver="sgd", learning_rate="constant", learning_rate_init=0.9, early_stopping=False)
    clf.set_params(max_iter=12, ensemble_size=1, momentum=0.99, random_state=0, dropout=0, n_iter_no_change=50)

    with pytest.warns(UserWarning, match="Try a smaller learning_rate_init"):
        clf.fit(X, y)


@pytest.mark.parametrize("data", [load_breast_cancer, load_digits])
def test_the_defaults_do_not_warn(data):
    X, y = data(return_X_y=True)

    assert NeuralClassifier(random_state=0).fit(X[:400], y[:400]).n_iter_ > 9  # warnings are errors here

"""What the losses of a training show: on made curves, and on real trainings that do and don't go wrong."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, make_classification

from sknn import NeuralClassifier, NeuralRegressor
from sknn.history.diagnosis import ADVICE, WARNING_PATIENCE, TrainingWarning, advice, diagnose
from sknn.model_selection import GridSearchCV

FALLING = [0.2 + 1 / epoch for epoch in range(1, 41)]


def records(train, valid=None):
    if valid is None:
        return [{"train_loss": loss} for loss in train]
    return [{"train_loss": t, "valid_loss": v} for t, v in zip(train, valid, strict=True)]


def noise(n, size):
    return size * np.random.default_rng(0).standard_normal(n)


def test_a_validation_loss_that_rises_while_the_training_loss_falls_is_overfitting():
    valid = FALLING[:15] + [FALLING[14] + 0.03 * epoch for epoch in range(25)]

    findings = diagnose(records(FALLING, valid))

    assert findings[:15] == [None] * 15
    assert set(findings[25:]) == {"overfitting"}


def test_an_overfitting_that_has_come_to_rest_is_still_one():
    valid = FALLING[:15] + [1.0] * 25

    assert diagnose(records(FALLING, valid))[-1] == "overfitting"


@pytest.mark.parametrize(
    "valid",
    [
        pytest.param([1.2 * loss for loss in FALLING], id="a gap that falls along"),
        pytest.param(np.array(FALLING) + 0.5, id="a gap that stays"),
        pytest.param(np.array(FALLING) + noise(40, 0.01), id="noise"),
        pytest.param(FALLING[:15] + [FALLING[14] * 1.01] * 25, id="a rise of one percent"),
    ],
)
def test_a_gap_that_does_not_grow_is_none(valid):
    assert diagnose(records(FALLING, list(valid))) == [None] * 40


def test_where_both_losses_rise_the_training_diverges():
    rising = FALLING[:15] + [FALLING[14] + 0.05 * epoch for epoch in range(25)]

    assert diagnose(records(rising, rising))[-1] == "divergence"
    assert diagnose(records(rising))[-1] == "divergence"


def test_a_loss_that_is_no_number_is_a_divergence_at_once():
    assert diagnose(records([1.0, float("nan"), float("inf")])) == [None, "divergence", "divergence"]


def test_a_loss_that_does_not_change_is_flat_from_the_tenth_epoch_on():
    param_buffer = list(0.69 + noise(12, 1e-4))

    assert diagnose(records(param_buffer)) == [None] * 9 + ["flat"] * 3
    assert diagnose(records([0.0] * 12)) == [None] * 12


def test_thousands_of_epochs_are_judged_like_few():
    train = list(1 / np.arange(1, 20_001))
    valid = train[:10_000] + list(np.linspace(1e-4, 0.3, 10_000))
    findings = diagnose(records(train, valid))

    assert findings.index("overfitting") > 10_000
    assert findings[-1] == "overfitting"


def test_negative_losses_are_judged_like_others():
    train = [loss - 10 for loss in FALLING]
    valid = train[:15] + [train[14] + 0.1 * epoch for epoch in range(25)]

    assert diagnose(records(train, valid))[-1] == "overfitting"
    assert diagnose(records(train, train)) == [None] * 40


def test_few_epochs_and_none_show_nothing():
    assert diagnose([]) == []
    assert diagnose(records([1, 2, 3, 4, 5, 6, 7, 8, 9])) == [None] * 9


def test_epochs_of_which_only_some_have_losses_show_nothing():
    assert diagnose([{}, *records([1.0] * 20)]) == [None] * 21


def test_the_advice_is_that_of_the_last_epoch():
    assert advice([], [0]) is None
    assert advice(["flat", None], [0]) is None
    assert advice([None, "flat"], [0]) == ADVICE["flat"]


def test_overfitting_is_worth_a_word_if_most_members_went_on_with_it():
    assert advice([None, "overfitting"], [16, 0, 16]) == ADVICE["overfitting"]
    assert advice([None, "overfitting"], [15]) is None
    assert advice([None, "overfitting"], [16, 0, 0]) is None


def test_the_default_patience_is_shorter_than_that():
    assert NeuralClassifier().n_iter_no_change < WARNING_PATIENCE


def overfitting():
    X, y = make_classification(200, 20, flip_y=0.3, random_state=0)
    clf = NeuralClassifier(dropout=0, ensemble_size=1, n_iter_no_change=60, max_iter=60, random_state=0)
    return clf, X, y


def test_a_fit_that_overfits_marks_its_epochs_and_warns_once_with_advice():
    clf, X, y = overfitting()

    with pytest.warns(TrainingWarning, match="learns its rows by heart. Try more dropout") as caught:
        clf.fit(X, y)

    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert clf.history_[-1]["diagnosis"] == "overfitting"
    assert clf.history_[0]["diagnosis"] is None


def test_candidates_of_a_search_are_not_warned_of_and_the_one_it_chooses_is():
    clf, X, y = overfitting()
    search = GridSearchCV(clf, {"learning_rate_init": [6e-3, 7e-3]}, cv=3, refit=False).fit(X, y)

    with pytest.warns(TrainingWarning) as caught:
        search.set_params(refit=True).fit(X, y)

    assert len(caught) == 1


def test_what_early_stopping_has_ended_is_not_warned_of():
    clf, X, y = overfitting()

    clf.set_params(n_iter_no_change=25).fit(X, y)

    assert clf.history_[-1]["diagnosis"] == "overfitting"


def test_a_learning_rate_that_is_far_too_small_is_flat():
    reg = NeuralRegressor(learning_rate_init=1e-9, max_iter=12, ensemble_size=1, random_state=0)

    with pytest.warns(TrainingWarning, match="has not changed since the first epochs.*try a larger learning_rate_init"):
        reg.fit(*load_diabetes(return_X_y=True))


def test_a_training_whose_loss_rises_is_told_to_go_slower():
    X, y = load_digits(return_X_y=True)
    clf = NeuralClassifier(solver="sgd", learning_rate="constant", learning_rate_init=0.9, early_stopping=False)
    clf.set_params(max_iter=12, ensemble_size=1, momentum=0.99, random_state=0, dropout=0, n_iter_no_change=50)

    with pytest.warns(UserWarning, match="Try a smaller learning_rate_init"):
        clf.fit(X, y)


@pytest.mark.parametrize("data", [load_breast_cancer, load_digits])
def test_the_defaults_have_nothing_to_warn_of(data):
    X, y = data(return_X_y=True)

    assert NeuralClassifier(random_state=0).fit(X[:400], y[:400]).n_iter_ > 9  # warnings are errors here

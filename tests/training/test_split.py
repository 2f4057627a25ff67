"""The split: which rows are held out, and when none are."""

import numpy as np
import pytest

from sknn import NeuralClassifier, NeuralRegressor
from sknn.training.split import hold_out, n_held_out, stratified_order

SMALL = dict(hidden_layer_sizes=(8,), ensemble_size=3, max_iter=15, random_state=0, n_threads=1)
X = np.random.default_rng(0).normal(size=(200, 3))
LABELS = (X[:, 0] + X[:, 1] > 0).astype(int)


@pytest.mark.parametrize(
    ("n_rows", "fraction", "expected"),
    [
        (1, 0.15, 0),
        (3, 0.15, 0),
        (4, 0.15, 1),
        (100, 0.15, 15),
        (120, 0.001, 0),
        (100, 0.0, 0),
        (1, 0.9, 0),
        (2, 0.9, 0),
        (10, 0.9, 9),
    ],
)
def test_a_fraction_that_leaves_one_side_empty_holds_no_rows_out(n_rows, fraction, expected):
    assert n_held_out(n_rows, fraction) == expected


def held_out(order, n_held, n_members):
    return [hold_out(order, n_held, number)[1] for number in range(n_members)]


def test_members_hold_out_different_rows_and_train_on_all_others():
    order = stratified_order(203, None, seed=0)
    for number in range(5):
        train, held = hold_out(order, 40, number)
        assert len(held) == 40
        assert sorted([*train, *held]) == list(range(203))
    rows = np.concatenate(held_out(order, 40, 5))
    assert len(set(rows.tolist())) == 200
    beginning, again = held_out(order, 40, 6)[::5]
    assert set(again) == {*order[200:], *order[:37]}  # after the end of the order, it goes on from the beginning
    assert set(again) & set(beginning)


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_every_member_holds_out_each_class_in_its_proportion(fraction):
    strata = np.random.default_rng(1).permutation(np.repeat([0, 1, 2], [101, 60, 4]))
    n_held = round(fraction * 165)
    for held in held_out(stratified_order(165, strata, seed=3), n_held, 8):
        counts = np.bincount(strata[held], minlength=3)
        assert (np.abs(counts - fraction * np.array([101, 60, 4])) <= 1.5).all(), counts


def test_a_class_of_two_rows_stays_in_every_training():
    strata = np.array([0] * 98 + [1] * 2)
    for seed in range(20):
        for held in held_out(stratified_order(100, strata, seed), 15, 7):
            assert (strata[held] == 1).sum() <= 1


def test_the_order_depends_on_the_seed_only():
    strata = np.arange(50) % 3
    first, second, other = (stratified_order(50, strata, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
    assert sorted(first) == list(range(50))


def test_members_of_different_kinds_hold_out_the_same_rows():
    est = NeuralRegressor(**SMALL | {"ensemble_size": 5}).fit(X, X[:, 0])
    rows = [held.tolist() for held in est.net_._held_out]
    assert [part.n_members for part in est.module_.parts] == [3, 2]
    assert rows[:2] == rows[3:]
    assert len({tuple(held) for held in rows}) == 3


@pytest.mark.parametrize("cls", [NeuralClassifier, NeuralRegressor])
@pytest.mark.parametrize(("n", "parameters"), [(1, {}), (2, {}), (3, {}), (2, {"validation_fraction": 0.9})], ids=str)
@pytest.mark.filterwarnings("ignore::sknn.TrainingWarning")  # so few rows can be memorised
def test_too_few_rows_are_fitted_as_without_early_stopping(cls, n, parameters):
    y = LABELS if cls is NeuralClassifier else X[:, 0] + X[:, 1]
    est = cls(**SMALL | parameters).fit(X[:n], y[:n])
    assert est.validation_scores_ is None
    assert "valid_loss" not in est.history_[-1]
    plain = cls(**SMALL, early_stopping=False).fit(X[:n], y[:n])
    np.testing.assert_array_equal(est.predict(X), plain.predict(X))
    assert est.loss_curve_ == plain.loss_curve_


@pytest.mark.parametrize(
    "parameters",
    [
        dict(batch_norm=True),
        dict(solver="sgd"),
        dict(solver="lbfgs"),
        dict(numeric_embedding="piecewise_linear"),
        dict(scaling="quantile"),
        dict(scoring=None, metrics=["accuracy", "roc_auc"]),
        dict(class_weight="balanced"),
    ],
    ids=str,
)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
@pytest.mark.filterwarnings("ignore::sknn.TrainingWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_every_configuration_fits_few_rows(n, parameters):
    clf = NeuralClassifier(**SMALL | parameters).fit(X[:n], LABELS[:n])
    assert np.isfinite(clf.predict_proba(X)).all()


def test_with_x_val_no_training_rows_are_held_out():
    est = NeuralClassifier(**SMALL).fit(X[:2], [0, 1], X_val=X[2:], y_val=LABELS[2:])
    assert len(est.validation_scores_) == est.n_iter_

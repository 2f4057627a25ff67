"""The split: which rows are held out, and when none are."""

import numpy as np
import pytest

from sknn import NeuralClassifier, NeuralRegressor
from sknn.training.split import hold_out, n_held_out

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


def test_held_out_rows_are_stratified_if_every_class_can_be_on_both_sides():
    strata = np.repeat([0, 1, 2], [100, 60, 40])
    train, held = hold_out(200, 40, strata, (0, 1))
    assert sorted([*train, *held]) == list(range(200))
    assert np.bincount(strata[held]).tolist() == [20, 12, 8]
    repeated, other_member = hold_out(200, 40, strata, (0, 1)), hold_out(200, 40, strata, (0, 2))
    np.testing.assert_array_equal(repeated[1], held)
    assert not np.array_equal(other_member[1], held)
    for strata in (
        np.array([0] * 199 + [1]),
        np.arange(200) % 50,
        None,
    ):  # too few rows of a class, too many classes, and no classes
        train, held = hold_out(200, 40, strata, (0, 1))
        assert (len(train), len(held)) == (160, 40)


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

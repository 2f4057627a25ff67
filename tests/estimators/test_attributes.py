"""The fitted attributes that describe an ensemble's members: their kinds, best epochs and weights."""

import inspect
import sys

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.neural_network import MLPClassifier
from torch import nn

from sknn import NeuralClassifier, NeuralRegressor, from_sklearn
from tests.common import ALIKE, TINY, quietly

X, Y = make_classification(90, 5, random_state=0)
SMALL = {"hidden_layer_sizes": (6,), "ensemble_size": 4, "max_iter": 6, "random_state": 0}
KINDS = ["batch norm", "batch norm", "piecewise linear", "piecewise linear"]


@pytest.fixture(scope="module")
def clf():
    return NeuralClassifier(**SMALL).fit(X, Y)


def check_best_epochs(est, name, sign):
    """Compare each member's best epoch with its values in the history, of which the largest times `sign` is best."""
    for member, row in est.members_.iterrows():
        values = [sign * record[f"member_{name}"][member] for record in est.history_[: row["epochs"]]]
        assert row["validation_score"] == max(values)
        assert row["best_epoch"] == np.argmax(values) + 1


def test_members_have_a_row_each(clf):
    members = clf.members_

    assert members.columns.tolist() == ["kind", "epochs", "best_epoch", "validation_score", "weight"]
    assert (members.index.name, members.index.tolist()) == ("member", [0, 1, 2, 3])
    assert members["kind"].tolist() == clf.module_.kinds == KINDS
    assert members["epochs"].tolist() == clf.net_.epochs_
    np.testing.assert_array_equal(members["weight"], clf.member_weights_)


def test_the_best_epoch_has_the_best_validation_loss(clf):
    check_best_epochs(clf, "valid_loss", -1)


def test_the_best_epoch_has_the_best_score_if_one_is_monitored():
    check_best_epochs(NeuralClassifier(**SMALL, scoring="accuracy").fit(X, Y), "valid_score", 1)


def test_without_held_out_rows_the_best_epoch_has_the_smallest_training_loss():
    clf = NeuralClassifier(**SMALL, early_stopping=False).fit(X, Y)

    check_best_epochs(clf, "train_loss", -1)
    np.testing.assert_array_equal(clf.member_weights_, np.full(4, 0.25))


def test_the_best_epoch_is_counted_over_all_fits():
    clf = NeuralClassifier(**SMALL, warm_start=True, learning_rate="constant")
    for _ in range(2):
        quietly(clf.fit, X, Y)
    best = clf.members_["best_epoch"]

    assert clf.members_["epochs"].tolist() == [6] * 4
    assert best.max() > 6
    for member, epoch in best.items():
        loss = clf.history_[epoch - 1]["member_valid_loss"][member]
        assert clf.members_["validation_score"][member] == -loss


def test_the_weights_add_up_and_are_equal_within_a_kind(clf):
    weights = clf.member_weights_

    assert weights.shape == (4,)
    assert weights.sum() == pytest.approx(1)
    assert (weights > 0).all()
    assert weights[0] == weights[1]
    assert weights[2] == weights[3]
    assert weights[0] != weights[2]


@pytest.mark.parametrize("cls", [NeuralClassifier, NeuralRegressor])
def test_predictions_are_the_weighted_mean_of_the_members(cls):
    est = cls(**SMALL).fit(X, Y)
    each = [predicted_with(est, members) for members in np.eye(4)]

    np.testing.assert_allclose(predicted_with(est, est.member_weights_), predicted(est), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.tensordot(est.member_weights_, each, 1), predicted(est), rtol=1e-5, atol=1e-6)


def predicted(est):
    return est.predict_proba(X) if isinstance(est, NeuralClassifier) else est.predict(X)


def predicted_with(est, weights):
    """Return the predictions with other weights of the members."""
    states = est.net_.member_states_
    before = [state.weight for state in states]
    for state, weight in zip(states, weights, strict=True):
        state.weight = float(weight)
    try:
        return predicted(est)
    finally:
        for state, weight in zip(states, before, strict=True):
            state.weight = weight


def test_members_that_are_alike_have_equal_weights():
    clf = NeuralClassifier(**SMALL, **ALIKE).fit(X, Y)

    np.testing.assert_array_equal(clf.member_weights_, np.full(4, 0.25))
    assert clf.members_["kind"].tolist() == ["plain"] * 4


@pytest.mark.parametrize(
    ("params", "kind"),
    [
        ({}, "plain"),
        ({"batch_norm": True, "numeric_embedding": "periodic"}, "batch norm, periodic"),
        ({"module": nn.Linear}, "module"),
    ],
)
def test_a_single_member_has_one_row(params, kind):
    clf = NeuralClassifier(**TINY, **params).fit(X, Y)

    assert clf.member_weights_.tolist() == [1]
    assert clf.members_[["kind", "epochs", "best_epoch", "weight"]].to_numpy().tolist() == [[kind, 1, 1, 1]]
    assert clf.members_["validation_score"][0] == -clf.history_[0]["valid_loss"]


def test_a_converted_network_has_members_that_are_alike():
    mlp = MLPClassifier((6,), max_iter=2, random_state=0)
    quietly(mlp.fit, X, Y)
    clf = from_sklearn(mlp, ensemble_size=2)

    assert clf.module_.kinds == ["plain"] * 2
    np.testing.assert_allclose(clf.predict_proba(X), mlp.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("name", ["members_", "member_weights_"])
def test_an_estimator_that_is_not_fitted_has_no_members(name):
    with pytest.raises(AttributeError, match=f"NeuralClassifier has no {name} before fit"):
        getattr(NeuralClassifier(), name)


def test_without_pandas_the_extra_is_named(clf, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(AttributeError, match=r"members_ needs pandas; .* pip install 'sknn\[pandas\]'"):
        clf.members_
    assert "members_" not in dict(inspect.getmembers(clf))
    assert clf.member_weights_.shape == (4,)

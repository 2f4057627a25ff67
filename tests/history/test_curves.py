"""Curves of a training's records: members that stopped, best epochs, diagnoses."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_iris

from sknn import NeuralClassifier
from sknn.history.curves import TrainingCurves

VALUES = st.one_of(st.none(), st.booleans(), st.text(), st.floats(), st.integers(-(10**9), 10**9))
MEMBERS = st.lists(VALUES, max_size=3)
KNOWN = {"train_loss": VALUES, "epoch": VALUES, "member_train_loss": MEMBERS, "diagnosis": st.none() | st.text()}
RECORD = st.dictionaries(st.text(), VALUES) | st.fixed_dictionaries({}, optional=KNOWN)


def of_losses(*losses, **more):
    """Return records of one member with these validation losses."""
    return [{"epoch": i, "train_loss": 1 / i, "valid_loss": loss} | more for i, loss in enumerate(losses, 1)]


def of_members(*epochs):
    """Return records of several members, with the members' losses in each epoch."""
    return [{"train_loss": np.mean([x for x in losses if x]), "member_train_loss": list(losses)} for losses in epochs]


@pytest.fixture(scope="module")
def ensemble():
    clf = NeuralClassifier(hidden_layer_sizes=8, ensemble_size=4, n_iter_no_change=2, random_state=0)
    return clf.set_params(max_iter=40, learning_rate_init=0.05).fit(*load_iris(return_X_y=True))


def test_a_curve_holds_the_recorded_values(ensemble):
    curve = TrainingCurves(ensemble.history_).curve("train_loss")

    np.testing.assert_array_equal(curve.mean, ensemble.loss_curve_)
    assert curve.members.shape == (ensemble.n_iter_, 4)


def test_a_member_has_no_values_after_its_last_epoch(ensemble):
    members = TrainingCurves(ensemble.history_).curve("valid_loss").members

    assert np.isfinite(members).sum(0).tolist() == ensemble.net_.epochs_
    assert len(set(ensemble.net_.epochs_)) > 1


def test_the_best_epochs_are_those_whose_weights_were_kept(ensemble):
    assert TrainingCurves(ensemble.history_).best_epochs() == [
        state.best_epoch for state in ensemble.net_.member_states_
    ]


def test_the_best_epochs_have_the_best_score_if_one_was_recorded():
    clf = NeuralClassifier(hidden_layer_sizes=8, ensemble_size=3, max_iter=15, scoring=None, random_state=0)
    clf.fit(*load_iris(return_X_y=True))

    assert TrainingCurves(clf.history_).best_epochs() == [state.best_epoch for state in clf.net_.member_states_]


def test_the_best_epoch_after_a_warm_start_is_among_the_last_fit():
    records = of_losses(0.1, 0.9, 0.5, 0.7)

    assert TrainingCurves(records).best_epochs() == [1]
    assert TrainingCurves(records).best_epochs(n_iter=3) == [3]


@pytest.mark.parametrize("losses", [(None, None), (np.nan, np.inf)])
def test_there_is_no_best_epoch_without_validation(losses):
    assert TrainingCurves(of_losses(*losses)).best_epochs() == [None]


def test_there_is_no_best_epoch_if_no_validation_was_recorded():
    assert TrainingCurves([{"train_loss": 1.0}]).best_epochs() == [None]


def test_a_mean_leaves_out_a_member_that_diverged():
    curve = TrainingCurves(of_members((4, 2), (np.inf, 1), (np.inf, 0.5))).curve("train_loss")

    np.testing.assert_array_equal(curve.mean, [3, 1, 0.5])
    np.testing.assert_array_equal(curve.members[:, 0], [4, np.nan, np.nan])


def test_a_missing_value_is_nan():
    records = [{"train_loss": 3.0, "norm": 1.0}, {"train_loss": 2.0}]

    np.testing.assert_array_equal(TrainingCurves(records).curve("norm").mean, [1.0, np.nan])


def test_records_from_a_frame_give_the_same_curves():
    clf = NeuralClassifier(hidden_layer_sizes=8, ensemble_size=2, max_iter=3, random_state=0)
    clf.fit(*load_iris(return_X_y=True)).partial_fit(*load_iris(return_X_y=True))
    curves, again = map(TrainingCurves, (clf.history_, pd.DataFrame(clf.history_).to_dict("records")))

    for name in ("train_loss", "valid_loss", "learning_rate"):
        np.testing.assert_array_equal(again.curve(name).mean, curves.curve(name).mean)
        np.testing.assert_array_equal(again.curve(name).members, curves.curve(name).members)


def test_missing_members_are_nan():
    members = TrainingCurves(of_members((4, 2, 1), (3,), (2, None, 0.5))).curve("train_loss").members

    np.testing.assert_array_equal(members, [[4, 2, 1], [3, np.nan, np.nan], [2, np.nan, 0.5]])


def test_the_mean_of_a_kind_keeps_the_last_values_of_members_that_stopped():
    curves = TrainingCurves(of_members((4, 2, 1), (3, 1, 7), (3, 0.5, np.inf)), kinds=["a", "b", "a"])

    a, b = curves.kinds
    np.testing.assert_array_equal(curves.mean_of("train_loss", a.members), [2.5, 5, 3])
    np.testing.assert_array_equal(curves.mean_of("train_loss", b.members), [2, 1, 0.5])
    np.testing.assert_array_equal(curves.mean_of("seconds", b.members), [np.nan] * 3)


def test_the_means_of_kinds_average_to_the_mean_of_all():
    clf = NeuralClassifier(hidden_layer_sizes=8, ensemble_size=3, max_iter=5, random_state=0)
    clf.fit(*load_iris(return_X_y=True))
    curves = TrainingCurves(clf.history_, clf.module_.kinds, clf.member_weights_)

    means = [len(kind.members) / 3 * curves.mean_of("valid_loss", kind.members) for kind in curves.kinds]
    np.testing.assert_allclose(sum(means), curves.curve("valid_loss").mean)
    assert [kind.weight for kind in curves.kinds] == [sum(clf.member_weights_[:2]), clf.member_weights_[2]]


def test_members_that_are_alike_have_no_kinds():
    records = of_members((4, 2), (3, 1))

    assert TrainingCurves(records).kinds == []
    assert TrainingCurves(records, ["plain", "plain"]).kinds == []
    with pytest.raises(ValueError, match="kinds has 3 entries, but the records are of 2 members"):
        TrainingCurves(records, ["a", "b", "b"])


def test_a_panel_holds_the_curves_of_training_and_validation():
    more = {"train_roc_auc": 0.5, "valid_roc_auc": 0.5, "learning_rate": 0.1, "event_cp": True, "train_loss_best": True}

    assert TrainingCurves(of_losses(1.0, **more)).panels() == {
        "loss": ["train_loss", "valid_loss"],
        "roc_auc": ["train_roc_auc", "valid_roc_auc"],
        "learning_rate": ["learning_rate"],
    }


def test_the_main_panels_leave_out_gap_and_speed():
    records = of_losses(1.0, seconds=1.0, rows_per_second=9.0, gap=1.2, learning_rate=0.1, gradient_norm=2.0)

    assert TrainingCurves(records).main_panels() == ["loss", "learning_rate", "gradient_norm"]


def test_diagnoses_are_runs_of_epochs():
    diagnosis = [None, "overfitting", "overfitting", None, "overfitting", "divergence"]
    records = [record | {"diagnosis": each} for record, each in zip(of_losses(*[1.0] * 6), diagnosis, strict=True)]

    runs = [("overfitting", 2, 3), ("overfitting", 5, 5), ("divergence", 6, 6)]
    assert TrainingCurves(records).diagnoses() == runs


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "records hold no 'train_loss', they are empty. Pass the history_"),
        ([{"loss": 1.0, "step": 2}], "records hold no 'train_loss', only loss, step. Pass the history_"),
    ],
)
def test_records_without_a_training_are_refused(records, message):
    with pytest.raises(ValueError, match=message):
        TrainingCurves(records)


@given(st.lists(RECORD, max_size=5), st.floats())
def test_arbitrary_records_give_a_finite_or_missing_value_for_each_epoch(records, loss):
    curves = TrainingCurves([*records, {"train_loss": loss}])

    for names in curves.panels().values():
        for name in names:
            curve = curves.curve(name)
            assert curve.mean.shape == curves.epochs.shape == (len(records) + 1,)
            assert not np.isinf(curve.mean).any()
            assert not np.isinf(curve.members).any()
    assert len(curves.best_epochs()) == curves.n_members
    assert all(isinstance(first, int | float) for _, first, _ in curves.diagnoses())

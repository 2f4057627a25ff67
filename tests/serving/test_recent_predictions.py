"""The last predictions and their labels: ids, what is forgotten, and scores against scikit-learn's."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, root_mean_squared_error

from sknn.serving import recent_predictions
from sknn.serving.recent_predictions import RecentPredictions
from sknn.serving.served_model import Predictions

CLASSES = ["no", "yes"]


def classifier(window=60.0, clock=lambda: 0.0, classes=CLASSES, task="binary"):
    return RecentPredictions(SimpleNamespace(classes=classes, task=task), window, clock)


def predicted(*probabilities):
    p = np.array([[1 - p, p] for p in probabilities], dtype=np.float32)
    return Predictions(np.array(CLASSES)[p.argmax(axis=1)], p, None, None, {})


def values(*numbers):
    return Predictions(np.array(numbers, dtype=np.float32), None, None, None, {})


def test_ids_are_new_and_differ_between_models():
    recent = classifier()
    ids = recent.add(predicted(0.1, 0.2)) + recent.add(predicted(0.3))
    assert len(set(ids)) == 3
    assert classifier().add_label(ids[0], "yes") == "unknown or too old"


def test_scores_are_those_of_scikit_learn():
    p = np.random.default_rng(0).random(200).astype(np.float32)
    true = np.random.default_rng(1).integers(0, 2, 200)
    recent = classifier()
    for prediction_id, label in zip(recent.add(predicted(*p)), true, strict=True):
        assert recent.add_label(prediction_id, CLASSES[label]) is None
    scores = recent.scores()
    assert scores["accuracy"] == accuracy_score(true, p > 0.5)
    assert scores["log_loss"] == pytest.approx(log_loss(true, p.astype(float)), rel=1e-6)
    assert (recent.n_labels, recent.n_correct) == (200, int((true == (p > 0.5)).sum()))


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy():
    """All are 90 % sure, and half are right: the error is 0.4."""
    recent = classifier()
    for j, prediction_id in enumerate(recent.add(predicted(*[0.9] * 10))):
        recent.add_label(prediction_id, CLASSES[j % 2])
    assert recent.scores()["calibration_error"] == pytest.approx(0.4, abs=1e-6)


def test_scores_of_values():
    recent = classifier(classes=None)
    for prediction_id, true in zip(recent.add(values(1, 2, 3)), [1, 4, 2], strict=True):
        recent.add_label(prediction_id, true)
    scores = recent.scores()
    assert scores["mean_absolute_error"] == mean_absolute_error([1, 4, 2], [1, 2, 3])
    assert scores["root_mean_squared_error"] == pytest.approx(root_mean_squared_error([1, 4, 2], [1, 2, 3]))


def test_several_outputs_need_as_many_values():
    recent = classifier(classes=None)
    (prediction_id,) = recent.add(Predictions(np.array([[1.0, 2.0]]), None, None, None, {}))
    with pytest.raises(ValueError, match="is not a list of 2 finite numbers"):
        recent.add_label(prediction_id, 1.0)
    assert recent.add_label(prediction_id, [1.0, 4.0]) is None
    assert recent.scores()["mean_absolute_error"] == 1.0


def test_a_label_counts_once():
    recent = classifier()
    (prediction_id,) = recent.add(predicted(0.9))
    assert recent.add_label(prediction_id, "yes") is None
    assert recent.add_label(prediction_id, "no") == "labelled already"
    assert recent.n_labels == 1


def test_labels_leave_the_window():
    seconds = [0.0]
    recent = classifier(window=60.0, clock=lambda: seconds[0])
    ids = recent.add(predicted(0.9, 0.9))
    recent.add_label(ids[0], "no")
    seconds[0] = 50.0
    recent.add_label(ids[1], "yes")
    assert recent.scores()["accuracy"] == 0.5
    seconds[0] = 70.0
    assert recent.scores()["accuracy"] == 1.0
    seconds[0] = 200.0
    assert recent.scores() == {}


@pytest.mark.parametrize("batches", [[3] * 10, [25], [1] * 23, [7, 9, 30, 1], [10], [11]])
def test_the_oldest_are_forgotten(batches, monkeypatch):
    monkeypatch.setattr(recent_predictions, "MAX_PREDICTIONS", 10)
    recent, ids, sure = classifier(), [], []
    for n in batches:
        p = np.linspace(0.55, 0.95, n) if n > 1 else np.array([0.8])
        ids += recent.add(predicted(*p))
        sure += p.tolist()
    kept = len(ids) - 10
    for number, prediction_id in enumerate(ids):
        reason = recent.add_label(prediction_id, "yes")
        assert reason == (None if number >= kept else "unknown or too old"), number
    expected = -np.log(sure[max(kept, 0) :]).mean()
    assert recent.scores()["log_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "prediction_id",
    ["", "x", "-", "-1", "{prefix}-", "{prefix}--1", "{prefix}-x", "{prefix}-9", "{prefix}-²", "{prefix}-" + "9" * 30],
)
def test_ids_that_were_never_given_are_unknown(prediction_id):
    recent = classifier()
    prefix = recent.add(predicted(0.9))[0].partition("-")[0]
    assert recent.add_label(prediction_id.format(prefix=prefix), "yes") == "unknown or too old"


@pytest.mark.parametrize("label", ["maybe", 1, None, ["yes"], {}])
def test_a_label_that_is_no_class_is_refused(label):
    with pytest.raises(ValueError, match=r"is no class of the model; its classes are \['no', 'yes'\]"):
        classifier().check_label(label)


@pytest.mark.parametrize("label", ["1", True, None, float("nan"), float("inf"), 10**400, [1, 2]])
def test_a_label_that_is_no_number_is_refused(label):
    with pytest.raises(ValueError, match="is not a finite number"):
        classifier(classes=None).check_label(label)


def test_classes_that_are_numbers_are_found():
    recent = classifier(classes=["0", "1"])
    ids = recent.add(predicted(0.9, 0.9, 0.9))
    assert [recent.add_label(ids[j], label) for j, label in enumerate([1, "1", 1.0])] == [None, None, None]
    assert recent.n_correct == 3


def test_several_labels_of_a_row_are_refused():
    with pytest.raises(ValueError, match="several labels to a row"):
        classifier(task="multilabel").check_label("yes")

"""Scores and errors of predictions, compared with scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    log_loss,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

from sknn.cli.scores import (
    classification_scores,
    confusion_counts,
    encode_labels,
    regression_scores,
    residual_quantiles,
)

rng = np.random.default_rng(0)


def labels_and_probabilities(classes, n=200):
    p = rng.dirichlet(np.ones(len(classes)), n)
    return rng.choice(classes, n), np.asarray(classes)[p.argmax(1)], p


@pytest.mark.parametrize("classes", [["no", "yes"], [0, 1], ["a", "b", "c"]])
def test_the_scores_of_a_classifier(classes):
    y, predicted, p = labels_and_probabilities(classes)
    scores = classification_scores(encode_labels(y, classes), encode_labels(predicted, classes), p)

    assert scores["accuracy"] == pytest.approx(accuracy_score(y, predicted))
    assert scores["balanced accuracy"] == pytest.approx(balanced_accuracy_score(y, predicted))
    assert scores["log loss"] == pytest.approx(log_loss(y, p, labels=classes))
    assert scores.get("ROC AUC") == (
        pytest.approx(roc_auc_score(y == classes[1], p[:, 1])) if len(classes) == 2 else None
    )


def test_an_unknown_class_is_an_error_in_the_accuracies_and_left_out_elsewhere():
    y, predicted, p = labels_and_probabilities(["a", "b"])
    y = np.where(np.arange(200) % 5 == 0, "new", y)
    is_known = y != "new"
    labels, codes = encode_labels(y, ["a", "b"]), encode_labels(predicted, ["a", "b"])
    scores = classification_scores(labels, codes, p)

    assert scores["accuracy"] == pytest.approx(accuracy_score(y, predicted))
    assert scores["balanced accuracy"] == pytest.approx(balanced_accuracy_score(y, predicted))
    assert scores["log loss"] == pytest.approx(log_loss(y[is_known], p[is_known]))
    np.testing.assert_array_equal(confusion_counts(labels, codes), confusion_matrix(y[is_known], predicted[is_known]))


def test_a_table_that_lacks_a_class_has_no_roc_auc():
    labels = encode_labels(["a", "a"], ["a", "b"])

    assert list(classification_scores(labels, labels, np.full((2, 2), 0.5))) == [
        "accuracy",
        "balanced accuracy",
        "log loss",
    ]


@pytest.mark.parametrize(
    ("values", "classes"), [([True, False], [0, 1]), ([1.0, 0.0], [0, 1]), (np.array([1, 0]), [False, True])]
)
def test_labels_are_compared_by_their_value(values, classes):
    assert encode_labels(values, classes).codes.tolist() == [1, 0]


def test_the_scores_of_a_regressor():
    y, predicted = rng.normal(size=50), rng.normal(size=50)
    scores = regression_scores(y, predicted)

    assert scores["R2"] == pytest.approx(r2_score(y, predicted))
    assert scores["RMSE"] == pytest.approx(root_mean_squared_error(y, predicted))
    assert list(regression_scores(np.ones(3), predicted[:3])) == ["MAE", "RMSE"]


def test_a_prediction_that_is_too_large_has_a_negative_residual():
    assert residual_quantiles(np.zeros(3), np.array([1.0, 1.0, 1.0]))["median"] == -1

"""A single class, classes without weight, and class weights."""

import pickle
import re

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingGridSearchCV, KFold, cross_validate, learning_curve
from sklearn.neural_network import MLPClassifier
from skorch.callbacks import EpochScoring

from sknn import NeuralClassifier, OnnxPredictor, from_sklearn, load, model_selection, save
from sknn.export import to_onnx, to_torch_program
from sknn.inspection import NetworkDisplay, TrainingCurveDisplay, summary
from tests.common import ALIKE

SMALL = dict(hidden_layer_sizes=(8,), ensemble_size=2, max_iter=5, random_state=0, n_threads=1)
rng = np.random.default_rng(0)
X = rng.normal(size=(60, 3))
LABELS = np.where(X[:, 0] > 0.5, "c", np.where(X[:, 1] > 0, "b", "a"))


class TwoLayers(torch.nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(in_features, 4), torch.nn.ReLU(), torch.nn.Linear(4, out_features)
        )

    def forward(self, x):
        return self.layers(x)


# --- One class ----------------------------------------------------------------------------------------------------

CONFIGURATIONS = {
    "defaults": {},
    "lbfgs": dict(solver="lbfgs"),
    "sgd": dict(solver="sgd", learning_rate="one_cycle"),
    "no early stopping": dict(early_stopping=False),
    "smoothing": dict(label_smoothing=0.3),
    "batch norm": dict(batch_norm=True),
    "one member": dict(ensemble_size=1),
    "linear": dict(hidden_layer_sizes=()),
    "module": dict(module=TwoLayers),
    "balanced": dict(class_weight="balanced"),
    "default score": dict(scoring=None),
    "metrics": dict(metrics=["accuracy", "log_loss", "gradient_norm", "balanced_accuracy"]),
    "callback": dict(callbacks=[EpochScoring("accuracy")]),
    "callable loss": dict(loss=lambda z, y: (z - y).square()),
}


@pytest.mark.parametrize("label", ["yes", 3, True, 2.0], ids=repr)
def test_a_single_class_has_probability_one(label):
    y = np.full(60, label)
    clf = NeuralClassifier(**SMALL).fit(X, y)
    forest = RandomForestClassifier(3).fit(X, y)  # its probabilities also have a column for each class
    assert clf.classes_.tolist() == forest.classes_.tolist() == [label]
    assert clf.classes_.dtype == forest.classes_.dtype
    for method in ("predict", "predict_proba", "predict_log_proba"):
        np.testing.assert_array_equal(getattr(clf, method)(X), getattr(forest, method)(X))
    assert clf.score(X, y) == 1
    assert (clf.n_outputs_, clf.out_activation_) == (1, "softmax")


@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label was found")
def test_every_configuration_fits_a_single_class(name):
    clf = NeuralClassifier(**SMALL | CONFIGURATIONS[name]).fit(X, ["yes"] * 60)
    assert set(clf.predict(X)) == {"yes"}
    np.testing.assert_array_equal(clf.predict_proba(X), np.ones((60, 1)))
    assert all(record["diagnosis"] is None for record in clf.history_)
    if name == "lbfgs":  # the gradient is 0
        assert clf.n_iter_ == 0
    elif name != "callable loss":
        assert clf.loss_ == 0


def test_metrics_are_computed_for_a_single_class():
    metrics = ["accuracy", "log_loss", "roc_auc"]
    clf = NeuralClassifier(**SMALL, metrics=metrics).fit(X, ["yes"] * 60)
    last = clf.history_[-1]
    assert last["train_accuracy"] == last["valid_accuracy"] == 1
    assert last["train_log_loss"] == pytest.approx(0, abs=1e-6)
    assert np.isnan(last["train_roc_auc"])
    encoded = clf.net_.predict_proba(np.zeros((4, 3), dtype=np.float32))
    np.testing.assert_array_equal(encoded, np.ones((4, 1)))


@pytest.mark.parametrize("parameters", [{}, {"module": TwoLayers}], ids=["built in", "module"])
def test_a_model_of_a_single_class_is_saved_pickled_and_exported(parameters, tmp_path):
    clf = NeuralClassifier(**SMALL | parameters).fit(X, ["yes"] * 60)
    save(clf, tmp_path / "clf.sknn")
    restored = load(tmp_path / "clf.sknn", **parameters)
    for copied in (restored, pickle.loads(pickle.dumps(clf))):
        assert copied.classes_.tolist() == ["yes"]
        np.testing.assert_array_equal(copied.predict_proba(X), np.ones((60, 1)))
    onnx = OnnxPredictor(to_onnx(clf, X).SerializeToString())
    assert onnx.classes_.tolist() == ["yes"]
    assert set(onnx.predict(X)) == {"yes"}
    np.testing.assert_array_equal(onnx.predict_proba(X), np.ones((60, 1)))
    program = to_torch_program(clf, X)
    np.testing.assert_array_equal(program.module()(torch.from_numpy(X)).numpy(), np.ones((60, 1)))


def test_a_model_of_a_single_class_is_displayed():
    clf = NeuralClassifier(**SMALL).fit(X, ["yes"] * 60)
    assert "softmax" in str(summary(clf))
    assert "sknn-training" in clf._repr_html_()
    TrainingCurveDisplay.from_estimator(clf)
    NetworkDisplay.from_estimator(clf)


def test_training_with_a_single_class_can_be_resumed():
    clf = NeuralClassifier(**SMALL)
    for _ in range(3):
        clf.partial_fit(X, ["yes"] * 60, classes=["yes"])
    assert set(clf.predict(X)) == {"yes"}
    with pytest.raises(ValueError, match=r"`y` has classes not in `self.classes_`: \['no'\]"):
        clf.partial_fit(X, ["no"] * 60)
    warm = NeuralClassifier(**SMALL, warm_start=True).fit(X, ["yes"] * 60).fit(X, ["yes"] * 60)
    np.testing.assert_array_equal(warm.predict_proba(X), np.ones((60, 1)))


def test_folds_of_a_single_class_have_scores():
    """Rows are sorted by class: the first subsets of a learning curve, and whole folds, have a single class."""
    y = np.repeat(["no", "yes"], 30)
    order = np.argsort(X[:, 0])
    clf, rows = NeuralClassifier(**SMALL), X[order]
    for batched_fits in (None, model_selection.batched_fits):
        with batched_fits() if batched_fits else np.errstate():
            folds = KFold(2, shuffle=True, random_state=0)
            sizes, train, test = learning_curve(clf, rows, y, cv=folds, train_sizes=[2, 3, 9, 30])
        assert sizes.tolist() == [2, 3, 9, 30]
        assert np.isfinite(train).all()
        assert np.isfinite(test).all()
        scores = cross_validate(clf, rows, y, cv=KFold(2), return_train_score=True)
        assert scores["test_score"].tolist() == [0, 0]
        assert scores["train_score"].tolist() == [1, 1]
    grid = {"learning_rate_init": [0.001, 0.01], "alpha": [0.0, 0.1]}
    halving = HalvingGridSearchCV(clf, grid, min_resources=4, cv=KFold(2), random_state=0).fit(rows, y)
    assert np.isfinite(halving.cv_results_["mean_test_score"]).all()
    joint = model_selection.HalvingGridSearchCV(clf, grid, min_resources=4, cv=KFold(2), random_state=0).fit(rows, y)
    np.testing.assert_array_equal(joint.cv_results_["mean_test_score"], halving.cv_results_["mean_test_score"])


def test_from_sklearn_converts_an_mlp_of_a_single_class():
    mlp = MLPClassifier((8,), max_iter=300, random_state=0, tol=1e-2).fit(X, ["yes"] * 60)
    est = from_sklearn(mlp)
    assert est.predict(X).tolist() == mlp.predict(X).tolist()
    np.testing.assert_array_equal(est.predict_proba(X), np.ones((60, 1)))  # the MLP's probabilities are below 1


# --- Classes whose rows have no weight ----------------------------------------------------------------------------


@pytest.mark.parametrize("class_weight", [None, "balanced", {"a": 2.0, "b": 1.0, "c": 0.5}], ids=str)
def test_a_class_whose_rows_all_have_weight_0_is_not_predicted(class_weight):
    clf = NeuralClassifier(**SMALL | ALIKE | dict(max_iter=30, class_weight=class_weight, learning_rate_init=0.02))
    clf.fit(X, LABELS, sample_weight=(LABELS != "c").astype(float))
    forest = RandomForestClassifier(5).fit(X, LABELS, sample_weight=(LABELS != "c").astype(float))
    assert clf.classes_.tolist() == forest.classes_.tolist() == ["a", "b", "c"]
    p = clf.predict_proba(X)
    assert p.shape == (60, 3)
    assert p[:, 2].max() < 0.3
    assert set(clf.predict(X)) == set(forest.predict(X)) == {"a", "b"}


def test_rows_of_weight_0_do_not_change_predictions():
    y, weight = np.repeat(["a", "b"], 30), np.r_[np.full(60, 1.5), np.zeros(60)]
    for class_weight in (None, "balanced"):
        clf = NeuralClassifier(**SMALL, class_weight=class_weight)
        expected = clf.fit(X, y, sample_weight=weight[:60]).predict_proba(X)
        clf.fit(np.vstack([X, 9 + X]), np.r_[y, y[::-1]], sample_weight=weight)
        np.testing.assert_array_equal(clf.predict_proba(X), expected)


def test_with_weight_on_one_of_two_classes_only_that_one_is_predicted():
    y = np.repeat(["no", "yes"], 30)
    clf = NeuralClassifier(**SMALL | dict(max_iter=30, learning_rate_init=0.02))
    clf.fit(X, y, sample_weight=(y == "yes").astype(float))
    assert clf.classes_.tolist() == ["no", "yes"]
    assert (clf.predict_proba(X)[:, 1] > 0.7).all()


# --- Weights of classes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("y", [LABELS == "a", LABELS], ids=["two classes", "three classes"])
def test_a_list_of_class_weights_is_refused_without_several_labels(y):
    message = "class_weight=[{0: 1, 1: 2}] is a list, which goes with several columns of labels; give one dict of"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        NeuralClassifier(**SMALL, class_weight=[{0: 1, 1: 2}]).fit(X, y)


def test_several_labels_need_a_list_of_class_weights():
    y = np.column_stack([LABELS == "a", LABELS == "b"]).astype(int)
    NeuralClassifier(**SMALL, class_weight=[{0: 1, 1: 2}, {0: 1, 1: 3}]).fit(X, y)
    with pytest.raises(ValueError, match="class_weight should be a list of dicts"):
        NeuralClassifier(**SMALL, class_weight={0: 1, 1: 2}).fit(X, y)


def test_class_weight_may_name_absent_classes_if_it_names_all_that_occur():
    weights = {"a": 1.0, "b": 2.0, "c": 3.0}
    for rows in (LABELS != "c", LABELS == "a"):  # as in a fold
        clf = NeuralClassifier(**SMALL, class_weight=weights).fit(X[rows], LABELS[rows])
        assert clf.classes_.tolist() == sorted(set(LABELS[rows]))
    with pytest.raises(ValueError, match="must give weights of 0 or more, not all 0, to labels of y, which are"):
        NeuralClassifier(**SMALL, class_weight={"a": 1.0, "b": 1.0, "x": 3.0}).fit(X, LABELS)
    NeuralClassifier(**SMALL, class_weight={"a": 2.0}).fit(X, LABELS)

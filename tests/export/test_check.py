"""The comparison of a graph's outputs with a model's, for outputs with known errors."""

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from sknn import NeuralRegressor
from sknn.export import to_onnx
from sknn.export.check import MAX_ROWS, _compare_labels, _compare_values, find_difference, rows_to_check
from sknn.export.onnx import conversion

X = np.random.default_rng(0).normal(size=(50, 2))
CLF = LogisticRegression().fit(X, np.digitize(X[:, 0], [-0.4, 0.4]))
REG = LinearRegression().fit(X, X @ [[1.0, 100.0], [2.0, 100.0]])


def test_equal_outputs_do_not_differ():
    assert find_difference(CLF, X, [CLF.predict(X), CLF.predict_proba(X).astype(np.float32)]) is None
    assert find_difference(REG, X, [REG.predict(X).astype(np.float32)]) is None


def test_a_wrong_probability_is_reported_with_its_row_and_column():
    p = CLF.predict_proba(X)
    p[7, 1] += 1e-4

    assert find_difference(CLF, X, [CLF.predict(X), p]).startswith("predict_proba gives 0.")
    assert "in row 7, column 1 of the checked ones" in find_difference(CLF, X, [CLF.predict(X), p])


@pytest.mark.parametrize(("factor", "differs"), [(1 + 0.5e-5, False), (1 + 5e-5, True)])
def test_values_may_differ_in_proportion_to_their_size(factor, differs):
    assert (find_difference(REG, X, [REG.predict(X) * factor]) is not None) == differs


def test_the_tolerance_depends_on_the_size_of_the_column():
    values = REG.predict(X)
    values[0, 0] += 1e-4 * np.abs(values[:, 1]).mean()  # small compared with the second column

    assert "column 0" in find_difference(REG, X, [values])


def test_a_probability_too_small_for_float32_may_be_0_in_the_graph():
    sure = LogisticRegression().fit([[-1.0], [0.0], [1.0]], [0, 1, 2])
    rows = np.array([[400.0]])
    p = sure.predict_proba(rows)
    assert 0 < p[0, 0] < 1e-60

    assert find_difference(sure, rows, [sure.predict(rows), p.astype(np.float32)]) is None
    wrong = p.astype(np.float32) + np.float32([[1e-4, 0.0, 0.0]])
    assert find_difference(sure, rows, [sure.predict(rows), wrong]) is not None


def test_a_wrong_label_is_reported_unless_its_probability_is_close():
    labels = CLF.predict(X)
    labels[3] = (labels[3] + 1) % 3
    difference = find_difference(CLF, X, [labels, CLF.predict_proba(X)])
    even = DummyClassifier(strategy="prior").fit(X, np.arange(50) % 2)

    assert difference.startswith("predict gives ")
    assert "in row 3 of the checked ones" in difference
    assert find_difference(even, X, [1 - even.predict(X), even.predict_proba(X)]) is None


def test_only_labels_are_compared_if_there_are_no_probabilities():
    ridge = RidgeClassifier().fit(X, np.array(["a", "b"])[(X[:, 0] > 0).astype(int)])

    assert find_difference(ridge, X, [ridge.predict(X)]) is None
    assert find_difference(ridge, X, [np.full(50, "a")]).startswith("predict gives b in row ")


def test_arrays_of_another_size_differ():
    difference = find_difference(REG, X, [REG.predict(X)[:, :1]])

    assert difference == "predict gives an array of shape (50, 2), and the graph one of shape (50, 1)."


def test_nan_equals_only_nan():
    ordinal = OrdinalEncoder().fit(np.array([[1.0], [np.nan], [3.0]]))
    rows = np.array([[1.0], [np.nan]])

    assert find_difference(ordinal, rows, [np.array([[0.0], [np.nan]])]) is None
    assert find_difference(ordinal, rows, [np.array([[0.0], [2.0]])]) is not None
    assert find_difference(DummyRegressor().fit(X, np.ones(50)), X, [np.full((50, 1), np.nan)]) is not None


@pytest.mark.parametrize(
    ("expected", "actual", "differs"),
    [(np.inf, 3.0, True), (np.inf, np.inf, False), (np.inf, -np.inf, True), (3.0, np.inf, True), (np.nan, 3.0, True)],
)
def test_an_infinity_does_not_increase_the_tolerance(expected, actual, differs):
    numbers = [np.array([[value], [1.0]]) for value in (expected, actual)]

    assert (_compare_values("predict", *numbers, 1e-5) is not None) == differs


def test_an_overflowed_label_is_reported():
    labels, actual = np.array([1, 2**63 + 5], dtype=np.uint64), np.array([1, 5 - 2**63])

    assert _compare_labels(labels, actual, np.ones(2, bool)).startswith("predict gives 9223372036854775813 in row 1")


def test_sparse_and_textual_outputs_of_steps_are_compared_too():
    words = pd.DataFrame({"w": ["a", "b", "a"]})
    one_hot = OneHotEncoder().fit(words)

    assert find_difference(one_hot, words, [np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)]) is None
    assert find_difference(one_hot, words, [np.zeros((3, 2))]) is not None


def test_rows_to_check_are_spread_over_the_sample():
    rows = rows_to_check(np.arange(10_000)[:, None])[:, 0]

    assert (len(rows), rows[0], rows[-1]) == (MAX_ROWS, 0, 9999)
    assert len(rows_to_check(X)) == 50


def test_a_wrong_graph_of_our_estimators_is_refused(monkeypatch):
    reg = NeuralRegressor(hidden_layer_sizes=(4,), max_iter=1, ensemble_size=1, random_state=0).fit(X, X[:, 0])
    run_graph = conversion.run_graph
    monkeypatch.setattr(conversion, "run_graph", lambda *arguments: [run_graph(*arguments)[0] + 1])

    with pytest.raises(ValueError, match="The ONNX graph does not do what the NeuralRegressor does: predict gives "):
        to_onnx(reg, X)

"""The comparison of a graph's outputs with a model's, against outputs that are wrong in a known way."""

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from sknn import NeuralRegressor
from sknn.export import to_onnx
from sknn.export.check import ROWS, _labels_differ, _numbers_differ, differences, some_rows
from sknn.export.onnx import conversion

X = np.random.default_rng(0).normal(size=(50, 2))
CLF = LogisticRegression().fit(X, np.digitize(X[:, 0], [-0.4, 0.4]))
REG = LinearRegression().fit(X, X @ [[1.0, 100.0], [2.0, 100.0]])


def test_equal_outputs_do_not_differ():
    assert differences(CLF, X, [CLF.predict(X), CLF.predict_proba(X).astype(np.float32)]) is None
    assert differences(REG, X, [REG.predict(X).astype(np.float32)]) is None


def test_a_probability_that_is_off_is_told_with_its_place():
    p = CLF.predict_proba(X)
    p[7, 1] += 1e-4

    assert differences(CLF, X, [CLF.predict(X), p]).startswith("predict_proba gives 0.")
    assert "in row 7, column 1 of the checked ones" in differences(CLF, X, [CLF.predict(X), p])


@pytest.mark.parametrize(("factor", "differs"), [(1 + 0.5e-5, False), (1 + 5e-5, True)])
def test_values_may_differ_by_a_share_of_their_size(factor, differs):
    assert (differences(REG, X, [REG.predict(X) * factor]) is not None) == differs


def test_each_column_has_a_size_of_its_own():
    values = REG.predict(X)
    values[0, 0] += 1e-4 * np.abs(values[:, 1]).mean()  # little beside the second column

    assert "column 0" in differences(REG, X, [values])


def test_a_probability_too_small_for_float32_may_be_0_in_the_graph():
    sure = LogisticRegression().fit([[-1.0], [0.0], [1.0]], [0, 1, 2])
    rows = np.array([[400.0]])
    p = sure.predict_proba(rows)
    assert 0 < p[0, 0] < 1e-60

    assert differences(sure, rows, [sure.predict(rows), p.astype(np.float32)]) is None
    assert (
        differences(sure, rows, [sure.predict(rows), p.astype(np.float32) + np.float32([[1e-4, 0.0, 0.0]])]) is not None
    )


def test_a_wrong_label_is_told_unless_it_was_a_close_call():
    labels = CLF.predict(X)
    labels[3] = (labels[3] + 1) % 3
    told = differences(CLF, X, [labels, CLF.predict_proba(X)])
    even = DummyClassifier(strategy="prior").fit(X, np.arange(50) % 2)

    assert told.startswith("predict gives ")
    assert "in row 3 of the checked ones" in told
    assert differences(even, X, [1 - even.predict(X), even.predict_proba(X)]) is None


def test_labels_alone_are_compared_where_there_are_no_probabilities():
    ridge = RidgeClassifier().fit(X, np.array(["a", "b"])[(X[:, 0] > 0).astype(int)])

    assert differences(ridge, X, [ridge.predict(X)]) is None
    assert differences(ridge, X, [np.full(50, "a")]).startswith("predict gives b in row ")


def test_arrays_of_another_size_differ():
    told = differences(REG, X, [REG.predict(X)[:, :1]])

    assert told == "predict gives an array of shape (50, 2), and the graph one of shape (50, 1)."


def test_nan_equals_nan_only():
    ordinal = OrdinalEncoder().fit(np.array([[1.0], [np.nan], [3.0]]))
    rows = np.array([[1.0], [np.nan]])

    assert differences(ordinal, rows, [np.array([[0.0], [np.nan]])]) is None
    assert differences(ordinal, rows, [np.array([[0.0], [2.0]])]) is not None
    assert differences(DummyRegressor().fit(X, np.ones(50)), X, [np.full((50, 1), np.nan)]) is not None


@pytest.mark.parametrize(
    ("expected", "got", "differs"),
    [(np.inf, 3.0, True), (np.inf, np.inf, False), (np.inf, -np.inf, True), (3.0, np.inf, True), (np.nan, 3.0, True)],
)
def test_an_infinity_is_no_tolerance(expected, got, differs):
    numbers = [np.array([[value], [1.0]]) for value in (expected, got)]

    assert (_numbers_differ("predict", *numbers, 1e-5) is not None) == differs


def test_a_label_that_wrapped_is_told():
    labels, got = np.array([1, 2**63 + 5], dtype=np.uint64), np.array([1, 5 - 2**63])

    assert _labels_differ(labels, got, np.ones(2, bool)).startswith("predict gives 9223372036854775813 in row 1")


def test_sparse_and_textual_outputs_of_steps_are_compared_too():
    words = pd.DataFrame({"w": ["a", "b", "a"]})
    one_hot = OneHotEncoder().fit(words)

    assert differences(one_hot, words, [np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)]) is None
    assert differences(one_hot, words, [np.zeros((3, 2))]) is not None


def test_rows_to_check_are_spread_over_the_sample():
    rows = some_rows(np.arange(10_000)[:, None])[:, 0]

    assert (len(rows), rows[0], rows[-1]) == (ROWS, 0, 9999)
    assert len(some_rows(X)) == 50


def test_a_graph_of_ours_that_is_wrong_is_not_handed_out(monkeypatch):
    reg = NeuralRegressor(hidden_layer_sizes=(4,), max_iter=1, ensemble_size=1, random_state=0).fit(X, X[:, 0])
    run = conversion.run
    monkeypatch.setattr(conversion, "run", lambda *arguments: [run(*arguments)[0] + 1])

    with pytest.raises(ValueError, match="The ONNX graph does not do what the NeuralRegressor does: predict gives "):
        to_onnx(reg, X)

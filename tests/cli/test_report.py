"""What the commands print."""

import numpy as np
import pandas as pd
import pytest

import sknn
from sknn.cli.report import (
    column_lines,
    confusion_lines,
    describe_column,
    kinds_of_members,
    learning_curve_lines,
    score_lines,
)
from sknn.cli.scores import encode_labels
from tests.common import SMALL, TINY


@pytest.mark.parametrize(
    ("values", "kind", "text"),
    [
        ([1, 2.5], "number", "1 to 2.5"),
        ([1, None], "number", "1 to 1, 50 % missing"),
        ([1.0] * 999 + [None], "number", "1 to 1, a few missing"),
        ([None, None], "number", "100 % missing"),
        (["b", "a", "a"], "category", "2 levels: a, b"),
        (["a very long name of a level"], "category", "1 level: a very long name ..."),
        (list("abcdef"), "category", "6 levels: a, b, c, d, ..."),
        ([True, False], "number", "0 to 1"),
    ],
)
def test_a_column_is_described(values, kind, text):
    assert describe_column(pd.Series(values), kind) == (kind, text)


def test_a_wide_table_is_abbreviated():
    lines = column_lines({f"c{i}": ("number", "") for i in range(40)})

    assert lines[0] == "c0   number"
    assert lines[29:] == ["c29  number", "... and 10 more"]


def test_scores_stand_beside_each_other_without_those_that_a_model_lacks():
    scores = {"a": {"MAE": 1234.5678, "R2": 0.5}, "b": {"MAE": 0.00012345, "R2": -1.0, "RMSE": 2.0}}

    assert score_lines(scores) == [
        "         a          b",
        "R2   0.500     -1.000  higher is better",
        "MAE   1235  0.0001234   lower is better",
    ]


def test_the_confusion_matrix_of_few_classes():
    labels, predicted = (encode_labels(y, ["a", "b"]) for y in (["a", "a", "b"], ["a", "b", "b"]))

    assert confusion_lines(labels, predicted)[1:] == ["   a  b", "a  1  1", "b  0  1"]


def test_the_most_frequent_errors_of_many_classes():
    classes = [f"k{i}" for i in range(12)]
    labels = encode_labels(["k0"] * 3 + ["k1"] * 2 + ["k2"], classes)
    predicted = encode_labels(["k5"] * 3 + ["k1", "k6"] + ["k2"], classes)

    assert confusion_lines(labels, predicted) == [
        "the most frequent errors",
        "class  predicted  rows",
        "k0     k5            3",
        "k1     k6            1",
    ]


@pytest.mark.parametrize(
    ("params", "title"),
    [
        (SMALL, "loss after each epoch, mean of 2 networks (the best epoch is kept)"),
        (SMALL | {"ensemble_size": 1, "early_stopping": False}, "loss after each epoch"),
    ],
)
def test_the_learning_curve_has_a_title_and_a_label_for_each_curve(params, title):
    X = np.linspace(-1, 1, 60)[:, None]
    model = sknn.NeuralRegressor(**params).fit(X, X[:, 0])
    lines = learning_curve_lines(model)

    assert lines[0] == title
    assert any("training 0." in line for line in lines)
    assert any("validation 0." in line for line in lines) == ("best" in title)


@pytest.mark.parametrize("settings", [{}, {"batch_norm": "auto"}])
def test_the_kinds_of_members_are_listed_if_they_differ(settings):
    X = np.linspace(-1, 1, 60)[:, None]
    model = sknn.NeuralRegressor(**SMALL | settings).fit(X, X[:, 0])

    kinds = zip(model.module_.kinds, model.member_weights_, strict=True)
    expected = [f"{kind}: 1 member, weight {weight:.2f}" for kind, weight in kinds] if settings else []
    assert kinds_of_members(model) == expected


def test_a_single_epoch_has_no_curve():
    X = np.linspace(-1, 1, 60)[:, None]

    assert learning_curve_lines(sknn.NeuralRegressor(**TINY).fit(X, X[:, 0])) == []

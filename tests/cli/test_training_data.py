"""The task that a target decides, the test part, and warnings about columns."""

import datetime
import decimal
import warnings

import numpy as np
import pandas as pd
import pytest

from sknn.cli.training_data import choose_task, prepare_target, split_off_test_rows, warn_of_columns


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b"] * 10, "classification"),
        ([True, False] * 10, "classification"),
        ([0, 1, 2] * 10, "classification"),
        ([0.0, 1.0, np.nan] * 10, "classification"),
        (pd.Categorical([3, 4] * 10), "classification"),
        ([0.5, 1.5] * 10, "regression"),
        (range(20), "regression"),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], "regression"),
    ],
)
def test_the_values_of_a_target_decide_the_task(values, task):
    assert prepare_target(pd.Series(values, name="y"), None).task == task


def test_whole_numbers_beside_missing_ones_are_whole_classes():
    target = prepare_target(pd.Series([0.0, 1.0, np.nan] * 10, name="y"), None)

    assert target.values.unique().tolist() == [0, 1]
    assert target.values.dtype == np.int64
    assert target.is_known.tolist() == [True, True, False] * 10


def test_decimal_numbers_are_amounts():
    target = prepare_target(pd.Series([decimal.Decimal("1.5"), decimal.Decimal("2"), None] * 10, name="y"), None)

    assert (target.task, target.values.dtype) == ("regression", np.float64)


def test_a_few_texts_beside_numbers_are_an_error():
    with pytest.raises(ValueError, match="column 'y' holds numbers and 'n/k'; leave such cells empty, or give --task"):
        choose_task(pd.Series(["1.5"] * 20 + ["n/k"], name="y"))


@pytest.mark.parametrize(
    ("values", "task", "message"),
    [
        (["a"] * 9, None, "column 'y' has a value in 9 rows; a training needs 10 at least"),
        (["a"] * 20, None, "column 'y' has the same value, 'a', in every row"),
        (["a", "b"] * 10, "regression", "column 'y' holds 'a', which is not a number; use --task classification"),
        ([0.5, 1.5] * 10, "classification", "column 'y' holds 2 different numbers with fractions"),
        ([f"name {i}" for i in range(20)], None, "column 'y' has another value in every row; a class has to occur"),
        ([np.inf, 0.5] * 10, None, "column 'y' holds an infinite number; leave its cell empty"),
        (pd.date_range("2026", periods=20), None, "column 'y' holds dates; a target has to hold numbers or classes"),
        ([[1, 2]] * 20, None, "column 'y' holds lists or objects; a target has to hold"),
        ([datetime.date(2026, 1, 1)] * 20, None, "column 'y' holds dates; a target has to hold"),
    ],
)
def test_a_target_that_can_not_be_learnt_is_named(values, task, message):
    with pytest.raises(ValueError, match=message):
        prepare_target(pd.Series(values, name="y"), task)


def test_the_test_part_has_the_shares_of_the_classes_and_a_single_row_trains():
    target = prepare_target(pd.Series(["a"] * 80 + ["b"] * 20 + ["c"], name="y"), None)
    train, test = split_off_test_rows(target, 0.2, 0)

    assert sorted([*train, *test]) == list(range(101))
    assert target.values.iloc[test].value_counts().to_dict() == {"a": 16, "b": 4}


@pytest.mark.parametrize(
    ("labels", "n_test"),
    [
        (["a"] * 12 + ["b"] * 12, 4),
        ([f"c{i // 2}" for i in range(24)], 4),  # fewer test rows than classes
        (["a", "a", *(f"c{i}" for i in range(22))], 1),  # a single class of two rows
    ],
)
def test_the_test_part_of_few_rows(labels, n_test):
    train, test = split_off_test_rows(prepare_target(pd.Series(labels, name="y"), None), 0.15, 0)

    assert (len(train), len(test)) == (24 - n_test, n_test)
    assert sorted([*train, *test]) == list(range(24))


def test_without_a_test_part_every_row_trains():
    target = prepare_target(pd.Series(np.linspace(0, 1, 50), name="y"), None)
    train, test = split_off_test_rows(target, 0, 0)

    assert (len(train), len(test)) == (50, 0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1] * 20, "column 'x' has the same value in every row; leave it out: --drop 'x'"),
        ([np.nan] * 20, "column 'x' is empty; leave it out: --drop 'x'"),
        (range(7, 27), "column 'x' has another value in every row"),
        ([f"name {i}" for i in range(20)], "column 'x' has another value in every row"),
        (
            ["0,5", "1,5"] * 10,
            "column 'x' is a category, because it holds numbers such as '0,5'; write them with points",
        ),
        (["1"] * 19 + ["?"], r"column 'x' is a category, because it holds '\?' \(row 20\) beside numbers"),
    ],
)
def test_a_column_that_can_not_help_is_named(values, message):
    with pytest.warns(UserWarning, match=message):
        warn_of_columns(pd.DataFrame({"x": values}))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (pd.date_range("2026", periods=20), "dates"),
        (pd.to_timedelta(range(20), unit="h"), "durations"),
        ([None, [1, 2]] * 10, "lists or objects"),
        ([b"a", b"b"] * 10, "bytes"),
    ],
)
def test_a_column_of_another_type_is_refused(values, text):
    with pytest.raises(ValueError, match=f"column 'x' holds {text}, .* or leave it out: --drop 'x'"):
        warn_of_columns(pd.DataFrame({"x": values}))


def test_usual_columns_give_no_warning():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_columns(pd.DataFrame({"x": np.random.default_rng(0).normal(size=20), "code": ["007", "012"] * 10}))
    assert caught == []

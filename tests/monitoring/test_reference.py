"""The description of a table."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sknn.monitoring.cells import NumberCells, monitored_columns
from sknn.monitoring.reference import MAX_LEVELS, N_BINS, bin_edges, describe_table
from sknn.monitoring.tables import read_columns

FRAME = pd.DataFrame({"size": [1.0, 2.0, np.nan, 4.0], "city": ["Oslo", None, "Rome", "Rome"], "new": [True] * 4})

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 3).map(float)


def described(values, **kwargs):
    """Return the description of a single column."""
    (column,) = describe_table({"x": values}, **kwargs)["columns"]
    return column


# --- Bins ---------------------------------------------------------------------------------------------------------


def test_continuous_numbers_have_bins_of_equally_many_rows():
    column = described(np.random.default_rng(0).normal(size=1000))

    assert column["shares"] == [0.1] * 10


def test_a_value_that_holds_more_than_a_bin_has_a_bin_of_its_own():
    values = np.concatenate([np.zeros(500), np.random.default_rng(0).uniform(1, 2, size=500)])
    (column,) = monitored_columns(describe_table({"x": values})).values()

    assert column.cell_names[:3] == ["-inf..0", "0", "0..1"]
    assert column.shares.tolist() == [0, 0.5, 0, 0.1, 0.1, 0.1, 0.1, 0.1, 0]


def test_the_centres_of_bins_are_the_means_of_their_values():
    values = pd.Series(np.random.default_rng(0).normal(size=1000))
    expected = values.groupby(pd.qcut(values.rank(), 10)).mean()

    assert described(values)["centres"] == pytest.approx(expected.tolist(), abs=1e-12)


def test_whole_numbers_of_few_values_are_counted_one_by_one():
    values = np.repeat([1, 2, 3], [100, 200, 100])
    (column,) = monitored_columns(describe_table({"x": values})).values()
    shares = column.by_cell(column.shares)

    assert {name: share for name, share in shares.items() if share} == {"1": 0.25, "2": 0.5, "3": 0.25}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(NUMBERS, min_size=1, max_size=300))
def test_bins_are_few_and_none_holds_more_rows_than_a_bin_should_unless_it_is_a_value(values):
    values = np.array(values)
    edges = bin_edges(values)
    cells = NumberCells(edges)
    counts = dict(zip(cells.names, cells.count(values, "x").tolist(), strict=True))
    n_bins = min(N_BINS, max(2, len(values) // 20))

    assert len(edges) < 2 * n_bins <= 20
    assert sum(counts.values()) == len(values)
    assert len(set(cells.names)) == len(cells.names)
    for name, count in counts.items():
        if ".." in name:
            assert count <= 2 * np.ceil(len(values) / n_bins)


def test_missing_values_and_infinities():
    column = described([1.0, np.inf, -np.inf, np.nan, 3.0])

    assert (column["missing"], column["count"], column["deciles"][0], column["deciles"][-1]) == (0.2, 2, 1, 3)
    assert sum(column["shares"]) == pytest.approx(0.8)


def test_a_column_without_values():
    column = described([np.nan, np.nan])

    assert (column["edges"], column["shares"], column["missing"], column["deciles"]) == ([], [0.0], 1.0, None)


# --- Levels -------------------------------------------------------------------------------------------------------


def test_a_long_tail_of_levels_is_other():
    column = described([f"n{i}" for i in range(150)] + ["often"] * 50)

    assert (column["n_levels"], len(column["levels"])) == (151, MAX_LEVELS)
    assert column["levels"]["often"] == 0.25
    assert column["other"] == pytest.approx((151 - MAX_LEVELS) / 200)


def test_the_ways_to_write_a_number_are_one_level():
    column = described(np.array([1, 1.0, "1", None, "", "x"], dtype=object))

    assert column["levels"] == {"1": 0.5, "x": pytest.approx(1 / 6)}
    assert column["missing"] == pytest.approx(1 / 3)


# --- Tables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "table",
    [
        FRAME,
        FRAME.convert_dtypes(),
        FRAME.assign(city=FRAME["city"].astype("category")),
        pl.from_pandas(FRAME),
        pl.from_pandas(FRAME).with_columns(pl.col("city").cast(pl.Categorical)),
        pa.Table.from_pandas(FRAME),
        FRAME.to_dict("list"),
        {name: FRAME[name].to_numpy() for name in FRAME},
    ],
    ids=["pandas", "nullable", "category", "polars", "polars categorical", "pyarrow", "lists", "arrays"],
)
def test_tables_of_any_kind_are_described_alike(table):
    assert describe_table(table) == describe_table(FRAME)


def test_an_array_is_described_by_position():
    names_and_kinds = [(column["name"], column["kind"]) for column in describe_table(FRAME.to_numpy())["columns"]]

    assert names_and_kinds == [("x0", "number"), ("x1", "category"), ("x2", "number")]


def test_a_description_is_json():
    description = describe_table(FRAME, predictions=["yes", "no", "no", "no"], spread=[0.1, 0.2, 0.3, 0.4])

    assert json.loads(json.dumps(description, allow_nan=False)) == description


def test_predictions_and_spread_are_described():
    description = describe_table(FRAME, predictions=np.array([1, 0, 0, 0]), spread=np.array([0.1, 0.2, 0.3, 0.4]))

    assert [(d["name"], d["kind"], d.get("levels")) for d in description["predictions"]] == [
        ("prediction", "category", {"0": 0.75, "1": 0.25})
    ]
    assert [(d["name"], d["kind"]) for d in description["spread"]] == [("spread", "number")]


def test_images_have_no_columns():
    description = describe_table(np.zeros((5, 2, 2)), predictions=np.arange(5.0))

    assert (description["n_rows"], description["columns"]) == (5, [])
    assert read_columns(np.zeros((5, 2, 2))) == {}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a": []}, "The reference has no rows."),
        ({"a": [1, 2], "b": [1]}, r"The columns of the table have different lengths: \{'a': 2, 'b': 1\}."),
        ({"a": [[1, 2]]}, r"Column 'a' has the shape \(1, 2\); give one value for each row."),
        ({"a": np.array(["2020-01-01"], dtype="datetime64[D]")}, r"Column 'a' has the dtype datetime64\[D\]"),
        ({"a": np.array([{}], dtype=object)}, "Column 'a' holds values that can't be categories: unhashable"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "The table has several columns called 'a'; rename or drop"),
        (np.zeros(3), r"Give a table, with rows and columns; this is a ndarray of shape \(3,\)."),
    ],
    ids=["no rows", "lengths", "shape", "date", "unhashable", "duplicate", "one dimension"],
)
def test_wrong_tables_are_refused(table, message):
    with pytest.raises(ValueError, match=message):
        describe_table(table)

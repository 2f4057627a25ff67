"""Columns of extreme values: an export agrees with the model on new rows, or the error names the column."""

import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from sknn import NeuralClassifier, OnnxPredictor
from sknn.export import to_onnx

EXAMPLES = 120  # some seconds; thousands find nothing more
ROWS = 12
LARGEST, SMALLEST = np.finfo(np.float64).max, 5e-324
SMALL = {"hidden_layer_sizes": (4,), "max_iter": 3, "ensemble_size": 1, "random_state": 0, "early_stopping": False}
LABELS = [0, 1, 2] * (ROWS // 3)

EDGES = [2**31, 2**53, 2**53 + 1, 2**62, 2**62 + 1, 2**63, 2**63 + 2**11, 2**64 - 1, 10**30]
INTEGERS = st.sampled_from([0, 1, 3, *EDGES, *(-edge for edge in EDGES)])
FLOATS = st.sampled_from(
    [0.0, -0.0, 0.1, 1.5, 3.0, *map(float, EDGES), -(2.0**63), 1e100, 1e307, -1e307, LARGEST, -LARGEST, SMALLEST]
)
TEXTS = st.sampled_from(
    ["a", "b", "3", "3.0", "0.1", "1e5", "nan", "inf", "None", "True", " ", "é", "a\0", "\U0001f600"]
)
BROKEN = st.sampled_from(["a", "\ud800", "b\udfff"])
MISSING = st.sampled_from([None, np.nan, pd.NA])
OTHERS = st.sampled_from([True, False, b"a", (1, 2), 3 + 1j, np.float32(0.1), np.int8(3), pd.Timestamp("2026-01-01")])
INF = st.sampled_from([np.inf, 1.0, -np.inf])

COLUMNS = {  # dtype and values
    "float64": ("float64", FLOATS | st.just(np.nan)),
    "float32": ("float32", st.sampled_from([0.1, 3.0, 2.0**63, 3e38, np.nan])),
    "int64": ("int64", INTEGERS.filter(lambda i: -(2**63) <= i < 2**63)),
    "uint64": ("uint64", INTEGERS.filter(lambda i: 0 <= i < 2**64)),
    "bool": ("bool", st.booleans()),
    "Int64": ("Int64", INTEGERS.filter(lambda i: -(2**63) <= i < 2**63) | st.just(None)),
    "UInt64": ("UInt64", INTEGERS.filter(lambda i: 0 <= i < 2**64) | st.just(None)),
    "Float64": ("Float64", FLOATS | st.just(None)),
    "boolean": ("boolean", st.booleans() | st.just(None)),
    "str": ("str", TEXTS | st.just(None)),
    "string": ("string", TEXTS | st.just(None)),
    "categories of words": ("category", TEXTS | st.just(None)),
    "categories of numbers": ("category", FLOATS | st.just(None)),
    "objects that are numbers": ("object", INTEGERS | FLOATS | MISSING),
    "objects of any kind": ("object", INTEGERS | FLOATS | TEXTS | MISSING | OTHERS),
    "surrogates": ("object", BROKEN | MISSING),
    "infinite categories": ("float64", INF),
    "nothing": ("object", MISSING),
}
POLARS = {"int64": pl.Int64, "uint64": pl.UInt64, "float64": pl.Float64, "bool": pl.Boolean, "str": pl.String}


@st.composite
def tables(draw):
    """Draw a few columns, and the columns that are listed as categories."""
    kinds = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=3))
    columns = {}
    for j, kind in enumerate(kinds):
        dtype, values = COLUMNS[kind]
        values = draw(st.lists(values, min_size=ROWS, max_size=ROWS))
        columns[f"c{j}"] = pd.Series(values, dtype="object").astype(dtype)
    chosen = draw(st.lists(st.sampled_from(list(columns)), unique=True))
    return columns, kinds, chosen + [name for name, k in zip(columns, kinds, strict=True) if k == "infinite categories"]


def as_table(kind, columns, kinds):
    if kind == "polars":
        assume(all(k in POLARS for k in kinds))
        lists = {
            name: [None if value is pd.NA or value != value else value for value in c] for name, c in columns.items()
        }
        return pl.DataFrame({n: pl.Series(values, dtype=POLARS[k]) for (n, values), k in zip(lists.items(), kinds)})
    frame = pd.DataFrame(columns)
    return frame.to_numpy() if kind == "array" else frame


def column_indices(names, columns, is_array):
    return [list(columns).index(name) if is_array else name for name in dict.fromkeys(names)]


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    tables(),
    st.sampled_from(["pandas", "array", "polars"]),
    st.integers(1, ROWS),
    st.sampled_from([None, "auto", "quantile"]),
    st.booleans(),
)
def test_an_export_agrees_on_rows_that_the_sample_lacks_or_names_the_column(table, kind, n_sample, scaling, from_dtype):
    columns, kinds, chosen = table
    X = as_table(kind, columns, kinds)
    features = "from_dtype" if from_dtype else column_indices(chosen, columns, kind == "array")
    model = NeuralClassifier(**SMALL, scaling=scaling, categorical_features=features)
    with warnings.catch_warnings(action="ignore"):
        try:
            expected = model.fit(X, LABELS).predict_proba(X)
        except (ValueError, ArithmeticError):  # the estimator itself refuses the table
            assume(False)
    result = exported_or_refused(model, X, n_sample)
    if isinstance(result, ValueError):
        assert re.match(r"Column ('[cx]\d'|'X'|\d) ", str(result)), str(result)
    else:
        np.testing.assert_allclose(result, expected, atol=2e-5)


def exported_or_refused(model, X, n_sample):
    """Return the graph's probabilities for all rows, or the error of the export or prediction."""
    try:
        predictor = OnnxPredictor(to_onnx(model, X[:n_sample]).SerializeToString())
        return predictor.predict_proba(X)
    except ValueError as error:
        return error


def test_an_export_without_a_sample_agrees_too():
    X = pd.DataFrame({"c": [3.0, 2.0**63, 1e30] * 4, "d": np.array([3, 2**53 + 1, 2**64 - 1] * 4, dtype=np.uint64)})
    model = NeuralClassifier(**SMALL, categorical_features=["c", "d"]).fit(X, LABELS)

    predictor = OnnxPredictor(to_onnx(model).SerializeToString())

    np.testing.assert_allclose(predictor.predict_proba(X), model.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("n_sample", [1, ROWS])
def test_columns_of_the_largest_numbers_are_exported(n_sample):
    X = pd.DataFrame({"large": np.linspace(-LARGEST / 2, LARGEST / 2, ROWS) * 2, "tiny": np.arange(ROWS) * SMALLEST})
    model = NeuralClassifier(**SMALL).fit(X, LABELS)

    predictor = OnnxPredictor(to_onnx(model, X[:n_sample]).SerializeToString())

    np.testing.assert_allclose(predictor.predict_proba(X), model.predict_proba(X), atol=1e-6)

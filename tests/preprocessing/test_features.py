"""`FeatureEncoder` with every type of table, against scikit-learn, scipy and numpy."""

import datetime
import decimal
import fractions
import warnings

import hypothesis.extra.numpy as hnp
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import rankdata
from sklearn.preprocessing import MaxAbsScaler, QuantileTransformer, StandardScaler

from sknn.preprocessing.features import CHUNK_VALUES, ONE_HOT_LEVELS, FeatureEncoder
from sknn.preprocessing.levels import MAX_LEVELS
from sknn.preprocessing.scaling import fit_scaler, mean_and_std, quantiles
from sknn.preprocessing.tables import check_table

SCALINGS = [None, "standard", "robust", "quantile", "auto"]
NAN = np.nan
quick = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def encode(X, **params):
    """Fit an encoder in double precision, and return it with the encoded table."""
    encoder = FeatureEncoder(**{"scaling": None, "dtype": np.float64} | params).fit(X)
    return encoder, encoder.transform(X)


def numbers(X, **params):
    return encode(X, **params)[1].numeric


def column(values, dtype=None):
    return pd.DataFrame({"a": pd.Series(values, dtype=dtype)})


# --- Every kind of column -----------------------------------------------------------------------------------------

NUMERIC = {
    "pandas int": (column([3, 1, 2]), [3, 1, 2]),
    "pandas float": (column([0.5, NAN, 2]), [0.5, NAN, 2]),
    "pandas float32": (column([0.5, NAN, 2], "float32"), [0.5, NAN, 2]),
    "pandas Int64": (column([3, pd.NA, 2], "Int64"), [3, NAN, 2]),
    "pandas Float64": (column([0.5, pd.NA, 2], "Float64"), [0.5, NAN, 2]),
    "pandas boolean": (column([True, pd.NA, False], "boolean"), [1, NAN, 0]),
    "pandas bool": (column([True, True, False]), [1, 1, 0]),
    "pandas numbers as objects": (column([3, 0.5, None, pd.NA, True], object), [3, 0.5, NAN, NAN, 1]),
    "pandas arrow": (column([3, None, 2], "int64[pyarrow]"), [3, NAN, 2]),
    "pandas sparse": (column(pd.arrays.SparseArray([0.0, 0.0, 2.0])), [0, 0, 2]),
    "pandas decimals": (column([decimal.Decimal("1.5"), None], object), [1.5, NAN]),
    "pandas only missing": (column([None, None], object), [NAN, NAN]),
    "polars int": (pl.DataFrame({"a": [3, None, 2]}), [3, NAN, 2]),
    "polars float": (pl.DataFrame({"a": [0.5, None, 2.0]}), [0.5, NAN, 2]),
    "polars Float32": (pl.DataFrame({"a": [0.5, NAN]}, schema={"a": pl.Float32}), [0.5, NAN]),
    "polars Boolean": (pl.DataFrame({"a": [True, None, False]}), [1, NAN, 0]),
    "polars Decimal": (pl.DataFrame({"a": ["1.5", None]}).select(pl.col("a").cast(pl.Decimal(9, 2))), [1.5, NAN]),
    "numpy float32": (np.float32([[0.5], [NAN]]), [0.5, NAN]),
    "numpy float64": (np.float64([[0.5], [NAN]]), [0.5, NAN]),
    "numpy int": (np.array([[3], [1]]), [3, 1]),
    "numpy bool": (np.array([[True], [False]]), [1, 0]),
    "numpy object": (np.array([[3], [None], [0.5], [True], [np.float32(2)]], dtype=object), [3, NAN, 0.5, 1, 2]),
}

CATEGORICAL = {
    "pandas objects": (column(["b", None, "a", NAN], object), ["b", None, "a", None]),
    "pandas str": (column(["b", None, "a"]), ["b", None, "a"]),
    "pandas string": (column(["b", pd.NA, "a"], "string"), ["b", None, "a"]),
    "pandas numbers and strings": (column([3, "b", 3.0, "3", None, 0.5], object), ["3", "b", "3", "3", None, "0.5"]),
    "pandas category of strings": (column(["b", None, "a"], "category"), ["b", None, "a"]),
    "pandas category of ints": (column([3, None, 10], "category"), ["3", None, "10"]),
    "pandas category of both": (column(pd.Categorical([3, "3", "b"], categories=[3, "3", "b"])), ["3", "3", "b"]),
    "pandas arrow strings": (column(["b", None], "string[pyarrow]"), ["b", None]),
    "polars String": (pl.DataFrame({"a": ["b", None, "a"]}), ["b", None, "a"]),
    "polars Categorical": (pl.DataFrame({"a": ["b", None]}, schema={"a": pl.Categorical}), ["b", None]),
    "polars Enum": (pl.DataFrame({"a": ["b", None]}, schema={"a": pl.Enum(["z", "b"])}), ["b", None]),
    "numpy object": (np.array([["b"], [None], ["a"], [NAN]], dtype=object), ["b", None, "a", None]),
    "numpy unicode": (np.array([["b"], ["a"]]), ["b", "a"]),
}


@pytest.mark.parametrize("kind", NUMERIC)
def test_a_numeric_column_is_read_from_any_type_of_table(kind):
    X, expected = NUMERIC[kind]
    missing = np.isnan(expected)
    encoder, encoded = encode(check_table(X))
    assert encoder.categorical_.size == 0
    assert encoded.codes.shape == (len(expected), 0)
    np.testing.assert_array_equal(encoded.numeric[~missing, 0], np.array(expected)[~missing])
    if missing.any():
        np.testing.assert_array_equal(encoded.numeric[:, 1], missing)
    else:
        assert encoded.numeric.shape[1] == 1


@pytest.mark.parametrize("kind", CATEGORICAL)
@pytest.mark.parametrize("max_one_hot", [0, ONE_HOT_LEVELS])
def test_a_categorical_column_is_read_from_any_type_of_table(kind, max_one_hot):
    X, expected = CATEGORICAL[kind]
    levels = sorted({level for level in expected if level is not None})
    code = np.array([0 if level is None else 1 + levels.index(level) for level in expected])
    encoder, encoded = encode(check_table(X), max_one_hot=max_one_hot)
    assert encoder.levels_ == [levels]
    assert encoder.numeric_.size == 0
    if max_one_hot == 0:
        np.testing.assert_array_equal(encoded.codes[:, 0], code)
    elif len(levels) == 2:
        np.testing.assert_array_equal(encoded.numeric[:, 0], np.select([code == 1, code == 2], [1, -1]))
    else:
        np.testing.assert_array_equal(encoded.numeric, np.eye(len(levels) + 1)[code][:, 1:])


DATES = {
    "pandas datetime": column(pd.to_datetime(["2020-01-01"])),
    "pandas timedelta": column(pd.to_timedelta([3], unit="D")),
    "pandas period": column(pd.period_range("2020", periods=1)),
    "pandas arrow timestamp": column([datetime.datetime(2020, 1, 1)], "timestamp[us][pyarrow]"),
    "polars Date": pl.DataFrame({"a": [datetime.date(2020, 1, 1)]}),
    "polars Datetime": pl.DataFrame({"a": [datetime.datetime(2020, 1, 1)]}),
    "polars Duration": pl.DataFrame({"a": [datetime.timedelta(1)]}),
    "numpy datetime": np.array([["2020-01-01"]], dtype="datetime64[D]"),
}


@pytest.mark.parametrize("kind", DATES)
def test_dates_are_refused_with_advice(kind):
    X = DATES[kind]
    name = 0 if isinstance(X, np.ndarray) else "a"
    with pytest.raises(ValueError, match=rf"^Column {name!r} has the dtype .* derive numbers from it first"):
        FeatureEncoder().fit(check_table(X))


def test_a_column_of_lists_is_refused():
    X = column([[1], [2]], object)
    for table in (X, X.to_numpy()):
        with pytest.raises(ValueError, match=r"^Column .* holds values that can't be categories"):
            FeatureEncoder().fit(table)


DATA = {
    "float": [0.5, None, -2.25, 7.0, 0.5, 1e6],
    "int": [3, 1, None, 4, 1, 5],
    "bool": [True, None, False, True, False, False],
    "two": ["x", "y", None, "x", "x", "y"],
    "few": ["a", "b", "c", None, "d", "a"],
    "constant": [4.0] * 6,
    "missing": [None] * 6,
}


@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_same_data_in_pandas_polars_and_numpy_is_encoded_equally(scaling):
    as_object = np.array(list(DATA.values()), dtype=object).T
    nullable = {"int": "Int64", "bool": "boolean", "few": "category", "missing": "Float64"}
    tables = {
        "object": as_object,
        "pandas": pd.DataFrame(DATA),
        "pandas nullable": pd.DataFrame(DATA).astype(nullable),
        "pandas object": pd.DataFrame(DATA, dtype=object),
        "polars": pl.DataFrame(DATA, schema_overrides={"missing": pl.Float64}),
    }
    fitted = {kind: FeatureEncoder(scaling, max_one_hot=3).fit(X) for kind, X in tables.items()}
    expected = fitted["object"].transform(as_object)
    assert fitted["object"].levels_ == [["x", "y"], ["a", "b", "c", "d"]]
    for encoder in fitted.values():
        for X in tables.values():  # also tables of another type than in the fit
            encoded = encoder.transform(X)
            np.testing.assert_array_equal(encoded.numeric, expected.numeric)
            np.testing.assert_array_equal(encoded.codes, expected.codes)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, bool])
@pytest.mark.parametrize("scaling", SCALINGS)
def test_an_array_is_encoded_like_a_frame_of_its_columns(dtype, scaling):
    X = (np.random.default_rng(0).normal(0, 3, (40, 5)).round(2)).astype(dtype)
    np.testing.assert_array_equal(numbers(X, scaling=scaling), numbers(pd.DataFrame(X), scaling=scaling))


# --- Categories ---------------------------------------------------------------------------------------------------


def test_a_level_keeps_its_code_when_the_column_changes_its_type():
    fitted = FeatureEncoder(None, [0], max_one_hot=0).fit(column([3, 10, 3]))
    assert fitted.levels_ == [["10", "3"]]
    for values, dtype in [([10.0, 3.0, None], None), (["10", "3", None], object), ([10, 3, pd.NA], "Int64")]:
        assert fitted.transform(column(values, dtype)).codes.ravel().tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    "table",
    [
        column([True, False, None], object),
        column([True, False, pd.NA], "boolean"),
        column([True, False, None], "category"),
        pl.DataFrame({"a": [True, False, None]}),
        np.array([[True], [False], [None]]),
    ],
    ids=["pandas object", "pandas nullable", "pandas category", "polars", "numpy object"],
)
def test_bools_are_the_same_levels_with_and_without_missing_ones(table):
    fitted = FeatureEncoder(None, [0], max_one_hot=0).fit(column([True, False, True]))
    assert fitted.transform(table).codes.ravel().tolist() == [2, 1, 0]


SAME = {
    "ints": column([7, 8, 7]),
    "floats": column([7.0, 8.0, 7.0]),
    "nullable": column([7, 8, 7], "Int64"),
    "strings": column(["7", "8", "7"]),
    "strings of floats": column(["7.0", "8.0", "7.0"]),
    "category": column(["7", "8", "7"], "category"),
    "category of floats": column([7.0, 8.0, 7.0], "category"),
    "objects": column([7, "8", 7.0], object),
    "polars": pl.DataFrame({"a": ["7.0", "8", "7.0"]}),
    "numpy": np.array([[7.0], [8.0], [7.0]]),
}
BOOLS = {
    "bools": column([True, False, True]),
    "ints": column([1, 0, 1]),
    "nullable": column([True, False, True], "boolean"),
    "strings": column(["True", "False", "True"]),
    "polars": pl.DataFrame({"a": [True, False, True]}).cast(pl.String),  # "true"
    "strings of floats": column(["1.0", "0.0", "1.0"]),
    "category": column([True, False, True], "category"),
}


@pytest.mark.parametrize("tables", [SAME, BOOLS], ids=["numbers", "bools"])
def test_a_level_in_another_type_has_the_same_code(tables):
    for fitted_on, X in tables.items():
        encoder = FeatureEncoder(categorical_features=[0], max_one_hot=0).fit(X)
        expected = encoder.transform(X).codes.ravel().tolist()
        assert sorted(set(expected)) == [1, 2]
        for kind, new in tables.items():
            assert encoder.transform(new).codes.ravel().tolist() == expected, (fitted_on, kind)


def unseen(name, values, levels):
    return (
        rf"^Column {name!r} holds no level that was seen in fit: its values, such as {values}, count as unknown, and "
        rf"the levels are called {levels}\. Give the column the type and the spelling that it had in fit\.$"
    )


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_a_column_of_unseen_levels_is_warned_of_once(frame):
    fitted = frame({"a": ["x", "y", "z", "w"], "b": ["x", None, "y", "x"]})
    new = frame({"a": ["u", "v", "u", None], "b": ["x", "q", "q", None]})
    encoder = FeatureEncoder().fit(fitted)
    with pytest.warns(UserWarning, match=unseen("a", "'u' and 'v'", "'w', 'x' and others")):
        encoder.transform(new)
    encoder.transform(new)  # warnings are errors here
    other = frame({"a": ["x", "u", "u", None], "b": [None, "q", "q", "q"]})
    with pytest.warns(UserWarning, match=unseen("b", "'q'", "'x' and 'y'")):
        encoder.transform(other)
    encoder.transform(other)
    with pytest.warns(UserWarning, match="^Column 'a' holds no level"):
        FeatureEncoder().fit(fitted).transform(new)


@pytest.mark.parametrize("values", [["u"], ["u", None, None], [None, None], ["u", "u", "x"]], ids=str)
def test_there_is_no_warning_for_a_single_row_or_for_missing_values(values):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        FeatureEncoder().fit(column(["x", "y", "z"])).transform(column(values, "str"))
        FeatureEncoder().fit(column([None, None], "category")).transform(column(values, "str"))
    assert caught == []


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_unseen_and_missing_categories_are_zeros_and_code_0(frame):
    many = [f"level {i}" for i in range(9)]
    X = frame({"two": ["a", "b", "a"] * 3, "three": ["a", "b", "c"] * 3, "many": many})
    new = frame({"two": ["z", None], "three": ["z", None], "many": ["z", None]})
    encoder = FeatureEncoder().fit(X)
    assert encoder.n_numeric_ == 1 + 3
    assert encoder.n_levels_ == (10,)
    encoded = encoder.transform(new)
    assert not encoded.numeric.any()
    assert encoded.codes.tolist() == [[0], [0]]


@pytest.mark.parametrize(
    ("n_levels", "n_columns", "n_codes"), [(1, 1, 0), (2, 1, 0), (3, 3, 0), (8, 8, 0), (9, 0, 1), (30, 0, 1)]
)
def test_up_to_eight_levels_are_one_hot_and_more_are_codes(n_levels, n_columns, n_codes):
    X = column([None, *(f"{i:02}" for i in range(n_levels))])
    encoder, encoded = encode(X)
    assert encoded.numeric.shape == (n_levels + 1, n_columns)
    assert encoded.codes.shape == (n_levels + 1, n_codes)
    assert encoder.n_numeric_ == n_columns
    assert encoder.n_levels_ == ((n_levels + 1,) if n_codes else ())
    if n_codes:
        assert encoded.codes.ravel().tolist() == list(range(n_levels + 1))
    elif n_levels == 2:
        assert encoded.numeric.ravel().tolist() == [0, 1, -1]
    else:
        np.testing.assert_array_equal(encoded.numeric, np.eye(n_levels + 1)[:, 1:])


def test_the_most_frequent_levels_are_kept_by_weight():
    values = [f"{i:05}" for i in range(MAX_LEVELS + 2)]
    weight = np.ones(len(values))
    weight[3:] = 2
    weight[1] = 3
    cut = r"^Column 'a' has 1002 levels, of which the 1000 most frequent are kept; the others count as unknown\. "
    with pytest.warns(UserWarning, match=cut):
        encoder = FeatureEncoder().fit(column(values), weight)
    assert encoder.levels_ == [[values[1], *values[3:]]]
    with pytest.warns(UserWarning, match=cut):
        assert FeatureEncoder().fit(column([*values, *values[2:]])).levels_ == [values[2:]]
    with pytest.warns(UserWarning, match=cut):
        assert FeatureEncoder().fit(column(values)).levels_ == [values[:MAX_LEVELS]]
    assert FeatureEncoder().fit(column(values[:MAX_LEVELS])).levels_ == [values[:MAX_LEVELS]]  # without a warning


FRAME = pd.DataFrame({"n": [1, 2, 3], "s": ["a", "b", "c"], "c": pd.Categorical([1, 2, 2]), "b": [True, False, True]})


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ("from_dtype", [1, 2]),
        (["s"], [1]),
        (["b", "s", "n"], [0, 1, 3]),
        ([1, 0], [0, 1]),
        (np.array([1, 3]), [1, 3]),
        (1, [1]),
        ("s", [1]),
        ([True, True, False, False], [0, 1]),
        (np.array([False, True, False, True]), [1, 3]),
        (pd.Index(["s", "c"]), [1, 2]),
    ],
)
def test_categorical_features_are_chosen_by_dtype_name_index_or_mask(chosen, expected):
    encoder = FeatureEncoder(categorical_features=chosen).fit(FRAME)
    assert encoder.categorical_.tolist() == expected
    assert encoder.numeric_.tolist() == [j for j in range(4) if j not in expected]
    if not (isinstance(chosen, str) and chosen == "from_dtype"):
        assert FeatureEncoder(categorical_features=chosen).fit(pl.from_pandas(FRAME.assign(c=[1, 2, 2]))).levels_ == (
            encoder.levels_
        )


def test_without_categorical_features_every_column_is_numeric():
    encoder, encoded = encode(FRAME[["n", "c", "b"]], categorical_features=None)
    assert encoder.categorical_.size == 0
    assert encoded.numeric.tolist() == [[1, 1, 1], [2, 2, 0], [3, 2, 1]]


@pytest.mark.parametrize(
    ("chosen", "table", "message"),
    [
        ([True, False], FRAME, "categorical_features is a mask of 2 entries, but X has 4 columns; give one entry per"),
        (["x"], FRAME, r"categorical_features names 'x', which is not a column of X: \['n', 's', 'c', 'b'\]\."),
        (["n"], FRAME.to_numpy(), "categorical_features names 'n', but X has no column names; give indices."),
        ([4], FRAME, "categorical_features holds 4; indices go from 0 to 3, names are strings."),
        ([-1], FRAME, "categorical_features holds -1; indices go from 0 to 3, names are strings."),
        ([1.5], FRAME, "categorical_features holds 1.5; indices go from 0 to 3, names are strings."),
        (None, FRAME, "Column 's' holds values that are not numbers and is not among categorical_features; add it"),
        ([0], FRAME.to_numpy(), "Column 1 holds values that are not numbers and is not among categorical_features"),
        ([0, 1], sp.csr_array(np.eye(3)), "categorical_features can't be chosen in a sparse table; encode them before"),
        (np.array([0, 1]), sp.csr_array(np.eye(3)), "categorical_features can't be chosen in a sparse table"),
    ],
)
def test_a_wrong_choice_of_categorical_features_raises_an_error_with_advice(chosen, table, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        FeatureEncoder(categorical_features=chosen).fit(table)


# --- Missing values, constants, infinities ------------------------------------------------------------------------


@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_missing_value_is_the_median_and_has_an_indicator_where_the_fit_had_one(scaling):
    X = np.array([[1.0, 1.0], [2.0, NAN], [7.0, 7.0], [9.0, 2.0], [30.0, 30.0]])
    encoder, encoded = encode(X, scaling=scaling)
    assert encoder.missing_.tolist() == [1]
    np.testing.assert_array_equal(encoded.numeric[:, 2], np.isnan(X[:, 1]))
    at_median = encoder.transform(np.array([[7.0, 2.0]])).numeric  # the lower of the two middle values
    np.testing.assert_array_equal(encoder.transform(np.array([[NAN, NAN]])).numeric[:, :2], at_median[:, :2])
    assert encoder.transform(np.array([[NAN, 1.0]])).numeric.shape == (1, 3)


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile"])
@pytest.mark.parametrize("constant", [0.0, 0.1, -3.7e9, 1e-300])
@pytest.mark.parametrize("n", [3, 7, 10, 1000])
def test_a_constant_column_is_zero_in_the_fit(scaling, constant, n):
    encoder, encoded = encode(np.full((n, 1), constant), scaling=scaling)
    np.testing.assert_allclose(encoded.numeric, 0, atol=1e-12)
    assert np.abs(encoder.transform(np.array([[constant + 1e5]])).numeric).max() < 6  # not divided by a rounding error


@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_column_without_any_value_is_zero(scaling):
    encoder, encoded = encode(column([None, None, NAN], object), scaling=scaling)
    np.testing.assert_allclose(encoded.numeric, [[0, 1]] * 3, atol=1e-12)
    assert np.isfinite(encoder.transform(column([1.0])).numeric).all()


INFINITE = {
    "numpy": np.array([[1.0], [np.inf]]),
    "numpy float32": np.float32([[1.0], [-np.inf]]),
    "numpy object": np.array([[1.0], [np.inf]], dtype=object),
    "pandas": column([1.0, -np.inf]),
    "pandas Float64": column([1.0, np.inf], "Float64"),
    "polars": pl.DataFrame({"a": [1.0, np.inf]}),
    "sparse": sp.csr_array(np.array([[1.0], [np.inf]])),
}


@pytest.mark.parametrize("kind", INFINITE)
def test_infinities_are_refused_by_column_in_fit_and_transform(kind):
    name = repr("a") if hasattr(INFINITE[kind], "columns") else 0
    message = rf"^Input X contains infinity or a value too large for dtype\('float64'\), in column {name}\. Replace it"
    with pytest.raises(ValueError, match=message):
        FeatureEncoder().fit(check_table(INFINITE[kind]))
    fitted = FeatureEncoder().fit(np.array([[1.0], [2.0]]))
    with pytest.raises(ValueError, match=message):
        fitted.transform(check_table(INFINITE[kind]))


def test_strings_in_a_numeric_column_are_refused_in_transform():
    fitted = FeatureEncoder().fit(column([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"^Column 'a' held numbers in fit, and holds something else now: \['x'"):
        fitted.transform(column(["x", "y"]))
    with pytest.raises(ValueError, match=r"^Column 0 held numbers in fit, and holds something else now: \['x'"):
        fitted.transform(np.array([["x"], ["y"]]))


@pytest.mark.parametrize("make", [np.array, sp.csr_array, lambda X: pd.DataFrame({"s": ["x", "y"], "a": X[:, 1]})])
def test_the_error_names_the_column_with_an_infinity(make):
    X = make(np.array([[0.0, 1.0], [2.0, np.inf]]))
    name = "'a'" if hasattr(X, "columns") else "1"
    with pytest.raises(ValueError, match=rf"too large for dtype\('float64'\), in column {name}\."):
        FeatureEncoder().fit(check_table(X))


@pytest.mark.parametrize("scaling", [None, "standard"])
def test_a_number_beyond_the_dtype_is_refused_after_scaling(scaling):
    fitted = FeatureEncoder(scaling).fit(np.array([[0.0, 1.0], [0.0, 2.0]]))
    message = rf"^Input X contains a value too large for dtype\('float32'\) after scaling={scaling!r}, in column"
    X = np.array([[0.0, 1e40]])
    for table, name in ((X, "1"), (sp.csr_array(X), "1"), (pd.DataFrame(X, columns=["a", "b"]), "'b'")):
        with pytest.raises(ValueError, match=rf"{message} {name}; clip the column"):
            fitted.transform(table)


@pytest.mark.parametrize("make", [pd.DataFrame, lambda data: pd.DataFrame(data).to_numpy()], ids=["frame", "array"])
@pytest.mark.parametrize("huge", [10**400, -(10**400), fractions.Fraction(10**400), decimal.Decimal("1e400")], ids=type)
def test_the_error_names_the_column_with_a_number_too_large_for_float64(make, huge):
    X = make({"a": np.array([1, 2, huge], dtype=object)})
    name = "'a'" if hasattr(X, "columns") else "0"
    with pytest.raises(ValueError, match=rf"too large for dtype\('float64'\), in column {name}\."):
        FeatureEncoder().fit(check_table(X))
    with pytest.raises(ValueError, match=rf"too large for dtype\('float64'\), in column {name}\."):
        FeatureEncoder().fit(np.array([[1.0], [2.0]])).transform(check_table(X))


def test_a_huge_int_is_a_category_like_any_other():
    X = column([10**400, "x", 10**400, 1], object)
    encoder, encoded = encode(X, max_one_hot=0)
    assert encoder.levels_ == [["1", str(10**400), "x"]]
    assert encoded.codes.ravel().tolist() == [2, 3, 2, 1]
    with pytest.raises(ValueError, match=r"^Column 'a' holds values that can't be categories: .*digits"):
        FeatureEncoder().fit(column([10**5000, "x"], object))


@pytest.mark.parametrize(
    "X",
    [column([1 + 2j, 2j]), column([1 + 2j, "x"], object), column([np.complex64(1), None], object)],
    ids=["dtype", "objects", "numpy's"],
)
def test_the_error_names_the_column_with_complex_numbers(X):
    message = r"^Column 'a' holds values that can't be categories: complex numbers, such as \(1\+.*a column each"
    with pytest.raises(ValueError, match=message):
        FeatureEncoder().fit(check_table(X))


@pytest.mark.parametrize("max_one_hot", [0, ONE_HOT_LEVELS])
def test_a_category_without_levels_is_a_column_of_zeros(max_one_hot):
    encoder, encoded = encode(column([None, None], "category"), max_one_hot=max_one_hot)
    assert encoder.levels_ == [[]]
    assert encoder.n_numeric_ == 1
    assert encoder.n_levels_ == ()
    assert encoded.numeric.tolist() == [[0], [0]]
    assert encoder.transform(column(["x", None])).numeric.tolist() == [[0], [0]]


# --- Scaling ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def skewed():
    rng = np.random.default_rng(0)
    X = np.column_stack(
        [rng.normal(1e9, 2, 500), rng.lognormal(0, 2, 500), rng.integers(0, 5, 500), rng.normal(size=500)]
    )
    X[rng.random(X.shape) < 0.1] = NAN
    X[:, 0] = 1e9 + rng.normal(0, 2, 500)
    return X


def test_standard_scaling_agrees_with_scikit_learn(skewed):
    weight = np.random.default_rng(1).integers(1, 5, len(skewed)).astype(float)
    present = ~np.isnan(skewed)
    for w in (None, weight):
        expected = StandardScaler().fit_transform(skewed, sample_weight=w)
        scaled = FeatureEncoder("standard", dtype=np.float64).fit(skewed, w).transform(skewed).numeric[:, :4]
        # a mean near 1e9 has an error of 1e-16 of itself, 1e-7; the standard deviation is 2
        np.testing.assert_allclose(scaled[:, 0], expected[:, 0], atol=2e-7)
        np.testing.assert_allclose(
            scaled[:, 1:][present[:, 1:]], expected[:, 1:][present[:, 1:]], rtol=1e-12, atol=1e-12
        )


@pytest.mark.parametrize("scaling", ["robust", "auto"])
def test_robust_scaling_is_by_median_and_interquartile_range_with_a_smooth_clip(skewed, scaling):
    scaled = numbers(skewed, scaling=scaling)
    for x, z in zip(skewed.T, scaled.T, strict=False):
        first, median, third = np.nanquantile(x, [0.25, 0.5, 0.75], method="inverted_cdf")
        t = (x - median) / (third - first)
        expected = np.where(np.isnan(x), 0, t / np.sqrt(1 + (t / 3) ** 2))
        np.testing.assert_allclose(z, expected, rtol=1e-12)
    assert np.abs(scaled).max() <= 3


def test_robust_scaling_divides_by_half_the_range_where_most_values_are_equal():
    x = np.array([5.0] * 8 + [1.0, 21.0])
    t = (x - 5) / 10
    np.testing.assert_allclose(numbers(x[:, None], scaling="robust")[:, 0], t / np.sqrt(1 + (t / 3) ** 2))


@pytest.mark.parametrize("huge", [1e40, 1e160, 1e300, 1.7e308])
def test_robust_scaling_maps_the_largest_values_to_its_limit(huge):
    encoder = FeatureEncoder("robust").fit(np.array([[-1.0], [0.0], [1.0]]))
    np.testing.assert_array_equal(encoder.transform(np.array([[huge], [-huge]])).numeric, [[3], [-3]])
    spread = FeatureEncoder("robust").fit(np.array([[-huge], [0.0], [huge]])).transform(np.array([[-huge], [huge]]))
    assert spread.numeric[0, 0] < 0 < spread.numeric[1, 0]


def test_a_column_with_a_tiny_spread_is_scaled_as_constant():
    for scaling in ("standard", "robust"):
        assert not numbers(np.array([[0.0], [5e-324], [1e-323]]), scaling=scaling).any()


@pytest.mark.parametrize("n", [200, 3000])
def test_quantile_scaling_agrees_with_scikit_learn(n):
    """Our quantiles are observed values, scikit-learn's lie between two of them: a difference of a rank, 1 / n.

    Both then interpolate on at most 1000 points, a step of 1 / 1000.
    """
    X = np.random.default_rng(0).lognormal(0, 1, (n, 3))
    sklearns = QuantileTransformer(n_quantiles=min(n, 1000), subsample=None, output_distribution="normal")
    expected = sklearns.fit_transform(X)
    encoder, encoded = encode(X, scaling="quantile")
    assert np.abs(ndtr(encoded.numeric) - ndtr(expected)).max() <= 1 / n + 1 / 1000
    extremes = np.array([X.min(0) - 1, X.max(0) + 1])
    np.testing.assert_allclose(encoder.transform(extremes).numeric, sklearns.transform(extremes), atol=1e-4)


def test_quantile_scaling_gives_ties_their_middle_rank():
    x = np.random.default_rng(0).integers(0, 4, (1000, 1)).astype(float)
    level = ndtr(numbers(x, scaling="quantile"))
    np.testing.assert_allclose(level, (rankdata(x, axis=0) - 0.5) / 1000, atol=2e-3)
    sklearns = QuantileTransformer(n_quantiles=1000, output_distribution="normal").fit_transform(x)
    inner = (x > 0) & (x < 3)  # scikit-learn maps ties at the ends to its extremes
    np.testing.assert_allclose(level[inner], ndtr(sklearns)[inner], atol=2e-3)


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile"])
def test_a_mean_of_a_billion_does_not_reduce_the_precision(scaling):
    x = np.random.default_rng(0).integers(-512, 512, (300, 1)) / 256  # exact beside 2^30
    shifted = FeatureEncoder(scaling).fit(x + 2.0**30).transform(x + 2.0**30).numeric
    np.testing.assert_allclose(shifted, FeatureEncoder(scaling).fit(x).transform(x).numeric, atol=1e-6)
    assert len(np.unique(shifted)) == len(np.unique(x))


@pytest.mark.parametrize("scaling", SCALINGS)
@given(data=st.data())
@quick
def test_a_row_of_weight_k_counts_as_k_rows(scaling, data):
    n = data.draw(st.integers(1, 30))
    values = st.one_of(st.integers(-4, 4).map(float), st.just(NAN))
    X = data.draw(hnp.arrays(np.float64, (n, 2), elements=values))
    weight = data.draw(hnp.arrays(np.int64, n, elements=st.integers(1, 5)))
    weighted = fit_scaler(X.T, scaling, weight.astype(float))
    repeated = fit_scaler(np.repeat(X, weight, axis=0).T, scaling, None)
    np.testing.assert_array_equal(weighted.fill, repeated.fill)
    np.testing.assert_array_equal(weighted.references, repeated.references)
    # sums of small integers are exact, and so are means; squared deviations are rounded
    np.testing.assert_array_equal(weighted.center, repeated.center)
    np.testing.assert_allclose(weighted.scale, repeated.scale, rtol=1e-14 if scaling == "standard" else 0)


@given(
    x=hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e6, 1e6)),
    q=st.lists(st.floats(0, 1), min_size=1, max_size=5),
)
@quick
def test_quantiles_are_observed_values_as_in_numpy(x, q):
    with_missing = np.append(x, [NAN, NAN])
    np.testing.assert_array_equal(quantiles(with_missing, q, None), np.quantile(x, q, method="inverted_cdf"))
    assert np.isin(quantiles(with_missing, q, np.full(len(x) + 2, 0.5)), x).all()


@given(x=hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e6, 1e6)))
@quick
def test_mean_and_std_ignore_missing_values(x):
    mean, std = mean_and_std(np.append(x, NAN), None)
    np.testing.assert_allclose([mean, std], [x.mean(), x.std()], rtol=1e-9, atol=1e-9)


# --- Sparse tables ------------------------------------------------------------------------------------------------

DENSE = np.random.default_rng(0).normal(0, 5, (30, 6)) * (np.random.default_rng(1).random((30, 6)) < 0.3)
DENSE[:, 4] = 0
FORMATS = [sp.csr_array, sp.csc_array, sp.coo_array, sp.csr_matrix, sp.csc_matrix, sp.coo_matrix]


@pytest.mark.parametrize("make", FORMATS)
@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_sparse_table_stays_sparse_and_is_divided_by_its_largest_absolute_values(make, scaling):
    X = check_table(make(DENSE))
    encoder = FeatureEncoder(scaling).fit(X)
    encoded = encoder.transform(X)
    expected = DENSE if scaling is None else MaxAbsScaler().fit_transform(DENSE)
    assert sp.issparse(encoded.numeric)
    assert encoded.numeric.format == "csr"
    assert encoded.numeric.dtype == np.float32
    assert len(encoded) == 30
    np.testing.assert_allclose(encoded.numeric.toarray(), expected, rtol=1e-6)
    np.testing.assert_array_equal(encoder.transform(DENSE).numeric, encoded.numeric.toarray())
    np.testing.assert_array_equal(X.toarray(), DENSE)


@pytest.mark.parametrize("make", FORMATS)
def test_a_sparse_table_after_a_dense_fit_is_encoded_like_the_dense_one(make):
    encoder = FeatureEncoder().fit(DENSE)
    np.testing.assert_array_equal(encoder.transform(make(DENSE)).numeric, encoder.transform(DENSE).numeric)
    assert np.abs(encoder.transform(DENSE).numeric).max() > 0


def test_a_missing_value_in_a_sparse_table_is_zero():
    X = np.array([[NAN, 1.0], [2.0, 0.0], [-4.0, NAN]])
    encoder = FeatureEncoder().fit(check_table(sp.csr_array(X)))
    for table in (sp.csr_array(X), sp.coo_array(X), X):
        encoded = encoder.transform(table).numeric
        encoded = encoded.toarray() if sp.issparse(encoded) else encoded
        np.testing.assert_array_equal(encoded, [[0, 1], [0.5, 0], [-1, 0]])


def test_duplicate_entries_of_a_sparse_table_add_up():
    X = sp.coo_array(([1.0, 2.0, -1.0], ([0, 0, 1], [0, 0, 0])), shape=(2, 1))
    np.testing.assert_allclose(FeatureEncoder().fit(X).transform(X).numeric.toarray(), [[1], [-1 / 3]], rtol=1e-6)


# --- Any table ----------------------------------------------------------------------------------------------------

COLUMNS = {
    "float": (st.floats(-1e150, 1e150) | st.just(NAN), "float64"),
    "float32": (st.floats(-1e3, 1e3, width=32) | st.just(NAN), "float32"),
    "int": (st.integers(-(2**62), 2**62), "int64"),
    "Int64": (st.integers(-9, 9) | st.just(pd.NA), "Int64"),
    "boolean": (st.booleans() | st.just(pd.NA), "boolean"),
    "bool": (st.booleans(), "bool"),
    "string": (st.sampled_from(["a", "b", "", "nan", "3"]) | st.none(), "str"),
    "category": (st.sampled_from(["a", "b", "c"]) | st.none(), "category"),
    "mixed": (st.integers(-3, 9) | st.sampled_from(["a", 0.5, 3.0, True, None]), "object"),
    "missing": (st.none(), "object"),
}


@st.composite
def frames(draw):
    n = draw(st.integers(1, 15))
    kinds = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=5))
    data = {}
    for i, kind in enumerate(kinds):
        values, dtype = COLUMNS[kind]
        data[f"{kind} {i}"] = pd.Series(draw(st.lists(values, min_size=n, max_size=n)), dtype=dtype)
    return pd.DataFrame(data)


@given(
    frame=frames(),
    scaling=st.sampled_from(["standard", "robust", "quantile", "auto"]),
    dtype=st.sampled_from([np.float32, np.float64]),
    max_one_hot=st.sampled_from([0, 2, 8, np.inf]),
    seed=st.integers(0, 999),
)
@settings(quick, max_examples=150)
def test_any_frame_is_encoded_row_by_row_to_finite_values(frame, scaling, dtype, max_one_hot, seed):
    before = frame.copy(deep=True)
    encoder = FeatureEncoder(scaling, max_one_hot=max_one_hot, dtype=dtype).fit(frame)
    encoded = encoder.transform(frame)
    assert encoded.numeric.shape == (len(frame), encoder.n_numeric_)
    assert encoded.numeric.dtype == dtype
    assert np.isfinite(encoded.numeric).all()
    assert encoded.codes.shape == (len(frame), len(encoder.n_levels_))
    assert encoded.codes.dtype == np.int64
    assert (encoded.codes >= 0).all()
    assert (encoded.codes < np.array(encoder.n_levels_, dtype=int)).all()
    pd.testing.assert_frame_equal(frame, before)

    again = FeatureEncoder(scaling, max_one_hot=max_one_hot, dtype=dtype).fit(frame).transform(frame)
    np.testing.assert_array_equal(again.numeric, encoded.numeric)
    np.testing.assert_array_equal(again.codes, encoded.codes)

    rows = np.random.default_rng(seed).choice(len(frame), size=max(1, len(frame) // 2))
    part = encoder.transform(frame.iloc[rows])
    np.testing.assert_array_equal(part.numeric, encoded.numeric[rows])
    np.testing.assert_array_equal(part.codes, encoded.codes[rows])


@given(frame=frames(), scaling=st.sampled_from(SCALINGS), seed=st.integers(0, 999), weighted=st.booleans())
@quick
def test_the_fit_does_not_depend_on_the_order_of_the_rows(frame, scaling, seed, weighted):
    rng = np.random.default_rng(seed)
    weight = rng.integers(1, 4, len(frame)).astype(float) if weighted else None
    order = rng.permutation(len(frame))
    one = FeatureEncoder(scaling).fit(frame, weight)
    other = FeatureEncoder(scaling).fit(frame.iloc[order], None if weight is None else weight[order])
    assert one.levels_ == other.levels_
    np.testing.assert_array_equal(one.categorical_, other.categorical_)
    np.testing.assert_array_equal(one.missing_, other.missing_)
    np.testing.assert_array_equal(one.scaler_.fill, other.scaler_.fill)
    np.testing.assert_array_equal(one.scaler_.references, other.scaler_.references)
    # means are sums in the order of the rows, rounded to 1e-16 of the largest value
    largest = np.array(
        [np.nanmax(np.abs(x), initial=0) for x in frame.iloc[:, one.numeric_].to_numpy(float, na_value=NAN).T]
    )
    assert (np.abs(one.scaler_.center - other.scaler_.center) <= 1e-14 * largest).all()
    np.testing.assert_allclose(one.scaler_.scale, other.scaler_.scale, rtol=1e-6)


def test_a_table_of_several_chunks_is_encoded_like_its_parts():
    n = CHUNK_VALUES // 2 + 7
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 2))
    X[rng.random(X.shape) < 0.1] = NAN
    objects = X.astype(object)
    encoder = FeatureEncoder().fit(X[:1000])
    whole, tail = encoder.transform(X).numeric, encoder.transform(X[-20:]).numeric
    np.testing.assert_array_equal(whole[-20:], tail)
    np.testing.assert_array_equal(encoder.transform(objects).numeric, whole)
    assert whole.shape == (n, 4)

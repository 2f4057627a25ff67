"""The encoder's graph, run by ONNX Runtime, against `FeatureEncoder`."""

import itertools

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper
from scipy.special import ndtri
from skl2onnx.common.data_types import (
    BooleanTensorType,
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)

from sknn import NeuralClassifier
from sknn.export import to_onnx
from sknn.export.onnx.columns import GraphColumns
from sknn.export.onnx.encoder import _normal_quantiles, encode
from sknn.export.onnx.graph import Graph
from sknn.export.onnx.inputs import infer_inputs, make_feed
from sknn.preprocessing.features import FeatureEncoder

UNSEEN = "ignore:.*holds no level that was seen in fit"
KINDS = {
    "float": FloatTensorType,
    "double": DoubleTensorType,
    "int64": Int64TensorType,
    "bool": BooleanTensorType,
    "string": StringTensorType,
}


class Container:
    """Collects nodes and constants without skl2onnx, to run a part of a graph."""

    def __init__(self, opset=18):
        self.target_opset, self.nodes, self.constants, self.counter = opset, [], [], itertools.count()

    def get_unique_variable_name(self, seed):
        return f"{seed}_{next(self.counter)}"

    get_unique_operator_name = get_unique_variable_name

    def add_initializer(self, name, kind, shape, content):
        if isinstance(content, onnx.TensorProto):
            content.name = name
            self.constants.append(content)
        else:
            self.constants.append(helper.make_tensor(name, kind, shape, content))

    def add_node(self, op, inputs, outputs, op_domain, op_version, name, **attributes):
        outputs = outputs if isinstance(outputs, list) else [outputs]
        self.nodes.append(helper.make_node(op, inputs, outputs, name=name, domain=op_domain, **attributes))

    def run(self, outputs, tensors):
        types = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in tensors.items()}
        inputs = [helper.make_tensor_value_info(name, dtype, [None, None]) for name, dtype in types.items()]
        values = [onnx.ValueInfoProto(name=name) for name in outputs]
        graph = helper.make_graph(self.nodes, "part", inputs, values, self.constants)
        opsets = [helper.make_opsetid("", self.target_opset), helper.make_opsetid("ai.onnx.ml", 2)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, tensors)


class Variable:
    def __init__(self, name, kind, width):
        self.full_name, self.type = name, KINDS[kind]([None, width])


def encoded_by_graph(encoder, sample, X, names=None):
    """Return the columns (n, d) and codes (n, c) of rows X. The inputs have the types of the sample."""
    plan = encoder.plan
    categories = {category.index: category.levels for category in plan.categories}
    container, inputs = Container(), infer_inputs(sample, categories)
    graph = Graph(container, container, encoder.dtype)
    variables = [Variable(spec.name, spec.type, *spec.shape) for spec in inputs]
    encoded = encode(graph, plan, GraphColumns(graph, variables, X.shape[1], names or list(range(X.shape[1]))))
    tensors = [name for name in (encoded.numeric, encoded.indicators, encoded.codes) if name is not None]
    outputs = dict(zip(tensors, container.run(tensors, make_feed(X, inputs)), strict=True))
    numeric = [outputs[name] for name in (encoded.numeric, encoded.indicators) if name is not None]
    starts = np.cumsum([0, *encoder.n_levels_])[:-1]
    none = np.zeros((len(X), 0))
    return np.hstack([none, *numeric]), none if encoded.codes is None else outputs[encoded.codes] - starts.astype(int)


def assert_same(encoder, sample, X, atol=2e-6):
    expected = encoder.transform(X)
    numbers, codes = encoded_by_graph(encoder, sample, X)
    np.testing.assert_allclose(numbers, expected.numeric, rtol=1e-6, atol=atol)
    np.testing.assert_array_equal(codes, expected.codes)


FINITE = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))
COLUMNS = {
    "numbers": st.one_of(FINITE, st.sampled_from([0.0, 1.0, 1.5]), st.none()),
    "whole": st.integers(-5, 5),
    "bools": st.booleans(),
    "words": st.one_of(st.none(), st.sampled_from(["a", "b"])),
    "texts": st.one_of(st.none(), st.text(min_size=1, max_size=3)),
    "many": st.one_of(st.none(), st.integers(0, 14).map(lambda i: f"level {i}")),
}


@st.composite
def frames(draw):
    """Draw training rows and new rows with the same columns."""
    kinds = draw(st.lists(st.sampled_from(list(COLUMNS)), min_size=1, max_size=5))

    def frame(n):
        columns = {}
        for j, kind in enumerate(kinds):
            values = draw(st.lists(COLUMNS[kind], min_size=n, max_size=n))
            dtype = {"numbers": float, "whole": np.int64, "bools": bool}.get(kind, object)
            columns[f"{kind} {j}"] = pd.Series(values, dtype=dtype)
        return pd.DataFrame(columns)

    return frame(draw(st.integers(2, 12))), frame(6)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(frames(), st.sampled_from(["auto", "standard", "quantile", None]), st.sampled_from([0, 2, 8]))
@pytest.mark.filterwarnings(UNSEEN)
def test_any_mixed_table_is_encoded_like_by_the_encoder(tables, scaling, max_one_hot):
    X, new = tables
    words = [j for j in range(X.shape[1]) if X.dtypes.iloc[j].kind == "O"]
    for j in words:  # a column of objects without any value in the fit is numeric
        X.iloc[0, j] = X.iloc[0, j] or "a"
    encoder = FeatureEncoder(scaling, "from_dtype", max_one_hot, np.float64).fit(X)

    assert_same(encoder, X, X, atol=1e-9)
    largest = np.abs(encoder.transform(new).numeric).max(initial=1.0)
    assert_same(encoder, X, new, atol=1e-9 * largest)


@pytest.mark.parametrize("scaling", ["robust", "standard", "quantile", None])
@pytest.mark.parametrize("mean", [0.0, 1e6, 1e9])
def test_a_large_mean_does_not_reduce_the_precision(scaling, mean):
    rng = np.random.default_rng(0)
    X, new = rng.normal(mean, 1.0, (200, 3)), rng.normal(mean, 1.5, (50, 3))

    assert_same(FeatureEncoder(scaling).fit(X), X, new)


def test_quantile_scaling_at_between_and_beyond_tied_references():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 4, 300), np.full(300, 7.0), rng.normal(size=300)]).astype(float)
    new = np.vstack([X[:20], X[:20] + 0.5, X.min(0), X.max(0), X.min(0) - 1, X.max(0) + 1])

    assert_same(FeatureEncoder("quantile", dtype=np.float64).fit(X), X, new, atol=1e-12)


def test_the_normal_quantile_function_agrees_with_scipy():
    p = np.concatenate([np.linspace(1e-7, 1 - 1e-7, 1001), np.geomspace(1e-7, 0.5, 50), [0.0, 0.075, 0.925, 1.0]])[
        :, None
    ]
    container = Container()

    (actual,) = container.run([_normal_quantiles(Graph(container, container, np.float64), "p")], {"p": p})

    np.testing.assert_allclose(actual, ndtri(np.clip(p, 1e-7, 1 - 1e-7)), rtol=1e-13, atol=1e-15)


def test_extreme_values_reach_the_limit_of_the_smooth_clip():
    X = np.random.default_rng(0).normal(size=(100, 2))
    new = np.array([[1e30, -1e30], [1e300, -1e300], [4e5, -9e9]])

    assert_same(FeatureEncoder("robust").fit(X), X, new)


@pytest.mark.parametrize(
    ("kind", "levels"), [(bool, 2), *((k, n) for k in (np.int64, np.float64, np.float32) for n in (2, 5, 20))]
)
def test_numbers_as_categories(kind, levels):
    rng = np.random.default_rng(0)
    column = rng.integers(0, levels, 100).astype(kind) / (1 if kind in (np.int64, bool) else 4)
    X = pd.DataFrame({"c": column.astype(kind), "x": rng.normal(size=100)})
    new = X.copy()
    if kind is not bool:
        new.loc[:9, "c"] = 99
    if kind in (np.float64, np.float32):
        new.loc[20:29, "c"] = np.nan

    assert_same(FeatureEncoder(categorical_features=["c"]).fit(X), X, new)


WRITTEN = {
    "int": lambda v: v.astype(np.int64),
    "float": lambda v: v.astype(np.float64),
    "single": lambda v: v.astype(np.float32),
    "bool": lambda v: v.astype(bool),
    "strings": lambda v: v.astype(np.int64).astype(str).astype(object),
    "strings of floats": lambda v: v.astype(str).astype(object),
    "strings of bools": lambda v: v.astype(bool).astype(str).astype(object),
    "both": lambda v: np.array([int(x) if i % 2 else str(x) for i, x in enumerate(v)], dtype=object),
}


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from([0.0, 1.0, 7.0, 2.5, 1e16]), min_size=4, max_size=12),
    *[st.sampled_from(sorted(WRITTEN))] * 2,
    st.sampled_from([0, 8]),
)
@pytest.mark.filterwarnings(UNSEEN)
def test_levels_in_another_type_have_the_codes_of_the_encoder(values, fitted_on, written, max_one_hot):
    X, new = (pd.DataFrame({"c": WRITTEN[kind](np.array(values))}) for kind in (fitted_on, written))
    encoder = FeatureEncoder(categorical_features=[0], max_one_hot=max_one_hot).fit(X)

    assert_same(encoder, new, new)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_integers_beyond_64_bits_as_categories(dtype):
    column = np.array([3.0, 2.0**62, 2.0**63, -(2.0**63), 1e30, -1e30, np.inf], dtype=dtype).repeat(3)
    X = pd.DataFrame({"c": column, "x": np.arange(21.0)})

    for max_one_hot in (0, 8):
        assert_same(FeatureEncoder(categorical_features=["c"], max_one_hot=max_one_hot).fit(X), X.head(), X)


@pytest.mark.parametrize("dtype", ["uint64", "Int64", "UInt64", "object", "uint64[pyarrow]"])
def test_integers_that_float64_cannot_distinguish_as_categories(dtype):
    last = [-(2**62), -(2**62) - 1] if dtype == "Int64" else [2**63, 2**64 - 1]
    levels = [3, 2**53, 2**53 + 1, 2**62, 2**62 + 1, *last]
    X = pd.DataFrame({"c": pd.Series(levels * 3, dtype=dtype).sort_values(ignore_index=True), "x": np.arange(21.0)})

    assert_same(FeatureEncoder(categorical_features=["c"]).fit(X), X.head(), X)


def test_integers_that_float64_cannot_distinguish_as_categories_missing_in_the_sample():
    X = pd.DataFrame({"c": pd.Series([None, 0, 2**53 + 1] * 5, dtype="Int64"), "x": np.arange(15.0)})

    assert_same(FeatureEncoder(categorical_features=["c"]).fit(X), X.head(1), X)


def test_integers_of_polars_that_float64_cannot_distinguish_as_categories():
    X = pl.DataFrame({"c": pl.Series([3, 2**53, 2**53 + 1, 2**64 - 1] * 5, dtype=pl.UInt64), "x": np.arange(20.0)})

    assert_same(FeatureEncoder(categorical_features=["c"]).fit(X), X.head(1), X)


def test_the_smallest_integer_as_a_category():
    X = pd.DataFrame({"c": np.array([3, -(2**63)] * 5), "x": np.arange(10.0)})

    assert_same(FeatureEncoder(categorical_features=["c"]).fit(X), X.head(1), X)


def test_unsigned_64_bit_integers_are_numeric():
    X = pd.DataFrame({"c": np.arange(0, 2**64, 2**59, dtype=np.uint64)})

    assert_same(FeatureEncoder().fit(X), X.head(1), X)
    assert_same(FeatureEncoder().fit(X.to_numpy()), X.to_numpy()[:1], X.to_numpy())


def test_an_array_of_objects_may_hold_pandas_na():
    X = np.array([[pd.NA, 1.0], [3, pd.NA], [None, np.nan]] * 9, dtype=object)
    words = np.array([[pd.NA, 1.0], ["b", pd.NA], [None, np.nan]] * 9, dtype=object)

    for table in (X, words):
        assert_same(FeatureEncoder().fit(table), table, table)


def test_an_array_with_numeric_columns_and_categories():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=60), rng.integers(0, 3, 60), rng.normal(size=60), rng.integers(0, 12, 60)])

    assert_same(FeatureEncoder(categorical_features=[1, 3]).fit(X), X, X)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1, 2, None] * 9, dtype="Int64"),
        pd.Series([True, False, None] * 9, dtype="boolean"),
        pd.Series(["a", "b", None] * 9, dtype="category"),
        pd.Series([3, 4, None] * 9, dtype="category"),
        pd.Series(["a", "b", None] * 9, dtype="string"),
        pd.Series([1.5, None, 2.5] * 9, dtype=object),
        pd.Series([3, "3", 3.0] * 9, dtype=object),
        pd.Series([None, "x", None] * 9),
    ],
    ids=lambda column: f"{column.dtype} {column[1]}",
)
def test_columns_of_every_dtype_of_pandas(column):
    X = pd.DataFrame({"c": column, "x": np.arange(27.0)})

    assert_same(FeatureEncoder().fit(X), X, X)


def test_columns_of_polars():
    X = pl.DataFrame(
        {"a": ["u", None, "w"] * 9, "b": [1.0, None, 3.0] * 9, "c": [1, 2, 3] * 9, "d": [True, False, None] * 9}
    )

    assert_same(FeatureEncoder().fit(X), X, X)


def test_an_array_of_objects_has_an_input_per_column_or_one_for_all():
    mixed = np.array([["a", 1.5], ["b", None], [None, 2.5]] * 9, dtype=object)
    words = np.array([["a", "x"], ["b", None], [None, "y"]] * 9, dtype=object)

    assert [spec.name for spec in infer_inputs(mixed)] == ["x0", "x1"]
    assert [(spec.name, spec.shape) for spec in infer_inputs(words)] == [("X", (2,))]
    assert_same(FeatureEncoder().fit(mixed), mixed, mixed)
    assert_same(FeatureEncoder().fit(words), words, words)


@pytest.mark.parametrize("max_one_hot", [0, 8])
def test_a_category_without_any_value_in_the_fit_is_a_column_of_zeros(max_one_hot):
    nothing = pd.Series([None, None, None], dtype="category")
    X = pd.DataFrame({"c": nothing, "x": [1.0, 2.0, 3.0]})

    assert_same(FeatureEncoder(max_one_hot=max_one_hot).fit(X), X, X)
    assert_same(FeatureEncoder(max_one_hot=max_one_hot).fit(X[["c"]]), X[["c"]], X[["c"]])
    words, numbers = pd.DataFrame({"c": ["0", "", "x"]}), pd.DataFrame({"c": [0, 1, 2]})
    for sample in (words, numbers, numbers.astype(float), numbers == 0):
        assert_same(FeatureEncoder(max_one_hot=max_one_hot).fit(X[["c"]]), sample, sample)


def test_the_empty_string_as_a_category_is_refused():
    X = pd.DataFrame({"city": ["", "Rome", "Oslo"] * 10})
    clf = NeuralClassifier(hidden_layer_sizes=(4,), max_iter=1, random_state=0).fit(X, [0, 1, 1] * 10)

    with pytest.raises(ValueError, match="'city' has the empty string as a category, which means missing in ONNX"):
        to_onnx(clf, X)


@pytest.mark.filterwarnings(UNSEEN)
def test_a_numeric_sample_for_a_category_of_words_is_refused():
    X = pd.DataFrame({"city": ["Bern", "Rome", "Oslo"] * 10})
    clf = NeuralClassifier(hidden_layer_sizes=(4,), max_iter=1, random_state=0).fit(X, [0, 1, 1] * 10)

    with pytest.raises(ValueError, match=r"'city' is a category of .* in fit, and holds numbers in X_sample"):
        to_onnx(clf, X.assign(city=np.arange(30)))

"""Columns without any value in the sample get the type of the training table."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from sknn import NeuralClassifier, OnnxPredictor
from sknn.export import to_onnx
from sknn.export.onnx.categories import find_categories

SMALL = {"hidden_layer_sizes": (4,), "max_iter": 2, "ensemble_size": 1, "random_state": 0, "early_stopping": False}
N = 40
SIZE = np.arange(float(N))
WORDS = [None] * (N // 2) + ["Oslo", "Rome", "Bern", None] * (N // 8)
CODES = [None] * (N // 2) + ["7", "8", "9", "7"] * (N // 8)
LABELS = np.arange(N) % 3


def clf(**params):
    return NeuralClassifier(**SMALL | params)


def pandas_frame(dtype, values=WORDS):
    return pd.DataFrame({"size": SIZE, "city": pd.Series(values, dtype=dtype)})


def head_with(dtype):
    """Return the first rows, which have no city, with different dtypes."""
    return lambda X: X.head().astype({"city": object}).astype({"city": dtype})


POLARS = pl.DataFrame({"size": SIZE, "city": WORDS})
TABLES = {
    **{dtype: (pandas_frame(dtype), pd.DataFrame.head) for dtype in ("str", "object", "category", "string")},
    "numbers of a file": (pandas_frame("object"), head_with(float)),
    "category of no values": (pandas_frame("category"), head_with("category")),
    "digits": (pandas_frame("object", CODES), pd.DataFrame.head),
    "polars": (POLARS, pl.DataFrame.head),
    "polars categories": (POLARS.with_columns(pl.col("city").cast(pl.Categorical)), pl.DataFrame.head),
    "polars without a type": (POLARS, lambda X: X.head().with_columns(city=None)),
    "array": (pandas_frame("object").to_numpy(), lambda X: X[:5]),
    "array of words": (np.array([WORDS, CODES], dtype=object).T, lambda X: X[:5]),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_sample_without_values_of_a_category_gives_the_same_graph_as_the_whole_table(name):
    X, sample = TABLES[name]
    model = clf().fit(X, LABELS)
    predictor = OnnxPredictor(to_onnx(model, sample(X)).SerializeToString())

    np.testing.assert_allclose(predictor.predict_proba(X), model.predict_proba(X), atol=1e-6)


def test_the_metadata_describe_it_as_a_category():
    X = pandas_frame("object")
    predictor = OnnxPredictor(to_onnx(clf().fit(X, LABELS), X.head()).SerializeToString())
    described = predictor.metadata["data"]["columns"][1]

    assert predictor.metadata["features"][1] == {"name": "city", "type": "string"}
    assert described == {"name": "city", "kind": "category", "missing": 1.0, "n_levels": 0, "levels": {}, "other": 0.0}


def test_numeric_categories_stay_numeric():
    X = pd.DataFrame({"size": SIZE, "year": [np.nan] * 20 + [2020.0, 2021.0] * 10})
    model = clf(categorical_features=["year"]).fit(X, LABELS)
    predictor = OnnxPredictor(to_onnx(model, X.head()).SerializeToString())

    assert predictor.metadata["features"][1] == {"name": "year", "type": "double"}
    np.testing.assert_allclose(predictor.predict_proba(X), model.predict_proba(X), atol=1e-6)


def test_a_numeric_column_without_any_value_stays_numeric():
    X = pd.DataFrame({"size": SIZE, "weight": pd.Series([None] * 20 + [1.5, 2.5] * 10, dtype=object)})
    model = clf().fit(X, LABELS)
    predictor = OnnxPredictor(to_onnx(model, X.head()).SerializeToString())

    assert predictor.metadata["features"][1] == {"name": "weight", "type": "double"}
    np.testing.assert_allclose(predictor.predict_proba(X), model.predict_proba(X), atol=1e-6)


FILLED = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
PIPELINES = {
    "words beside the rest": ColumnTransformer([("size", StandardScaler(), ["size"])], remainder="passthrough"),
    "words by name": make_column_transformer((StandardScaler(), ["size"]), ("passthrough", ["city"])),
    "one-hot columns": make_column_transformer((StandardScaler(), ["size"]), (FILLED, ["city"])),
    "filled words": make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), OrdinalEncoder()), ["city"]),
        remainder="passthrough",
    ),
}


@pytest.mark.parametrize("dtype", ["str", "object"])
@pytest.mark.parametrize("name", PIPELINES)
def test_the_steps_of_a_pipeline_decide(name, dtype):
    missing = np.nan if dtype == "object" else None  # an imputer takes None in a column of objects for a category
    X = pandas_frame(dtype, [missing if word is None else word for word in WORDS])
    model = make_pipeline(PIPELINES[name], clf()).fit(X, LABELS)
    predictor = OnnxPredictor(to_onnx(model, X.head()).SerializeToString())

    np.testing.assert_allclose(predictor.predict_proba(X), model.predict_proba(X), atol=1e-6)


def test_the_categories_that_the_steps_of_a_pipeline_know():
    X = pandas_frame("str").assign(shop=["a", "b"] * (N // 2), year=[2020, 2021] * (N // 2))
    words = [("ordinal", OrdinalEncoder(), ["shop"]), ("one-hot", FILLED, ["city"])]
    kept = [("passed", "passthrough", ["shop"]), ("function", FunctionTransformer(), ["city"])]
    targets = ColumnTransformer([("target", TargetEncoder(cv=2), ["year", "shop"])])
    union = FeatureUnion([("numbers", make_column_transformer((StandardScaler(), ["size"]))), ("targets", targets)])
    expected = {
        ColumnTransformer(words): {1: ["Bern", "Oslo", "Rome"], 2: ["a", "b"]},
        ColumnTransformer(kept): {1: ["Bern", "Oslo", "Rome"], 2: ["a", "b"]},
        union: {2: ["a", "b"], 3: ["2020", "2021"]},
        make_column_transformer(("drop", ["shop", "city"]), remainder=StandardScaler()): {},
    }
    for first, found in expected.items():
        model = make_pipeline(first, clf()).fit(X, LABELS)
        assert {j: sorted(set(levels)) for j, levels in find_categories(model, 4).items()} == found


def test_rows_of_more_dimensions_have_no_categories():
    import torch

    images = np.random.default_rng(0).normal(size=(N, 1, 2)).astype(np.float32)
    param_buffer = lambda shape, k: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, k))  # noqa: E731
    assert find_categories(clf(module=param_buffer).fit(images, LABELS), 1) == {}

"""`OnnxPredictor` has the predictions of the estimator, from any type of table, without torch or scikit-learn."""

import json
import re
import sys

import numpy as np
import onnx
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skl2onnx import to_onnx
from skl2onnx.common.data_types import (
    BooleanTensorType,
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sknn import NeuralClassifier, NeuralRegressor, OnnxPredictor, export
from sknn.onnx_predictor.predictor import BLOCK_ROWS
from sknn.preprocessing.levels import as_level, is_missing
from sknn.preprocessing.values import as_float64
from tests.common import ALIKE, printed, python

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4))
LABELS = np.array(["no", "yes"])[(X[:, 0] + X[:, 1] > 0).astype(int)]
FRAME = pd.DataFrame(
    {"size": X[:, 0], "shelf": rng.integers(0, 4, 60), "city": rng.choice(["Oslo", "Rome", ""], 60), "new": X[:, 2] > 0}
)
FRAME_TYPES = [
    ("size", DoubleTensorType([None, 1])),
    ("shelf", Int64TensorType([None, 1])),
    ("city", StringTensorType([None, 1])),
    ("new", BooleanTensorType([None, 1])),
]


def make_predictor(model, metadata=None, n_threads=1):
    if metadata is not None:
        onnx.helper.set_model_props(model, {"sknn": json.dumps(metadata)})
    return OnnxPredictor(model.SerializeToString(), n_threads=n_threads)


@pytest.fixture(scope="module")
def classifier():
    return LogisticRegression().fit(X, LABELS)


@pytest.fixture(scope="module")
def array_model(classifier):
    return to_onnx(classifier, X[:1], options={"zipmap": False})


@pytest.fixture(scope="module")
def frame_pipeline():
    columns = make_column_transformer(
        (StandardScaler(), ["size", "shelf"]), (OneHotEncoder(), ["city"]), ("passthrough", ["new"])
    )
    return make_pipeline(columns, LogisticRegression()).fit(FRAME, LABELS)


@pytest.fixture(scope="module")
def frame_predictor(frame_pipeline):
    # skl2onnx concatenates a bool column with numeric ones only if it is declared as float.
    types = [*FRAME_TYPES[:3], ("new", FloatTensorType([None, 1]))]
    return make_predictor(to_onnx(frame_pipeline, initial_types=types, options={"zipmap": False}))


def one_input_model(dtype, output_dtype=None, shape=(None, 1), name="x"):
    """Make a graph that returns its input."""
    node = onnx.helper.make_node("Identity", [name], ["out"])
    type_in = onnx.helper.make_tensor_value_info(name, dtype, shape)
    type_out = onnx.helper.make_tensor_value_info("out", output_dtype or dtype, shape)
    graph = onnx.helper.make_graph([node], "echo", [type_in], [type_out])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def echo(dtype):
    """Make a predictor that returns the tensor of its column, of this type."""
    return make_predictor(one_input_model(dtype), {"features": [{"name": "x"}]})


ECHO_TEXT, ECHO_NUMBER = echo(onnx.TensorProto.STRING), echo(onnx.TensorProto.DOUBLE)


# --- The same predictions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [X, X.astype(np.float32), X.tolist(), np.asfortranarray(X), X.astype(object)])
def test_arrays_of_any_type_give_the_probabilities_of_the_estimator(classifier, array_model, table):
    predictor = make_predictor(array_model)

    np.testing.assert_allclose(predictor.predict_proba(table), classifier.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(predictor.predict(table), classifier.predict(X))


def test_integers_are_accepted_for_float_inputs(classifier, array_model):
    table = np.arange(8).reshape(2, 4)

    np.testing.assert_allclose(
        make_predictor(array_model).predict_proba(table), classifier.predict_proba(table), atol=1e-6
    )


def test_a_file_and_its_content_give_the_same_predictions(array_model, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(array_model.SerializeToString())

    np.testing.assert_array_equal(OnnxPredictor(path).predict(X), make_predictor(array_model).predict(X))
    np.testing.assert_array_equal(OnnxPredictor(str(path)).predict(X), make_predictor(array_model).predict(X))


def test_probabilities_that_come_as_a_dict_per_row_become_an_array(classifier):
    predictor = make_predictor(to_onnx(classifier, X[:1].astype(np.float32)))

    np.testing.assert_allclose(predictor.predict_proba(X), classifier.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_a_regressor_gives_values_and_has_no_probabilities(n_outputs):
    y = X[:, :2] @ np.ones((2, n_outputs))
    regressor = LinearRegression().fit(X, y[:, 0] if n_outputs == 1 else y)
    predictor = make_predictor(to_onnx(regressor, X[:1]))

    np.testing.assert_allclose(predictor.predict(X), regressor.predict(X), atol=1e-5)
    assert not hasattr(predictor, "predict_proba")
    with pytest.raises(AttributeError, match="holds a regressor, which has no 'predict_proba'"):
        predictor.predict_proba(X)


def test_the_number_of_threads_does_not_change_predictions(array_model):
    one, two = make_predictor(array_model), make_predictor(array_model, n_threads=2)

    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


@pytest.mark.parametrize(
    "estimator",
    [
        NeuralClassifier(),
        NeuralClassifier(ensemble_size=1, scaling="quantile"),
        NeuralRegressor(),
        NeuralRegressor(loss="quantile", quantile=(0.1, 0.9)),
    ],
    ids=repr,
)
def test_an_exported_network_predicts_from_the_raw_table(estimator):
    estimator.set_params(hidden_layer_sizes=4, max_iter=2, random_state=0)
    frame = FRAME.assign(city=FRAME["city"].replace("", None))
    y = LABELS if isinstance(estimator, NeuralClassifier) else 1e3 + X[:, 0]
    predictor = make_predictor(export.to_onnx(estimator.fit(frame, y), frame))

    assert predictor.feature_names_in_.tolist() == estimator.feature_names_in_.tolist()
    assert predictor.n_features_in_ == estimator.n_features_in_
    assert predictor.metadata["estimator"] == type(estimator).__name__
    for table in (frame[["new", "city", "shelf", "size"]], frame.head(1), frame.to_dict("records")):
        expected = frame.head(1) if len(table) == 1 else frame
        if isinstance(estimator, NeuralRegressor):
            np.testing.assert_allclose(predictor.predict(table), estimator.predict(expected), rtol=1e-6)
            continue
        np.testing.assert_array_equal(predictor.predict(table), estimator.predict(expected))
        np.testing.assert_allclose(predictor.predict_proba(table), estimator.predict_proba(expected), atol=1e-6)
        np.testing.assert_array_equal(predictor.classes_, estimator.classes_)


@pytest.mark.parametrize("labels", [LABELS, LABELS == "no", (LABELS == "no") * 2 - 1, (LABELS == "no") * 1.0], ids=str)
def test_labels_have_the_type_of_the_training_labels(labels):
    estimator = NeuralClassifier(hidden_layer_sizes=4, max_iter=1, random_state=0).fit(X, labels)
    predictor = make_predictor(export.to_onnx(estimator, X))

    np.testing.assert_array_equal(predictor.predict(X), estimator.predict(X))
    assert predictor.predict(X).dtype.kind == labels.dtype.kind
    assert predictor.classes_.dtype.kind == labels.dtype.kind
    assert not hasattr(predictor, "feature_names_in_")


# --- One run, and the members -------------------------------------------------------------------------------------

CITIES = FRAME.assign(city=FRAME["city"].replace("", None))
SMALL = {"hidden_layer_sizes": 4, "max_iter": 3, "ensemble_size": 3, "random_state": 0}


def weighted_mean(members, predictor):
    return np.average(members, axis=1, weights=predictor.member_weights_)


def test_the_weights_of_the_members_are_those_of_the_estimator():
    clf = NeuralClassifier(**SMALL).fit(X, LABELS)
    alike = NeuralClassifier(**SMALL | ALIKE).fit(X, LABELS)

    weights = make_predictor(export.to_onnx(clf, X)).member_weights_
    np.testing.assert_array_equal(weights, clf.member_weights_)
    assert len(set(weights)) == 2
    assert make_predictor(export.to_onnx(alike, X, members=True)).member_weights_ is None


def test_a_foreign_model_has_no_weights(frame_predictor):
    assert frame_predictor.member_weights_ is None


@pytest.mark.parametrize("weights", [3, [], ["a"], [0.5, None], [-0.5, 0.5], [0, 0], [1e400], [float("nan")], {"a": 1}])
def test_damaged_weights_are_refused(weights):
    with pytest.raises(ValueError, match="damaged, in member_weights"):
        make_predictor(one_input_model(onnx.TensorProto.DOUBLE), {"member_weights": weights})


def test_weights_of_another_number_of_members_are_refused():
    program = export.to_onnx(NeuralClassifier(**SMALL).fit(X, LABELS), X, members=True)

    with pytest.raises(ValueError, match="The model has 3 members, and its metadata name 2 weights; export it again"):
        make_predictor(program, {"member_weights": [0.5, 0.5]})


def test_one_run_gives_the_labels_the_probabilities_and_the_members():
    clf = NeuralClassifier(**SMALL).fit(CITIES, LABELS)
    predictor = make_predictor(export.to_onnx(clf, CITIES, members=True))
    values, probabilities, members, _ = predictor.run(CITIES)

    np.testing.assert_array_equal(values, clf.predict(CITIES))
    np.testing.assert_array_equal(probabilities, predictor.predict_proba(CITIES))
    np.testing.assert_array_equal(members, predictor.predict_proba_members(CITIES))
    np.testing.assert_allclose(weighted_mean(members, predictor), clf.predict_proba(CITIES), atol=1e-6)
    assert values.dtype.kind == "U"
    np.testing.assert_array_equal(predictor.predict_members(CITIES), clf.classes_[members.argmax(2)])


def test_one_run_of_a_regressor_has_no_probabilities():
    reg = NeuralRegressor(**SMALL).fit(X, 1e5 * X[:, 0])
    predictor = make_predictor(export.to_onnx(reg, X, members=True))
    outputs = predictor.run(X)

    np.testing.assert_allclose(outputs.values, reg.predict(X), rtol=1e-4)
    assert outputs.probabilities is None
    assert outputs.members.shape == (60, 3, 1)
    np.testing.assert_allclose(weighted_mean(predictor.predict_members(X), predictor), reg.predict(X), rtol=1e-4)
    assert not hasattr(predictor, "predict_proba_members")


def test_members_of_several_outputs_keep_their_axis():
    predictor = make_predictor(export.to_onnx(NeuralRegressor(**SMALL).fit(X, X[:, :2]), X, members=True))

    assert predictor.predict_members(X).shape == (60, 3, 2)


def test_members_of_a_multilabel_model_predict_each_label():
    clf = NeuralClassifier(**SMALL).fit(X, (X[:, :2] > 0).astype(int))
    predictor = make_predictor(export.to_onnx(clf, X, members=True))

    labels = predictor.predict_members(X)
    assert (labels.shape, labels.dtype) == ((60, 3, 2), np.int64)
    np.testing.assert_array_equal(labels, predictor.predict_proba_members(X) > 0.5)


def test_a_model_without_the_members_names_the_option():
    predictor = make_predictor(export.to_onnx(NeuralClassifier(**SMALL).fit(X, LABELS), X))

    assert predictor.run(X).members is None
    for predict in (predictor.predict_members, predictor.predict_proba_members):
        with pytest.raises(ValueError, match=re.escape("export it again with sknn.export.to_onnx(..., members=True)")):
            predict(X)


@pytest.mark.parametrize("zipmap", [True, False, "columns"])
def test_one_run_understands_each_form_of_the_probabilities(zipmap):
    clf = NeuralClassifier(**SMALL).fit(X, LABELS)
    predictor = make_predictor(export.to_onnx(clf, X, members=True, options={"zipmap": zipmap}))
    values, probabilities, members, _ = predictor.run(X)

    np.testing.assert_array_equal(values, clf.predict(X))
    np.testing.assert_allclose(probabilities, clf.predict_proba(X), atol=1e-6)
    assert members.shape == (60, 3, 2)


def test_a_foreign_model_has_values_and_probabilities(frame_pipeline, frame_predictor):
    values, probabilities, members, _ = frame_predictor.run(FRAME)

    np.testing.assert_array_equal(values, frame_pipeline.predict(FRAME))
    np.testing.assert_allclose(probabilities, frame_pipeline.predict_proba(FRAME), atol=1e-6)
    assert members is None


def test_inputs_and_outputs_are_described():
    predictor = make_predictor(export.to_onnx(NeuralClassifier(**SMALL).fit(CITIES, LABELS), CITIES, members=True))

    assert [(i.name, i.dtype, i.shape) for i in predictor.inputs] == [
        ("size", np.float64, (1,)),
        ("shelf", np.int64, (1,)),
        ("city", np.object_, (1,)),
        ("new", np.bool_, (1,)),
    ]
    assert [(o.name, o.dtype, o.shape) for o in predictor.outputs] == [
        ("label", np.object_, (None,)),
        ("probabilities", np.float32, (None, 2)),
        ("member_probabilities", np.float32, (None, 3, 2)),
    ]


def test_the_raw_outputs_are_those_of_the_graph():
    clf = NeuralClassifier(**SMALL).fit(X, LABELS)
    predictor = make_predictor(export.to_onnx(clf, X, options={"output_class_labels": True}))
    raw = predictor.run(X).raw

    assert list(raw) == ["label", "probabilities", "class_labels"]
    assert raw["label"].dtype == object
    assert raw["class_labels"].tolist() == ["no", "yes"]
    np.testing.assert_allclose(raw["probabilities"], clf.predict_proba(X), atol=1e-6)
    zipped = make_predictor(export.to_onnx(clf, X, options={"zipmap": True}))
    assert zipped.outputs[1].dtype is None
    assert list(zipped.run(X).raw["output_probability"][0]) == ["no", "yes"]


def test_one_run_checks_the_rows_as_predict_does(frame_predictor):
    with pytest.raises(ValueError, match="X lacks columns"):
        frame_predictor.run(FRAME[["size"]])
    with pytest.raises(ValueError, match="Column 'size' contains infinity"):
        frame_predictor.run({name: FRAME[name].to_numpy()[:1] for name in FRAME} | {"size": [np.inf]})


# --- Tables with names --------------------------------------------------------------------------------------------


def tables():
    shuffled = FRAME[["new", "city", "size", "shelf"]]
    return {
        "pandas": FRAME,
        "pandas, other order": shuffled,
        "pandas, other types": FRAME.astype(
            {"city": "category", "shelf": "Float64", "size": "float32", "new": "boolean"}
        ),
        "polars": pl.from_pandas(shuffled),
        "dict": FRAME.to_dict("list"),
        "dict of arrays": {name: FRAME[name].to_numpy() for name in shuffled},
        "records": FRAME.to_dict("records"),
        "array of objects": FRAME.to_numpy(dtype=object),
        "rows": FRAME.to_numpy(dtype=object).tolist(),
        "with another column": FRAME.assign(id=range(60)),
    }


@pytest.mark.parametrize("table", [pytest.param(table, id=name) for name, table in tables().items()])
def test_tables_of_any_type_give_the_probabilities_of_the_pipeline(frame_pipeline, frame_predictor, table):
    np.testing.assert_allclose(frame_predictor.predict_proba(table), frame_pipeline.predict_proba(FRAME), atol=1e-6)


def test_names_of_inputs_are_names_of_columns(frame_predictor):
    assert frame_predictor.feature_names_in_.tolist() == ["size", "shelf", "city", "new"]
    assert frame_predictor.n_features_in_ == 4
    assert frame_predictor.metadata == {}
    assert not hasattr(frame_predictor, "classes_")


def test_missing_columns_are_named(frame_predictor):
    match = re.escape("X lacks columns that the model was fitted with: ['shelf', 'new']. It has ['size', 'city'].")
    with pytest.raises(ValueError, match=match):
        frame_predictor.predict(FRAME[["size", "city"]])


def test_a_record_without_a_value_is_named(frame_predictor):
    records = FRAME.head(2).to_dict("records")
    del records[1]["city"]

    with pytest.raises(ValueError, match=r"Row 1 of X lacks columns .*: \['city'\]; give None"):
        frame_predictor.predict(records)


def test_columns_of_different_lengths_are_refused(frame_predictor):
    columns = FRAME.to_dict("list") | {"city": ["Oslo"]}

    with pytest.raises(ValueError, match=r"The columns of X have different lengths: \[1, 60\]"):
        frame_predictor.predict(columns)


def test_columns_may_be_named_by_numbers():
    frame = pd.DataFrame(X)
    estimator = NeuralClassifier(hidden_layer_sizes=4, max_iter=1, random_state=0).fit(frame, LABELS)
    predictor = make_predictor(export.to_onnx(estimator, frame))

    for table in (frame, frame[[3, 1, 0, 2]], X):
        np.testing.assert_array_equal(predictor.predict(table), estimator.predict(frame))


def test_metadata_names_the_columns_of_one_wide_input(classifier, array_model):
    metadata = {"features": [{"name": name} for name in "abcd"], "classes": ["no", "yes"]}
    predictor = make_predictor(onnx.ModelProto.FromString(array_model.SerializeToString()), metadata)
    frame = pd.DataFrame(X, columns=list("abcd"))[list("dbca")]

    np.testing.assert_allclose(predictor.predict_proba(frame), classifier.predict_proba(X), atol=1e-6)
    assert predictor.classes_.tolist() == ["no", "yes"]
    assert predictor.metadata == metadata


def test_a_table_with_names_is_refused_by_a_model_without_names(array_model):
    with pytest.raises(ValueError, match=r"fitted without names; give an array of 4 columns in the order of the fit"):
        make_predictor(array_model).predict(pd.DataFrame(X))


def test_the_columns_are_distributed_over_several_wide_inputs():
    first = onnx.helper.make_tensor_value_info("first", onnx.TensorProto.FLOAT, (None, 2))
    second = onnx.helper.make_tensor_value_info("second", onnx.TensorProto.DOUBLE, (None, 1))
    out = onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, (None, 3))
    nodes = [
        onnx.helper.make_node("Cast", ["second"], ["cast"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Concat", ["first", "cast"], ["out"], axis=1),
    ]
    graph = onnx.helper.make_graph(nodes, "echo", [first, second], [out])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    predictor = make_predictor(model, {"features": [{"name": name} for name in "abc"]})

    np.testing.assert_allclose(predictor.predict(X[:, :3]), X[:, :3], rtol=1e-6)
    np.testing.assert_allclose(
        predictor.predict(pd.DataFrame(X[:, [2, 1, 0]], columns=list("cba"))), X[:, :3], rtol=1e-6
    )


# --- Types and missing values -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column", [[1.5, None], np.array([1.5, np.nan]), pd.Series([1.5, pd.NA], dtype="Float64"), pl.Series([1.5, None])]
)
def test_missing_numbers_are_nan(column):
    np.testing.assert_array_equal(echo(onnx.TensorProto.DOUBLE).predict({"x": column}), [1.5, np.nan])


@pytest.mark.parametrize(
    "column",
    [
        ["a", None],
        ["a", np.nan],
        np.array(["a", None], dtype=object),
        pd.Series(["a", None]),
        pd.Series(["a", pd.NA], dtype="string"),
        pd.Series(["a", None], dtype="category"),
        pl.Series(["a", None]),
    ],
)
def test_missing_strings_are_empty(column):
    assert echo(onnx.TensorProto.STRING).predict({"x": column}).tolist() == ["a", ""]


# ONNX Runtime ends a string at its first NUL.
WORDS = st.text(st.characters(exclude_characters="\0", codec="utf-8"))


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([2**53 + 1, None], dtype="Int64"),
        pd.Series([2**53 + 1, None], dtype="int64[pyarrow]"),
        pl.Series([2**53 + 1, None]),
        [2**53 + 1, None],
    ],
)
def test_integers_beside_missing_ones_keep_their_digits_as_categories(column):
    assert ECHO_TEXT.predict({"x": column}).tolist() == ["9007199254740993", ""]


NUMBERS = (
    st.integers() | st.floats() | st.booleans() | st.floats(width=32).map(np.float32) | st.booleans().map(np.bool_)
)
DECIMALS = st.decimals(allow_infinity=False, min_value=-(10**9), max_value=10**9)


@given(st.lists(WORDS | NUMBERS | DECIMALS | st.none() | st.just(pd.NA), min_size=1))
def test_a_category_has_the_name_that_the_estimator_gives_it(column):
    texts = ECHO_TEXT.predict({"x": column}).tolist()

    assert texts == ["" if is_missing(value) else as_level(value) for value in column]


@given(st.lists(st.floats(-1e300, 1e300) | st.integers(-(2**60), 2**60) | st.booleans() | st.none(), min_size=1))
def test_numeric_columns_are_read_as_by_the_estimator(column):
    for values in (column, np.array(column, dtype=object), pd.Series(column, dtype=object)):
        np.testing.assert_array_equal(
            ECHO_NUMBER.predict({"x": values}), as_float64(np.array(column, dtype=object)), strict=True
        )


def test_a_fraction_is_refused_for_an_integer_input():
    predictor = echo(onnx.TensorProto.INT64)

    assert predictor.predict({"x": [1.0, 2.0]}).tolist() == [1, 2]
    for column in ([1.5], [np.nan], [None]):
        with pytest.raises(
            ValueError, match="Column 'x' holds values that the model's type for it, int64, cannot hold"
        ):
            predictor.predict({"x": column})


@pytest.mark.parametrize("column", [["3"], ["a", 1.0], np.array(["2020-01-01"], dtype="datetime64[D]")])
def test_other_values_are_refused_for_a_numeric_column(column):
    with pytest.raises(ValueError, match="Column 'x' held numbers in fit, and holds something else now"):
        echo(onnx.TensorProto.FLOAT).predict({"x": column})


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e39])
def test_values_beyond_the_range_of_the_input_are_refused(array_model, value):
    with pytest.raises(ValueError, match="contains infinity or a value too large for float32"):
        echo(onnx.TensorProto.FLOAT).predict({"x": [value]})


# --- Shapes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [X[0], X[0].tolist(), FRAME.iloc[0]])
def test_a_row_without_its_table_is_refused_with_advice(array_model, row):
    with pytest.raises(
        ValueError, match=r"Expected a 2D array, .* X\.reshape\(1, -1\) of an array, frame\.iloc\[\[0\]\]"
    ):
        make_predictor(array_model).predict(row)


def test_a_record_without_its_list_is_refused_with_advice(frame_predictor):
    with pytest.raises(ValueError, match=r"Column 'size' has shape \(\); .* give lists of one value"):
        frame_predictor.predict(FRAME.iloc[0].to_dict())


def test_a_different_number_of_columns_is_refused_as_in_scikit_learn(array_model):
    with pytest.raises(ValueError, match="X has 3 features, but OnnxPredictor is expecting 4 features as input"):
        make_predictor(array_model).predict(X[:, :3])


def test_empty_tables_are_refused(array_model, frame_predictor):
    for predictor, table in [(make_predictor(array_model), X[:0]), (frame_predictor, FRAME.head(0))]:
        with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
            predictor.predict(table)


def test_rows_of_more_dimensions_keep_their_shape():
    predictor = make_predictor(one_input_model(onnx.TensorProto.FLOAT, shape=(None, 1, 8, 8)))
    images = rng.normal(size=(3, 1, 8, 8))

    np.testing.assert_allclose(predictor.predict(images), images, rtol=1e-6)
    with pytest.raises(
        ValueError, match=r"X has rows of shape \(1, 8, 7\), but the model takes rows of shape \(1, 8, 8\)"
    ):
        predictor.predict(images[..., :7])


# --- Files that are no models -------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x80\x04pickle"])
def test_the_error_names_a_file_that_is_not_onnx(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    for model, what in [(path, re.escape(str(path))), (content, f"{len(content)} bytes")]:
        with pytest.raises(ValueError, match=f"{what}.* is not an ONNX model that ONNX Runtime .* can run"):
            OnnxPredictor(model)


# --- Graphs that are broken ---------------------------------------------------------------------------------------

MUTANTS = 1000  # some seconds


@pytest.mark.slow
def test_broken_graphs_raise_valueerror_or_predict():
    done = python("-X", "faulthandler", "-m", "tests.onnx_fuzz", MUTANTS, 0)

    assert done.returncode == 0, done.stderr[-3000:]  # -6 and -11 are crashes of the interpreter
    found = json.loads(done.stdout)
    assert found["others"] == {}
    assert done.stderr == ""
    assert sum(found["results"].values()) == MUTANTS
    for result in ("bytes: predicted", "program: predicted"):  # otherwise the test would test only the parser
        assert found["results"][result] > MUTANTS / 25
    assert found["results"]["program: prediction: refused"] > MUTANTS / 100


def changed(model, change):
    """Return a changed copy of the model."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    change(copy)
    return copy


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("{", "are not JSON: .*; export it again with sknn.export.to_onnx"),
        ("[" * 100_000, "are not JSON: .*recursion"),
        ("[]", "are a list, not a dict"),
        ('{"classes": [[1], 2]}', "are damaged, in classes"),
        ('{"classes": 3, "features": [{"nam": "a"}], "named": 1}', "are damaged, in named, features, classes"),
    ],
)
def test_damaged_metadata_are_refused(array_model, metadata, message):
    model = changed(array_model, lambda copy: onnx.helper.set_model_props(copy, {"sknn": metadata}))

    with pytest.raises(ValueError, match=f"^The model's metadata 'sknn' {message}"):
        OnnxPredictor(model.SerializeToString())


def test_metadata_with_a_different_number_of_columns_are_refused(array_model):
    with pytest.raises(ValueError, match="inputs take 4 columns, and its metadata name 2 of them; export it again"):
        make_predictor(changed(array_model, lambda copy: None), {"features": [{"name": "a"}, {"name": "b"}]})


def test_a_graph_without_inputs_is_refused():
    constant = onnx.helper.make_node("Constant", [], ["out"], value_float=1.0)
    out = onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, ())
    graph = onnx.helper.make_graph([constant], "constant", [], [out])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)

    with pytest.raises(ValueError, match="The model has 0 inputs and 1 outputs, and a prediction needs one of each"):
        make_predictor(model)


def one_node_model(op, name="out"):
    node = onnx.helper.make_node(op, ["x"], [name])
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (None, 2))
    out = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None)
    graph = onnx.helper.make_graph([node], "one", [value], [out])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def test_an_output_without_an_entry_for_each_row_is_refused():
    with pytest.raises(ValueError, match="The model's output 'out' has 0 rows for 60 rows of X; export it again"):
        make_predictor(one_node_model("Size")).predict(X[:, :2])
    with pytest.raises(ValueError, match="The model's output 'out' has 2 rows for 60 rows of X"):
        make_predictor(one_node_model("Shape")).predict(X[:, :2])


def test_a_graph_that_fails_raises_one_readable_error(capfd):
    model = to_onnx(LinearRegression().fit(X, X @ np.ones((4, 2))), X[:1].astype(np.float32))
    node = onnx.helper.make_node("Gather", ["variable", "far"], ["out"], axis=1)
    model.graph.node.append(node)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([9]), "far"))
    model.graph.output[0].name = "out"

    with pytest.raises(
        ValueError, match=r"^ONNX Runtime cannot run the model on these rows: .*out of data bounds"
    ) as caught:
        make_predictor(model).predict(X)
    assert type(caught.value) is ValueError
    assert capfd.readouterr() == ("", "")


def test_an_output_that_is_not_a_table_of_probabilities_is_refused(classifier):
    def label_for_probabilities(copy):
        del copy.graph.output[1]
        copy.graph.output.add().CopyFrom(copy.graph.output[0])
        copy.graph.node.append(onnx.helper.make_node("Identity", ["label"], ["again"]))
        copy.graph.output[1].name = "again"

    model = changed(to_onnx(classifier, X[:1], options={"zipmap": False}), label_for_probabilities)

    with pytest.raises(ValueError, match=r"output \['again'\] is not a table with a probability for each class"):
        make_predictor(model).predict_proba(X)


def test_a_different_number_of_classes_in_the_metadata_is_refused(array_model):
    predictor = make_predictor(changed(array_model, lambda copy: None), {"classes": ["a", "b", "c"]})

    with pytest.raises(ValueError, match="is not a table with a probability for each class"):
        predictor.predict_proba(X)


def test_the_classes_may_be_an_additional_output(classifier):
    model = to_onnx(classifier, X[:1], options={"zipmap": False, "output_class_labels": True})

    np.testing.assert_allclose(make_predictor(model).predict_proba(X), classifier.predict_proba(X), atol=1e-6)


def test_the_error_names_the_column_with_a_string_that_utf_8_cannot_encode():
    with pytest.raises(ValueError, match=r"^Column 'x' holds 'b\\ud800', which UTF-8 cannot encode"):
        ECHO_TEXT.predict({"x": ["a", "b\ud800"]})


# --- Files that are missing, and other inputs ---------------------------------------------------------------------


def test_a_missing_file_raises_filenotfounderror(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.onnx"):
        OnnxPredictor(tmp_path / "nothing.onnx")


def test_an_input_of_an_unknown_type_is_refused():
    with pytest.raises(ValueError, match=r"input 'x' is a tensor\(uint8\); OnnxPredictor knows \['tensor\(bool\)'"):
        make_predictor(one_input_model(onnx.TensorProto.UINT8))


def test_without_onnx_runtime_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(ImportError, match=r"needs onnxruntime; install it with: pip install 'sknn\[onnx\]'"):
        OnnxPredictor(b"")


def test_a_process_that_predicts_loads_neither_torch_nor_scikit_learn(array_model, classifier, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(array_model.SerializeToString())
    code = (
        "import sys\nfrom sknn import OnnxPredictor\n"
        f"print(OnnxPredictor({str(path)!r}).predict({X[:3].tolist()}).tolist())\n"
        "assert not {'torch', 'sklearn', 'skorch', 'scipy', 'pandas'} & set(sys.modules)\n"
    )

    assert printed("-W", "error", "-c", code).strip() == str(classifier.predict(X[:3]).tolist())


def test_dates_for_a_category_are_refused():
    with pytest.raises(ValueError, match=r"Column 'x' held categories in fit, and has the dtype datetime64\[\w+\] now"):
        ECHO_TEXT.predict({"x": np.array(["2026-01-01"], dtype="datetime64[D]")})


def test_a_name_that_occurs_twice_is_refused(frame_predictor):
    twice = pd.concat([FRAME, FRAME[["size"]]], axis=1)

    with pytest.raises(ValueError, match="X has 2 columns called 'size'; rename or drop all but one"):
        frame_predictor.predict(twice)


def test_a_column_may_have_the_default_name_of_columns_without_names():
    frame = pd.DataFrame({"x0": X[:, 0]})
    clf = NeuralClassifier(4, max_iter=1, ensemble_size=1).fit(frame, LABELS)
    predictor = OnnxPredictor(export.to_onnx(clf, frame).SerializeToString())

    np.testing.assert_array_equal(predictor.predict(frame), clf.predict(frame))


def test_a_model_fitted_on_an_array_of_objects_has_no_names():
    table = np.column_stack([X[:, 0].astype(object), LABELS])
    clf = NeuralClassifier(4, max_iter=1, ensemble_size=1, random_state=0).fit(table, LABELS)
    predictor = OnnxPredictor(export.to_onnx(clf, table).SerializeToString())

    assert not hasattr(predictor, "feature_names_in_")
    np.testing.assert_allclose(predictor.predict_proba(table), clf.predict_proba(table), atol=1e-6)


def test_probabilities_may_have_an_output_for_each_class(classifier):
    model = to_onnx(classifier, X[:1], options={"zipmap": "columns"})

    np.testing.assert_allclose(make_predictor(model).predict_proba(X), classifier.predict_proba(X), atol=1e-6)


# --- Many rows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 3 * BLOCK_ROWS + 7])
@pytest.mark.parametrize("options", [{}, {"zipmap": True}, {"zipmap": "columns"}, {"output_class_labels": True}])
def test_blocks_of_rows_are_joined(n_rows, options):
    clf = NeuralClassifier(**SMALL).fit(X, LABELS)
    predictor = make_predictor(export.to_onnx(clf, X, options=options))
    rows = np.random.default_rng(0).normal(size=(n_rows, X.shape[1]))

    assert (predictor.predict(rows) == clf.predict(rows)).all()
    np.testing.assert_allclose(predictor.predict_proba(rows), clf.predict_proba(rows), atol=1e-6)
    outputs = predictor.run(rows)
    assert len(outputs.values) == len(outputs.probabilities) == n_rows
    if "output_class_labels" in options:
        assert outputs.raw["class_labels"].tolist() == ["no", "yes"]


def test_blocks_of_rows_have_the_members_of_all(tmp_path):
    clf = NeuralClassifier(**SMALL).fit(X, LABELS)
    predictor = make_predictor(export.to_onnx(clf, X, members=True))
    rows = np.random.default_rng(0).normal(size=(2 * BLOCK_ROWS + 1, X.shape[1]))

    members = predictor.predict_proba_members(rows)
    np.testing.assert_allclose(weighted_mean(members, predictor), clf.predict_proba(rows), atol=1e-6)

"""`to_onnx`: results and errors."""

import importlib.util
import json

import numpy as np
import onnx
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sknn import NeuralClassifier, NeuralRegressor
from sknn.export import to_onnx
from sknn.export.check import run_graph
from sknn.export.onnx.inputs import infer_inputs
from tests.common import TINY, printed

X = np.random.default_rng(0).normal(size=(60, 3))
CODES = np.digitize(X[:, 0], [-0.5, 0.5])
FRAME = pd.DataFrame(
    {"a": X[:, 0], "b": X[:, 1].astype(np.float32), "c": CODES, "d": X[:, 2] > 0, "e": list("uvw") * 20}
)


def outputs(model, X=X, **options):
    return run_graph(to_onnx(model, X, **options), X, infer_inputs(X))


def test_a_frame_gives_an_input_per_column_named_and_typed_like_it():
    program = to_onnx(NeuralClassifier(**TINY).fit(FRAME, CODES), FRAME)

    types = {i.name: onnx.TensorProto.DataType.Name(i.type.tensor_type.elem_type) for i in program.graph.input}
    assert types == {"a": "DOUBLE", "b": "FLOAT", "c": "INT64", "d": "BOOL", "e": "STRING"}
    assert all(len(i.type.tensor_type.shape.dim) == 2 for i in program.graph.input)
    assert [output.name for output in program.graph.output] == ["label", "probabilities"]


def test_an_array_gives_one_input_of_its_own_type():
    for table, kind in ((X, "DOUBLE"), (X.astype(np.float32), "FLOAT"), ((X * 9).astype(np.int32), "INT64")):
        program = to_onnx(NeuralRegressor(**TINY).fit(table, X[:, 0]), table)
        (value,) = program.graph.input

        assert (value.name, onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)) == ("X", kind)
        assert [output.name for output in program.graph.output] == ["variable"]


def test_columns_may_have_any_name_even_that_of_an_output():
    odd = FRAME.set_axis(["label", "in put", "probabilities", "größe/m", "0"], axis=1)
    clf = NeuralClassifier(**TINY).fit(odd, CODES)
    program = to_onnx(clf, odd)

    assert [i.name for i in program.graph.input] == list(odd.columns)
    assert [output.name for output in program.graph.output] == ["label_", "probabilities_"]
    np.testing.assert_allclose(run_graph(program, odd, infer_inputs(odd))[1], clf.predict_proba(odd), atol=1e-6)


def test_a_column_without_a_name_is_refused():
    frame = FRAME[["a", "b"]].set_axis(["a", ""], axis=1)
    reg = NeuralRegressor(**TINY).fit(frame, X[:, 0])

    with pytest.raises(
        ValueError, match=r"X_sample has columns named \[''\]; the inputs of an ONNX graph need a name each"
    ):
        to_onnx(reg, frame)


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        (np.array([0, 1, 2]), np.int64),
        (np.array([3, 5, 9], dtype=np.uint8), np.int64),
        (np.array(["x", "yy", "ü"]), object),
        (np.array(["x", "yy", "ü"], dtype=object), object),
        (np.array([False, True, True]), np.bool_),
        (np.array([1.0, 2.0, 5.0]), np.float64),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_labels_keep_their_type(labels, dtype):
    clf = NeuralClassifier(**TINY).fit(X, labels[CODES])
    label, p = outputs(clf)

    assert label.dtype == dtype
    np.testing.assert_array_equal(label, clf.predict(X))
    assert p.dtype == np.float32


@pytest.mark.parametrize(
    "labels",
    [np.array([3, 5, 9]), np.array(["x", "yy", "z"]), np.array([False, True, True]), np.array([1.0, 2.0, 5.0])],
    ids=["int", "str", "bool", "float"],
)
def test_options_are_those_of_skl2onnx(labels):
    clf = NeuralClassifier(**TINY).fit(X, labels[CODES])
    p, names = clf.predict_proba(X), clf.classes_.tolist()

    np.testing.assert_array_equal(outputs(clf, options={"nocl": True})[0], p.argmax(1))
    np.testing.assert_array_equal(outputs(clf, options={"output_class_labels": True})[2], clf.classes_)
    first = outputs(clf, options={"zipmap": True})[1][0]
    assert list(first) == names
    assert list(first.values()) == pytest.approx(p[0].tolist(), abs=1e-6)
    columns = outputs(clf, options={"zipmap": "columns"})
    np.testing.assert_allclose(np.stack(columns[1:], 1), p, atol=1e-6)


def test_options_reach_a_classifier_in_a_pipeline():
    model = make_pipeline(StandardScaler(), NeuralClassifier(**TINY)).fit(X, np.array(["x", "y", "z"])[CODES])

    assert outputs(model, options={"nocl": True})[0].dtype == np.int64
    assert outputs(model, options={"neuralclassifier__output_class_labels": True})[2].tolist() == ["x", "y", "z"]


def test_a_search_gives_its_best_estimator():
    search = GridSearchCV(NeuralClassifier(**TINY), {"alpha": [0.0, 0.1]}, cv=2).fit(X, CODES)

    np.testing.assert_allclose(outputs(search)[1], search.predict_proba(X), atol=1e-6)


def test_estimators_of_scikit_learn_are_exported_and_checked_too():
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, CODES)

    np.testing.assert_allclose(outputs(model)[1], model.predict_proba(X), atol=1e-6)


def test_the_graph_is_written_to_path(tmp_path):
    program = to_onnx(NeuralRegressor(**TINY).fit(X, X[:, 0]), X, path=tmp_path / "model.onnx")

    assert onnx.load(tmp_path / "model.onnx") == program


def test_exporting_twice_gives_the_same_bytes():
    clf = NeuralClassifier(**TINY).fit(FRAME, CODES)

    assert to_onnx(clf, FRAME).SerializeToString() == to_onnx(clf, FRAME).SerializeToString()


def test_any_number_of_rows_can_be_predicted():
    clf = NeuralClassifier(**TINY | {"ensemble_size": 2, "numeric_embedding": "periodic"}).fit(FRAME, CODES)
    program = to_onnx(clf, FRAME)

    for n in (1, 2, 60):
        np.testing.assert_allclose(
            run_graph(program, FRAME[:n], infer_inputs(FRAME))[1], clf.predict_proba(FRAME[:n]), atol=1e-6
        )


# --- What is refused ------------------------------------------------------------------------------------------------


def test_an_unfitted_estimator_is_refused():
    for model in (NeuralClassifier(), make_pipeline(StandardScaler(), NeuralRegressor())):
        with pytest.raises(NotFittedError):
            to_onnx(model, X)


def test_a_sparse_sample_is_refused():
    reg = NeuralRegressor(**TINY).fit(sp.csr_array(X), X[:, 0])

    with pytest.raises(
        ValueError, match=r"X_sample is sparse, and ONNX takes dense tensors; give X_sample.toarray\(\)"
    ):
        to_onnx(reg, sp.csr_array(X))
    np.testing.assert_allclose(outputs(reg)[0][:, 0], reg.predict(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("empty", [X[:0], FRAME[:0]])
def test_an_empty_sample_is_refused(empty):
    reg = NeuralRegressor(**TINY).fit(X, X[:, 0])

    with pytest.raises(ValueError, match="X_sample is empty; give rows of the training table"):
        to_onnx(reg, empty)


def test_a_list_is_refused_because_it_has_no_types():
    reg = NeuralRegressor(**TINY).fit(X, X[:, 0])

    with pytest.raises(
        ValueError, match="X_sample has to be a frame or an array, so that its columns have types; got list"
    ):
        to_onnx(reg, X.tolist())


@pytest.mark.parametrize("opset", [14, 23, 18.5, "18"])
def test_an_opset_out_of_range_is_refused(opset):
    reg = NeuralRegressor(**TINY).fit(X, X[:, 0])

    with pytest.raises(ValueError, match=f"target_opset={opset!r} has to be in 15 to 22"):
        to_onnx(reg, X, target_opset=opset)


def test_a_sample_with_other_columns_raises_the_error_of_the_estimator():
    reg = NeuralRegressor(**TINY).fit(FRAME, X[:, 0])

    with pytest.raises(ValueError, match="feature names should match"):
        to_onnx(reg, FRAME.rename(columns={"a": "z"}))
    with pytest.raises(ValueError, match="X has 2 features, but NeuralRegressor is expecting 3"):
        to_onnx(NeuralRegressor(**TINY).fit(X, X[:, 0]), X[:, :2])


def test_an_unknown_option_is_refused():
    with pytest.raises(NameError, match="Option 'zip' not in"):
        to_onnx(NeuralClassifier(**TINY).fit(X, CODES), X, options={"zip": True})


def test_options_by_class_are_refused():
    with pytest.raises(ValueError, match=r"go by name here: {'nocl': True}, or {'step__option': value}"):
        to_onnx(NeuralClassifier(**TINY).fit(X, CODES), X, options={NeuralClassifier: {"nocl": True}})


def test_a_missing_package_is_named_with_the_extra(monkeypatch):
    reg = NeuralRegressor(**TINY).fit(X, X[:, 0])
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))

    with pytest.raises(ImportError, match=r"to_onnx needs onnxruntime; install it with: pip install 'sknn\[onnx\]'"):
        to_onnx(reg, X)


WITHOUT_ONNX = """
import sys
for name in ("onnx", "onnxruntime", "skl2onnx"):
    sys.modules[name] = None
import sknn.export
try:
    sknn.export.to_onnx(None, None)
except ImportError as error:
    print(error)
"""


def test_without_the_extra_the_module_can_be_imported_and_the_function_names_the_package():
    assert (
        printed("-c", WITHOUT_ONNX)
        == "to_onnx needs onnx, onnxruntime, skl2onnx; install it with: pip install 'sknn[onnx]'\n"
    )


def column_pipeline():
    """Fit a pipeline on columns a and e of five."""
    steps = make_column_transformer((StandardScaler(), ["a"]), (OneHotEncoder(handle_unknown="ignore"), ["e"]))
    return make_pipeline(steps, NeuralClassifier(**TINY)).fit(FRAME, CODES)


def test_a_sample_may_have_another_order_of_columns_and_more_columns():
    model = column_pipeline()
    shuffled = FRAME.assign(extra=1.0)[["extra", "e", "d", "c", "b", "a"]]
    program = to_onnx(model, shuffled)

    assert [value.name for value in program.graph.input] == list("abcde")
    assert program.SerializeToString() == to_onnx(model, FRAME).SerializeToString()


def test_the_error_names_columns_that_the_sample_lacks():
    with pytest.raises(ValueError, match=r"X_sample lacks columns that the model was fitted with: \['b', 'd'\]"):
        to_onnx(column_pipeline(), FRAME[["a", "c", "e"]])


def test_a_label_too_large_for_int64_is_refused():
    labels = np.array([1, 2**63 + 5], dtype=np.uint64)[(X[:, 0] > 0).astype(int)]

    with pytest.raises(ValueError, match="Class label 9223372036854775813 does not fit in ONNX's int64"):
        to_onnx(NeuralClassifier(**TINY).fit(X, labels), X)


def test_a_folder_as_path_is_refused_at_once(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder; use the path of a file"):
        to_onnx(NeuralClassifier(**TINY).fit(X, CODES), X, path=tmp_path)


def test_an_estimator_needs_no_sample_and_has_no_summary_then():
    clf = NeuralClassifier(**TINY).fit(FRAME.drop(columns="d"), CODES)
    program = to_onnx(clf)
    metadata = json.loads(program.metadata_props[0].value)

    assert metadata["data"] is None
    assert [(feature["name"], feature["type"]) for feature in metadata["features"]] == [
        *(("a", "double"), ("b", "double"), ("c", "double"), ("e", "string")),
    ]
    with pytest.raises(NotFittedError):
        to_onnx(NeuralClassifier())
    with pytest.raises(ValueError, match="A Pipeline does not know the types of its columns; give some rows"):
        to_onnx(column_pipeline())

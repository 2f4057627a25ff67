"""The inputs of a graph: their names, types and tensors."""

import re
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sknn.export
from sknn import NeuralClassifier
from sknn.export import to_onnx
from sknn.export.check import run_graph
from sknn.export.onnx.inputs import InputSpec, infer_inputs, make_feed
from tests.common import TINY

X = np.random.default_rng(0).normal(size=(40, 3))
INSIDE = ["label", "label_", "probabilities", "X", "table", "table0", "table0_", "gemm", "cast", "constant", "variable"]


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.one_of(st.text(min_size=1, max_size=4), st.sampled_from(INSIDE)), min_size=3, max_size=3, unique=True)
)
def test_inputs_have_the_names_of_the_columns(names):
    frame = pd.DataFrame(dict(zip(names, X.T, strict=True)))
    frame[names[1]] = frame[names[1]].astype(np.float32)
    for model in (NeuralClassifier(**TINY), make_pipeline(StandardScaler(), NeuralClassifier(**TINY))):
        program = to_onnx(model.fit(frame, X[:, 0] > 0), frame)
        onnx.checker.check_model(program, full_check=True)

        assert [value.name for value in program.graph.input] == names
        np.testing.assert_allclose(
            run_graph(program, frame, infer_inputs(frame))[1], model.predict_proba(frame), atol=1e-6
        )


@pytest.mark.parametrize(
    ("column", "kind", "tensor"),
    [
        (pd.Series([1, 2]), "int64", np.array([1, 2])),
        (pd.Series([1, 2], dtype="uint8"), "int64", np.array([1, 2])),
        (pd.Series([1, 2**64 - 1], dtype="uint64"), "double", np.array([1.0, 2.0**64])),
        (pd.Series([1, None], dtype="Int64"), "double", np.array([1, np.nan])),
        (pd.Series([1.5, 2.5], dtype="float32"), "float", np.array([1.5, 2.5], dtype=np.float32)),
        (pd.Series([True, False]), "bool", np.array([True, False])),
        (pd.Series([True, None], dtype="boolean"), "double", np.array([1, np.nan])),
        (pd.Series(["a", None]), "string", np.array(["a", ""], dtype=object)),
        (pd.Series(["a", None], dtype="category"), "string", np.array(["a", ""], dtype=object)),
        (pd.Series([3, 4], dtype="category"), "double", np.array([3.0, 4.0])),
        (pd.Series([3, "b"], dtype=object), "string", np.array(["3", "b"], dtype=object)),
        (pl.Series(["a", None]), "string", np.array(["a", ""], dtype=object)),
        (pl.Series([1, None]), "double", np.array([1, np.nan])),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, pd.Series | pl.Series) else "",
)
def test_a_column_becomes_a_tensor_of_its_type(column, kind, tensor):
    frame = pd.DataFrame({"c": column}) if isinstance(column, pd.Series) else pl.DataFrame({"c": column})
    inputs = infer_inputs(frame)

    assert inputs == [InputSpec("c", kind, (1,), 0)]
    np.testing.assert_array_equal(make_feed(frame, inputs)["c"], tensor[:, None])
    assert make_feed(frame, inputs)["c"].dtype == tensor.dtype


# --- Strings that UTF-8 cannot encode -------------------------------------------------------------------------------

BROKEN = "a\ud800"  # a lone surrogate, which Python makes when it reads broken files


def fitted(column, names=("number", "word")):
    frame = pd.DataFrame({"number": np.arange(40.0), "word": pd.Series(column, dtype=object)})
    frame.columns = pd.Index(names, dtype=object)
    return NeuralClassifier(**TINY).fit(frame, [0, 1] * 20), frame


def test_a_category_that_utf_8_cannot_encode_is_refused_even_if_the_sample_lacks_it():
    clf, frame = fitted(["b"] * 20 + [BROKEN] * 20)

    for model, sample in ((clf, frame.head()), (make_pipeline(clf).fit(frame, [0, 1] * 20), frame.head()), (clf, None)):
        with pytest.raises(
            ValueError, match=r"^Column 'word' holds 'a\\ud800', which UTF-8 cannot encode .* replace it before fit"
        ):
            to_onnx(model, sample)


@pytest.mark.filterwarnings("ignore:Column 'word' holds no level")
def test_a_value_of_the_sample_that_utf_8_cannot_encode_is_refused():
    clf, frame = fitted(["b", "c"] * 20)

    with pytest.raises(ValueError, match=r"^Column 'word' holds 'a\\ud800', which UTF-8 cannot encode"):
        to_onnx(clf, frame.assign(word=pd.Series([BROKEN] * 40, dtype=object)))


def test_a_column_name_that_utf_8_cannot_encode_is_refused():
    clf, frame = fitted(["b", "c"] * 20, ["number", BROKEN])

    with pytest.raises(
        ValueError, match=r"^X_sample has columns named \['a\\ud800'\]; the inputs .* all different, and in UTF-8"
    ):
        to_onnx(clf, frame)


def test_a_label_that_utf_8_cannot_encode_is_refused():
    clf = NeuralClassifier(**TINY).fit(X, np.array(["b", BROKEN], dtype=object)[[0, 1] * 20])

    with pytest.raises(
        ValueError, match=r"Class label 'a\\ud800' cannot be encoded in UTF-8 .* encode the labels before fit"
    ):
        to_onnx(clf, X)


def test_the_export_page_lists_every_operator_of_our_graphs():
    page = (Path(sknn.__file__).parent.parent / "docs" / "export.md").read_text()
    listed = set(re.findall(r"\w+", page.partition("these operators only: ")[2].partition(", and ZipMap")[0]))
    source = "".join(path.read_text() for path in Path(sknn.export.__file__).parent.glob("onnx/*.py"))

    assert listed == set(re.findall(r'(?:graph|self)\("(\w+)"', source)) | {"TopK", "LabelEncoder"}

"""`OnnxPredictor.self_check` accepts a model as it was exported, and refuses one whose outputs have changed."""

import json
import re

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import numpy_helper
from skl2onnx import to_onnx as skl2onnx_to_onnx
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import NeuralClassifier, NeuralRegressor, OnnxPredictor
from sknn.export import to_onnx
from tests.common import SMALL

X = np.random.default_rng(0).normal(size=(60, 3))
FRAME = pd.DataFrame({"size": X[:, 0], "rooms": [1, 2, 3] * 20, "city": ["Oslo", "Rome", None] * 20})
LABELS = np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)]


def self_check(program, **changes):
    """Check a graph, after changing entries of its metadata."""
    program = onnx.ModelProto.FromString(program.SerializeToString())
    metadata = json.loads(program.metadata_props[0].value) | changes
    onnx.helper.set_model_props(program, {"sknn": json.dumps(metadata)})
    OnnxPredictor(program.SerializeToString()).self_check()


@pytest.fixture(scope="module")
def program():
    return to_onnx(NeuralClassifier(**SMALL).fit(FRAME, LABELS), FRAME, members=True)


@pytest.mark.parametrize(
    ("model", "table", "y"),
    [
        (NeuralClassifier(**SMALL), FRAME, LABELS),
        (NeuralClassifier(**SMALL), FRAME.to_numpy(), LABELS),
        (NeuralClassifier(**SMALL), X, X > 0),
        (NeuralClassifier(**SMALL), X, X[:, 0] > 0),
        (NeuralRegressor(**SMALL), FRAME, X[:, 0] + 1e6),
        (NeuralRegressor(loss="quantile", quantile=(0.1, 0.9), **SMALL), X.astype(np.float32), X[:, 0]),
        (make_pipeline(StandardScaler(), NeuralClassifier(**SMALL)), X, LABELS),
        (LogisticRegression(), X, LABELS),
    ],
    ids=["frame", "objects", "multilabel", "bool", "regressor", "quantiles", "pipeline", "foreign"],
)
def test_a_model_passes_as_it_was_exported(model, table, y):
    model.fit(table, y)

    self_check(to_onnx(model, table))
    if isinstance(model, NeuralClassifier):
        self_check(to_onnx(model, table, options={"zipmap": "columns" if y.ndim == 1 else False}, members=True))
        self_check(to_onnx(model))


def test_another_expected_output_is_refused(program):
    expected = json.loads(program.metadata_props[0].value)["expected"]
    p = expected["probabilities"][0]

    self_check(program, expected=expected | {"probabilities": [[p[0] + 1e-4, p[1]]]})
    message = r"The model's output 'probabilities' for its example is .*, and was .* when it was exported: the file"
    for wrong in ([[p[0] + 1e-2, p[1]]], p, [[None, 1.0]]):
        with pytest.raises(ValueError, match=message):
            self_check(program, expected=expected | {"probabilities": wrong})
    with pytest.raises(ValueError, match=r"output 'label' for its example is \['.*'\], and was \['maybe'\]"):
        self_check(program, expected=expected | {"label": ["maybe"]})
    with pytest.raises(ValueError, match=r"has no output 'score', which its metadata expect; it has \['label', 'prob"):
        self_check(program, expected={"score": [1.0]})


def test_changed_weights_are_refused(program):
    changed = onnx.ModelProto.FromString(program.SerializeToString())
    weights = next(w for w in changed.graph.initializer if w.data_type == onnx.TensorProto.FLOAT and len(w.dims) == 3)
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(1.5), weights.name))

    with pytest.raises(ValueError, match="when it was exported"):
        self_check(changed)


@pytest.mark.parametrize("changes", [{}, {"example": None}], ids=["with an example", "without"])
def test_outputs_that_are_not_finite_are_refused(program, changes):
    changed = onnx.ModelProto.FromString(program.SerializeToString())
    for weights in changed.graph.initializer:
        if weights.data_type == onnx.TensorProto.FLOAT and len(weights.dims) == 3:
            nan = np.full_like(numpy_helper.to_array(weights), np.nan)
            weights.CopyFrom(numpy_helper.from_array(nan, weights.name))

    with pytest.raises(ValueError, match=r"The model's output 'probabilities' is not finite in its self-check"):
        self_check(changed, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"example": {"size": 1.0}},
        {"example": {"size": "a", "rooms": 1, "city": "Oslo"}},
        {"example": {"size": [1], "rooms": {}, "city": "Oslo"}},
        {"tolerance": {"probabilities": {}}},
        {"tolerance": {"probabilities": ["a", "b"]}},
        {"tolerance": {"probabilities": [1.0, 1.0, 1.0]}},
        {"expected": {"probabilities": [[1.0], []]}},
    ],
    ids=str,
)
def test_damaged_entries_raise_value_errors(program, changes):
    with pytest.raises(ValueError, match=r"\w"):
        self_check(program, **changes)


@pytest.mark.parametrize("key", ["example", "expected", "tolerance"])
def test_entries_of_another_type_are_refused_with_the_file(program, key):
    with pytest.raises(ValueError, match=re.escape(f"metadata 'sknn' are damaged, in {key}")):
        self_check(program, **{key: [1]})


def test_a_model_without_metadata_predicts_a_row_of_zeros():
    model = skl2onnx_to_onnx(LogisticRegression().fit(X, LABELS), X[:1].astype(np.float32))

    OnnxPredictor(model.SerializeToString()).self_check()

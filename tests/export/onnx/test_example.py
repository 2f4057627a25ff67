"""The example in the metadata: a typical record, and what the graph gives for it."""

import json

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import NeuralClassifier, NeuralRegressor
from sknn.export import to_onnx
from sknn.export.onnx.example import typical_record
from sknn.export.onnx.inputs import InputSpec
from tests.common import SMALL, TINY

X = np.random.default_rng(0).normal(size=(60, 2))
FRAME = pd.DataFrame(
    {
        "size": X[:, 0],
        "width": X[:, 1].astype(np.float32),
        "rooms": [1, 2, 2, 3, 4, 4] * 10,
        "new": [True, False, False] * 20,
        "city": ["Oslo", "Rome", "Rome", None, None, None] * 10,
        "none": np.full(60, np.nan),
    }
)
LABELS = np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)]


def exported(model, table, **options):
    program = to_onnx(model, table, **options)
    return program, json.loads(program.metadata_props[0].value)


def test_the_example_holds_medians_and_the_most_frequent_levels():
    _, metadata = exported(NeuralClassifier(**TINY).fit(FRAME, LABELS), FRAME)
    example = metadata["example"]

    assert example == {
        "size": pytest.approx(FRAME["size"].median()),
        "width": pytest.approx(float(FRAME["width"].median())),
        "rooms": 2,
        "new": False,
        "city": "Rome",
        "none": None,
    }
    assert [type(value) for value in example.values()] == [float, float, int, bool, str, type(None)]


def test_the_expected_outputs_are_those_of_onnx_runtime_and_of_the_estimator():
    clf = NeuralClassifier(**SMALL).fit(FRAME, LABELS)
    program, metadata = exported(clf, FRAME, members=True)
    example, expected = metadata["example"], metadata["expected"]
    row = pd.DataFrame([example]).astype(FRAME.dtypes.to_dict())
    feed = {name: row[[name]].to_numpy() for name in row}
    session = onnxruntime.InferenceSession(program.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = session.run(None, feed)

    assert list(expected) == ["label", "probabilities", "member_probabilities"]
    for output, values in zip(outputs, expected.values(), strict=True):
        assert output.tolist() == values
    np.testing.assert_allclose(expected["probabilities"], clf.predict_proba(row), atol=1e-6)


def test_the_tolerance_is_a_thousandth_of_an_output_s_size():
    reg = NeuralRegressor(**SMALL).fit(X, X * [1, 1000])
    _, metadata = exported(reg, X)
    size = np.abs(metadata["expected"]["variable"][0]) + np.abs(reg.predict(X)).mean(axis=0)

    assert list(metadata["tolerance"]) == ["variable"]
    np.testing.assert_allclose(metadata["tolerance"]["variable"], 1e-3 * size, rtol=1e-3)


def test_a_label_that_rounding_can_change_is_not_expected():
    sure = LogisticRegression().fit(X, LABELS)
    unsure = LogisticRegression().fit(X, LABELS)
    unsure.coef_[:], unsure.intercept_[:] = 0, 0

    assert "label" in exported(sure, X)[1]["expected"]
    assert list(exported(unsure, X)[1]["expected"]) == ["probabilities"]


@pytest.mark.parametrize("zipmap", [True, "columns"])
def test_outputs_that_are_no_tensors_are_not_expected(zipmap):
    _, metadata = exported(LogisticRegression().fit(X, LABELS), X, options={"zipmap": zipmap})

    assert list(metadata["expected"]) == (["output_label"] if zipmap is True else ["output_label", "sno", "syes"])


def test_there_is_no_example_without_a_sample_or_without_columns():
    module = lambda shape, k: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, k))  # noqa: E731
    images = X.reshape(60, 1, 2).astype(np.float32)
    for model, table in (
        (NeuralRegressor(**TINY).fit(X, X[:, 0]), None),
        (NeuralRegressor(module=module, ensemble_size=1, max_iter=1).fit(images, X[:, 0]), images),
    ):
        _, metadata = exported(model, table)
        assert [metadata[key] for key in ("example", "expected", "tolerance")] == [None, None, None]


def test_a_transformer_has_an_example_too():
    pipeline = make_pipeline(StandardScaler(), StandardScaler()).fit(X)
    _, metadata = exported(pipeline, X)

    expected = pipeline.transform([list(metadata["example"].values())])
    np.testing.assert_allclose(metadata["expected"]["variable"], expected, atol=1e-6)


def test_integers_stay_in_the_range_of_their_type():
    data = {"columns": [{"name": "n", "kind": "number", "deciles": [9.3e18] * 11}]}

    assert typical_record(data, [InputSpec("n", "int64", (1,), 0)]) == {"n": 2**63 - 1024}

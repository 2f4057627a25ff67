"""Our estimators in skl2onnx's own functions."""

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import skl2onnx
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sknn.export  # noqa: F401
from sknn import NeuralClassifier, NeuralRegressor
from sknn.export.check import run_graph
from sknn.export.onnx.inputs import infer_inputs

SMALL = {"hidden_layer_sizes": (6,), "max_iter": 1, "ensemble_size": 2, "random_state": 0}
X = np.random.default_rng(0).normal(size=(60, 3))
WORDS = np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)]


class Derived(NeuralClassifier):
    """Defined after `sknn.export` was imported."""


class DerivedTwice(Derived):
    pass


@pytest.mark.parametrize("cls", [NeuralClassifier, Derived, DerivedTwice])
def test_skl2onnx_converts_a_pipeline_with_any_of_our_classes(cls):
    model = make_pipeline(StandardScaler(), cls(**SMALL)).fit(X, WORDS)
    program = skl2onnx.to_onnx(model, X[:1], target_opset=18)
    label, p = run_graph(program, X, infer_inputs(X))

    assert label.tolist() == model.predict(X).tolist()
    assert list(p[0]) == ["no", "yes"]  # zipmap is skl2onnx's default
    np.testing.assert_allclose([list(row.values()) for row in p], model.predict_proba(X), atol=1e-6)


def test_skl2onnx_accepts_a_frame_and_options():
    frame = pd.DataFrame({"size": X[:, 0], "plan": ["free", "paid", "paid"] * 20})
    clf = NeuralClassifier(**SMALL).fit(frame, WORDS)
    program = skl2onnx.to_onnx(
        clf, frame[:1], target_opset=17, options={NeuralClassifier: {"zipmap": False, "nocl": True}}
    )
    label, p = run_graph(program, frame, infer_inputs(frame))

    np.testing.assert_array_equal(label, clf.predict_proba(frame).argmax(1))
    np.testing.assert_allclose(p, clf.predict_proba(frame), atol=1e-6)


def test_skl2onnx_converts_a_regressor():
    reg = NeuralRegressor(**SMALL).fit(X, X @ [1.0, 2.0, 3.0])
    program = skl2onnx.to_onnx(reg, X[:1].astype(np.float32), target_opset=15)
    session = onnxruntime.InferenceSession(program.SerializeToString(), providers=["CPUExecutionProvider"])

    assert [(o.name, o.shape) for o in session.get_outputs()] == [("variable", [None, 1])]
    np.testing.assert_allclose(
        session.run(None, {"X": X.astype(np.float32)})[0][:, 0], reg.predict(X), rtol=1e-5, atol=1e-5
    )


def test_labels_of_several_types_are_refused():
    clf = NeuralClassifier(**SMALL).fit(X, WORDS)
    clf.classes_ = np.array(["no", 1], dtype=object)

    with pytest.raises(
        ValueError, match=r"Class labels have to be strings, or numbers of one type, in ONNX; got \['no', 1\]"
    ):
        skl2onnx.to_onnx(clf, X[:1], target_opset=18, options={NeuralClassifier: {"zipmap": False}})

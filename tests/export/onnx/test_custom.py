"""Custom modules in the graph."""

import sys

import numpy as np
import onnx
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import NeuralClassifier, NeuralRegressor
from sknn.export import to_onnx
from sknn.export.check import run_graph
from sknn.export.onnx.inputs import infer_inputs

X = np.random.default_rng(0).normal(size=(60, 3))
IMAGES = np.random.default_rng(0).normal(size=(40, 1, 6, 6)).astype(np.float32)


def linear(n_in, n_out):
    return torch.nn.Linear(n_in, n_out)


class Convolution(torch.nn.Module):
    def __init__(self, shape, n_out):
        super().__init__()
        self.convolution = torch.nn.Conv2d(shape[0], 2, 3)
        self.last = torch.nn.Linear(2 * (shape[1] - 2) * (shape[2] - 2), n_out)

    def forward(self, x):
        return self.last(torch.relu(self.convolution(x)).flatten(1))


def test_images_keep_their_shape():
    clf = NeuralClassifier(module=Convolution, ensemble_size=2, max_iter=2, random_state=0)
    clf.fit(IMAGES, IMAGES.mean((1, 2, 3)) > 0)
    program = to_onnx(clf, IMAGES)
    onnx.checker.check_model(program, full_check=True)

    assert [d.dim_value for d in program.graph.input[0].type.tensor_type.shape.dim] == [0, 1, 6, 6]
    for new in (IMAGES[:1], IMAGES):
        np.testing.assert_allclose(run_graph(program, new, infer_inputs(new))[1], clf.predict_proba(new), atol=1e-6)


@pytest.mark.parametrize("opset", [18, 22])
def test_two_custom_modules_in_one_pipeline_in_any_opset_of_torch(opset):
    reg = NeuralRegressor(module=linear, ensemble_size=2, max_iter=2, random_state=0, precision="float64")
    model = make_pipeline(StandardScaler(), reg).fit(X, X @ [1.0, 2.0, 3.0] + 4)
    (values,) = run_graph(to_onnx(model, X, target_opset=opset), X, infer_inputs(X))

    np.testing.assert_allclose(values[:, 0], model.predict(X), rtol=1e-12)


def test_an_opset_that_torch_does_not_write_is_refused():
    reg = NeuralRegressor(module=linear, ensemble_size=1, max_iter=1, random_state=0).fit(X, X[:, 0])

    with pytest.raises(ValueError, match="target_opset=17: torch writes a custom module in opset 18 or later"):
        to_onnx(reg, X, target_opset=17)


def test_without_onnxscript_the_extra_is_named(monkeypatch):
    reg = NeuralRegressor(module=linear, ensemble_size=1, max_iter=1, random_state=0).fit(X, X[:, 0])
    monkeypatch.setitem(sys.modules, "onnxscript", None)

    with pytest.raises(ImportError, match=r"needs onnxscript; install it with: pip install 'sknn\[onnx\]'"):
        to_onnx(reg, X)


def test_an_export_prints_nothing_and_does_not_change_the_estimator(capfd):
    reg = NeuralRegressor(module=linear, ensemble_size=2, max_iter=1, random_state=0).fit(X, X[:, 0])
    before = reg.predict(X)
    state = torch.get_rng_state()
    to_onnx(reg, X)

    assert capfd.readouterr() == ("", "")
    np.testing.assert_array_equal(reg.predict(X), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert reg.partial_fit(X, X[:, 0]).t_ > len(X)

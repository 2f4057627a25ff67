"""The release of Triton that a graph needs."""

import itertools

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from sknn import NeuralClassifier
from sknn.export import to_onnx
from sknn.export.onnx.export import OPSETS
from sknn.export.triton.runtimes import RUNTIMES, can_be_fused, find_runtime
from tests.common import TINY

X = np.random.default_rng(0).normal(size=(60, 3))
MODEL = NeuralClassifier(**TINY | {"ensemble_size": 2}).fit(X, X[:, 0] > 0)
LABELS = np.random.default_rng(0).choice(["u", "v", "w"], 60)


class Module(torch.nn.Module):
    def __init__(self, n_features_in=3, n_outputs=2):
        super().__init__()
        self.layer = torch.nn.Linear(n_features_in, n_outputs)

    def forward(self, X):
        return self.layer(torch.nn.functional.layer_norm(X, (3,)))


def graph(opset=18, opset_ml=3, ir_version=8, domain=""):
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in "xy"]
    node = helper.make_node("Relu", ["x"], ["y"], domain=domain)
    imports = {"": opset, "ai.onnx.ml": opset_ml, domain: opset}
    program = helper.make_model(
        helper.make_graph([node], "g", values[:1], values[1:]),
        opset_imports=[helper.make_opsetid(name, version) for name, version in imports.items()],
    )
    program.ir_version = ir_version
    return program


def test_the_default_opset_runs_in_the_oldest_release():
    assert find_runtime(to_onnx(MODEL, X)) == RUNTIMES[0]


@pytest.mark.parametrize("opset", OPSETS)
def test_a_graph_of_every_opset_runs_in_a_release(opset):
    assert find_runtime(to_onnx(MODEL, X, target_opset=opset)).opset >= opset


def test_a_custom_module_runs_in_a_release():
    model = NeuralClassifier(**{**TINY, "hidden_layer_sizes": ()}, module=Module).fit(X, X[:, 0] > 0)

    assert find_runtime(to_onnx(model, X)) == RUNTIMES[0]


@pytest.mark.parametrize(
    ("needs", "release"),
    [
        ({}, "24.04"),
        ({"opset": 21}, "24.05"),
        ({"ir_version": 10}, "24.05"),
        ({"opset_ml": 5}, "24.05"),
        ({"opset": 22}, "25.03"),
        ({"ir_version": 11}, "25.09"),
        ({"opset": 24, "ir_version": 12}, "26.02"),
        ({"domain": "ai.onnx"}, "24.04"),
    ],
)
def test_the_release_is_the_first_that_has_all_formats(needs, release):
    assert find_runtime(graph(**needs)).triton == release


def test_each_runtime_runs_what_the_one_before_it_runs_and_more():
    formats = [runtime[2:] for runtime in RUNTIMES]

    for before, after in itertools.pairwise(formats):
        assert before != after
        assert all(a <= b for a, b in zip(before, after, strict=True))


def test_the_table_agrees_with_the_releases_of_onnx():
    """A runtime that runs an opset also reads the file format of the ONNX release that has introduced it."""
    introduced = {}  # opset -> the IR version of the first release with it
    for _, ir_version, opset, *_ in onnx.helper.VERSION_TABLE:
        introduced.setdefault(opset, ir_version)

    for runtime in RUNTIMES:
        assert runtime.ir_version >= introduced[runtime.opset]


def test_a_graph_newer_than_every_release_is_refused():
    with pytest.raises(ValueError, match=r"The graph has ir_version 8, opset 99, opset_ml 3\. The newest ONNX Runtime"):
        find_runtime(graph(opset=99))


def test_an_operator_that_onnx_does_not_have_is_refused():
    with pytest.raises(ValueError, match=r"operators that are not ONNX's, which Triton lacks: my\.company\.Relu\."):
        find_runtime(graph(domain="my.company"))


def test_a_cosine_of_doubles_is_refused():
    model = NeuralClassifier(**TINY, numeric_embedding="periodic", precision="float64").fit(X, X[:, 0] > 0)

    with pytest.raises(
        ValueError, match="needs the operator Cos for doubles, which the ONNX Runtime of Triton lacks; "
    ):
        find_runtime(to_onnx(model, X))
    assert find_runtime(to_onnx(model.set_params(precision="float32").fit(X, X[:, 0] > 0), X)) == RUNTIMES[0]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [({}, True), ({"precision": "float64"}, False), ({"precision": "float64", "activation": "relu"}, True)],
    ids=["float32", "float64", "float64 without sigmoids"],
)
def test_sigmoids_of_doubles_must_not_be_fused(parameters, expected):
    model = NeuralClassifier(**TINY, **parameters).fit(X, LABELS)

    assert can_be_fused(to_onnx(model, X)) is expected

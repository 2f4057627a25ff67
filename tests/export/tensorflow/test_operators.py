"""Each operator has the same result in TensorFlow as in ONNX Runtime."""

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import sknn.export
from sknn.export.tensorflow.operators import FUNCTIONS
from sknn.export.tensorflow.saved_model import _constant, _run

rng = np.random.default_rng(0)
X = rng.normal(size=(4, 3)).astype(np.float32)
WIDE = np.array([[-50, -1, -0.0, 0, 0.5, 30]], dtype=np.float64)
HOLES = np.array([[1.0, np.nan], [np.nan, 4.0]], dtype=np.float32)
CUBE = rng.normal(size=(2, 3, 4)).astype(np.float32)
WORDS = np.array([["Oslo"], ["Rome"], [""], ["Größe"]], dtype=object)
INTS = np.array([[3], [-1], [7], [0]])
BOTH = np.array([[True], [False]])
SAME = np.array([2.0, 2.0, 1.0, 2.0], dtype=np.float32)


def axes(*numbers):
    return np.array(numbers, dtype=np.int64)


# Operator, opset, inputs, attributes.
CASES = [
    *[
        (op, 18, [WIDE], {})
        for op in ("Abs", "Cos", "Exp", "Identity", "Neg", "Relu", "Sigmoid", "Sign", "Tanh", "Floor", "Ceil")
    ],
    *[
        (op, 18, [WIDE.astype(np.float32)], {})
        for op in ("Erf", "Softplus", "Elu", "LeakyRelu", "Selu", "Softmax", "Sin")
    ],
    *[(op, 18, [np.abs(X)], {}) for op in ("Log", "Sqrt")],
    *[
        (op, 18, [X, X[:1]], {})
        for op in (
            "Add",
            "Sub",
            "Mul",
            "Div",
            "Max",
            "Min",
            "Equal",
            "Less",
            "Greater",
            "LessOrEqual",
            "GreaterOrEqual",
        )
    ],
    *[(op, 18, [BOTH, BOTH.T], {}) for op in ("And", "Or")],
    ("Not", 18, [BOTH], {}),
    ("Pow", 18, [np.abs(X), np.float32([2, 0.5, -1])], {}),
    ("Div", 18, [np.array([7, -7]), np.array([2, 2])], {}),
    ("Max", 18, [X, X[:1], X[1:2]], {}),
    ("Elu", 18, [X], {"alpha": 0.3}),
    ("LeakyRelu", 18, [X], {"alpha": 0.3}),
    ("Selu", 18, [X], {"alpha": 1.5, "gamma": 1.1}),
    ("IsNaN", 18, [HOLES], {}),
    ("Where", 18, [np.isnan(HOLES), np.float32([[9, 8]]), HOLES], {}),
    ("Clip", 18, [X, np.float32(-0.5), np.float32(0.5)], {}),
    ("Clip", 18, [X, None, np.float32(0.5)], {}),
    ("Clip", 18, [X, np.float32(-0.5)], {}),
    ("Cast", 18, [X], {"to": TensorProto.INT64}),
    ("Cast", 18, [INTS], {"to": TensorProto.DOUBLE}),
    ("Cast", 18, [BOTH], {"to": TensorProto.FLOAT}),
    ("Cast", 18, [INTS], {"to": TensorProto.BOOL}),
    ("Cast", 18, [INTS], {"to": TensorProto.STRING}),
    ("Cast", 18, [np.array([["1.5"], ["-2"]], dtype=object)], {"to": TensorProto.FLOAT}),
    ("MatMul", 18, [X, X.T], {}),
    ("MatMul", 18, [CUBE, rng.normal(size=(2, 4, 2)).astype(np.float32)], {}),
    ("MatMul", 18, [CUBE, np.arange(4, dtype=np.float32)], {}),
    ("MatMul", 18, [np.arange(4, dtype=np.float32), X], {}),
    ("MatMul", 18, [np.arange(4, dtype=np.float32), np.arange(4, dtype=np.float32)], {}),
    ("Gemm", 18, [X, X.T], {}),
    ("Gemm", 18, [X, X, np.float32([1, 2, 3])], {"transA": 1, "alpha": 0.5, "beta": 2.0}),
    ("Gemm", 18, [X, X, np.float32([1, 2, 3, 4])], {"transB": 1}),
    ("Softmax", 18, [CUBE], {"axis": 1}),
    ("ArgMax", 18, [X], {"axis": 1, "keepdims": 0}),
    ("ArgMax", 18, [SAME], {"axis": 0}),
    *[(op, 18, [CUBE, axes(0)], {"keepdims": 0}) for op in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2")],
    ("ReduceMean", 15, [CUBE], {"axes": [1]}),
    ("ReduceSum", 18, [CUBE, axes(1, -1)], {}),
    ("ReduceSum", 18, [CUBE], {}),
    ("ReduceSum", 18, [CUBE], {"noop_with_empty_axes": 1}),
    ("TopK", 18, [CUBE, axes(3)], {"largest": 0}),
    ("TopK", 18, [CUBE, axes(2)], {"axis": 1}),
    ("TopK", 18, [SAME, axes(3)], {}),
    ("Concat", 18, [X, X[:, :1]], {"axis": -1}),
    ("Concat", 18, [WORDS, WORDS], {"axis": 1}),
    ("Gather", 18, [X, axes(2, -1)], {"axis": 1}),
    ("Gather", 18, [WORDS, INTS[:1] * 0], {}),
    ("ArrayFeatureExtractor", 1, [X, axes(2, 0)], {}),
    ("Transpose", 18, [CUBE], {}),
    ("Transpose", 18, [CUBE], {"perm": [1, 0, 2]}),
    ("Reshape", 18, [CUBE, axes(0, -1)], {}),
    ("Reshape", 18, [CUBE, axes(4, 6)], {}),
    ("Flatten", 18, [CUBE], {}),
    ("Flatten", 18, [CUBE], {"axis": 2}),
    ("Unsqueeze", 18, [X, axes(0, -1)], {}),
    ("Squeeze", 18, [X[:, None], axes(1)], {}),
    ("Squeeze", 18, [X[None, :, None]], {}),
    ("Expand", 18, [X[:, None], axes(2, 1, 5, 3)], {}),
    ("Expand", 18, [X[:1], axes(3, 1)], {}),
    ("Shape", 18, [CUBE], {}),
    ("LabelEncoder", 2, [WORDS], {"keys_strings": ["Oslo", "Größe"], "values_int64s": [1, 2], "default_int64": 0}),
    ("LabelEncoder", 2, [WORDS], {"keys_strings": ["Oslo", ""], "values_floats": [0.5, 2.0], "default_float": -1.0}),
    ("LabelEncoder", 2, [WORDS], {"keys_strings": ["Oslo"], "values_int64s": [1]}),
    ("LabelEncoder", 2, [INTS], {"keys_int64s": [3, 7], "values_strings": ["a", "ü"], "default_string": "none"}),
    ("LabelEncoder", 2, [INTS], {"keys_int64s": [3, 7], "values_floats": [0.5, 2.0], "default_float": float("nan")}),
    ("LabelEncoder", 2, [X[:, :1]], {"keys_floats": [float(X[1, 0])], "values_int64s": [5]}),
    ("OneHotEncoder", 1, [WORDS], {"cats_strings": ["Rome", "Größe"]}),
    ("OneHotEncoder", 1, [INTS], {"cats_int64s": [7, 0, 1]}),
    ("Scaler", 1, [X], {"offset": [1.0, 2.0, 3.0], "scale": [0.5, 1.0, 2.0]}),
    ("Scaler", 1, [INTS], {"offset": [1.0], "scale": [0.5]}),
    ("Imputer", 1, [HOLES], {"imputed_value_floats": [5.0, 6.0], "replaced_value_float": float("nan")}),
    ("Imputer", 1, [X], {"imputed_value_floats": [9.0], "replaced_value_float": float(X[1, 1])}),
    ("Imputer", 1, [INTS], {"imputed_value_int64s": [9], "replaced_value_int64": -1}),
    *[("Normalizer", 1, [np.abs(X)], {"norm": norm}) for norm in ("MAX", "L1", "L2")],
    ("Binarizer", 1, [X], {"threshold": 0.2}),
]
ML_OPS = {"ArrayFeatureExtractor", "Binarizer", "Imputer", "LabelEncoder", "Normalizer", "OneHotEncoder", "Scaler"}


def node_of(op, inputs, attributes):
    names = ["" if value is None else f"in{i}" for i, value in enumerate(inputs)]
    outputs = ["out", "places"] if op == "TopK" else ["out"]
    return helper.make_node(op, names, outputs, domain="ai.onnx.ml" if op in ML_OPS else "", **attributes)


def by_onnx_runtime(node, opset, inputs):
    """All inputs but the first are constants, as they are in the graphs of models."""
    given = {name: np.asarray(value) for name, value in zip(node.input, inputs, strict=True) if name}
    values = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for name, v in given.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
    graph = helper.make_graph([node], "one", values, outputs)
    versions = {"": 18 if node.domain else opset} | ({node.domain: opset} if node.domain else {})
    imports = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
    model = onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=imports, ir_version=8))
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, given)


def case_id(case):
    op, opset, inputs, attributes = case
    return f"{op}-{opset}-{'-'.join(str(np.shape(v)) for v in inputs if v is not None)}-{','.join(attributes)}"


def test_every_operator_of_the_table_is_tested():
    assert {case[0] for case in CASES} == set(FUNCTIONS)


def test_every_operator_that_our_graphs_use_is_in_the_table():
    source = "".join(path.read_text() for path in Path(sknn.export.__file__).parent.glob("onnx/*.py"))
    used = set(re.findall(r"""\b(?:graph|add_node)\(\s*"([A-Z]\w+)\"""", source))

    assert len(used) > 30
    assert used - set(FUNCTIONS) == set()


@pytest.mark.tensorflow
@pytest.mark.parametrize("case", [pytest.param(case, id=case_id(case)) for case in CASES])
def test_an_operator_does_what_it_does_in_onnx_runtime(case):
    import tensorflow as tf

    op, opset, inputs, attributes = case
    node = node_of(op, inputs, attributes)
    constants = {
        name: _constant(tf, numpy_helper.from_array(np.asarray(v)))
        for name, v in zip(node.input, inputs, strict=True)
        if name
    }

    # The number of rows of the first input is undeclared, like that of a batch.
    @tf.function(
        input_signature=[tf.TensorSpec([None, *np.shape(inputs[0])[1:]], constants["in0"].dtype)], autograph=False
    )
    def run(x):
        values = constants | {"in0": x}
        _run(tf, node, values)
        return [values[name] for name in node.output]

    expected = by_onnx_runtime(node, opset, inputs)
    for reference, actual in zip(expected, run(constants["in0"]), strict=True):
        assert actual.shape == reference.shape
        if reference.dtype == object:
            assert [text.decode() for text in actual.numpy().ravel()] == reference.ravel().tolist()
        else:
            assert actual.dtype == tf.as_dtype(reference.dtype)
            np.testing.assert_allclose(actual.numpy(), reference, rtol=2e-6, atol=1e-7)

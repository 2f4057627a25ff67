"""`config.pbtxt`, read by protobuf as Triton reads it, and the rules that Triton's server checks."""

import numpy as np
import onnx
import pandas as pd
import pytest
from google.protobuf import text_format
from onnx import TensorProto, helper
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig, ModelInstanceGroup
from tritonclient.utils import np_to_triton_dtype

from sknn import NeuralClassifier, NeuralRegressor
from sknn.export import to_onnx
from sknn.export.triton.config import describe_model
from tests.common import TINY

rng = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        'a "mean"\nsize\\': rng.normal(size=60),
        "Größe 大": rng.choice(["Oslo", "Rome", None], 60),
        "shelf": rng.integers(0, 4, 60),
        "new": rng.random(60) > 0.5,
        "weight": rng.normal(size=60).astype(np.float32),
    }
)
LABELS = rng.choice(["u", "v", "w"], 60)
VALUES = rng.normal(size=60)
NUMBERS = rng.normal(size=(60, 3))
CASES = {
    "frame": (NeuralClassifier(), FRAME, LABELS),
    "array": (NeuralClassifier(), NUMBERS, LABELS),
    "integers": (NeuralClassifier(), NUMBERS, (LABELS == "u").astype(int)),
    "booleans": (NeuralClassifier(), NUMBERS, LABELS == "u"),
    "floats": (NeuralClassifier(), NUMBERS, (LABELS == "u").astype(float)),
    "multilabel": (NeuralClassifier(), FRAME, np.c_[LABELS == "u", LABELS == "v"].astype(int)),
    "double precision": (NeuralClassifier(precision="float64"), FRAME, LABELS),
    "regressor": (NeuralRegressor(), FRAME, VALUES),
    "two outputs": (NeuralRegressor(), FRAME, np.c_[VALUES, -VALUES]),
    "quantiles": (NeuralRegressor(loss="quantile", quantile=(0.1, 0.5, 0.9)), FRAME, VALUES),
    "pipeline": (make_pipeline(StandardScaler(), NeuralRegressor()), NUMBERS, VALUES),
}


def export(model, X, y, **options):
    estimator = model[-1] if hasattr(model, "steps") else model
    estimator.set_params(**TINY)
    return to_onnx(model.fit(X, y), X, options=options)


def parse(program, name="model", max_batch_size=64, queue_delay=200):
    """Return the configuration of a graph, as Triton's server reads it."""
    text = describe_model(program.graph, name, max_batch_size, queue_delay, "a comment")
    return text_format.Parse(text, ModelConfig())


def shape_for_the_model(tensor):
    """Return the shape of one row that Triton gives to the model, or expects of it."""
    return list(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)


@pytest.mark.parametrize("case", CASES)
def test_inputs_and_outputs_are_those_of_onnx_runtime(case):
    import onnxruntime

    program = export(*CASES[case])
    session = onnxruntime.InferenceSession(program.SerializeToString(), providers=["CPUExecutionProvider"])
    numpy_types = {"tensor(double)": np.float64, "tensor(float)": np.float32, "tensor(int64)": np.int64,
                   "tensor(bool)": bool, "tensor(string)": np.object_}  # fmt: skip
    wire_types = {"STRING": "BYTES"}  # the only type whose name in the protocol differs from that in the configuration

    config = parse(program)

    for tensors, nodes in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
        assert [tensor.name for tensor in tensors] == [node.name for node in nodes]
        for tensor, node in zip(tensors, nodes, strict=True):
            name = DataType.Name(tensor.data_type).removeprefix("TYPE_")
            assert wire_types.get(name, name) == np_to_triton_dtype(numpy_types[node.type])
            assert [None, *shape_for_the_model(tensor)] == list(node.shape)


@pytest.mark.parametrize("case", CASES)
def test_shapes_keep_the_rules_of_the_server(case):
    config = parse(export(*CASES[case]))

    for tensor in [*config.input, *config.output]:
        assert len(tensor.dims) > 0  # the server refuses empty dims
        assert all(size >= 1 or size == -1 for size in tensor.dims)
        if tensor.HasField("reshape"):  # and a reshape to another number of elements
            assert np.prod(tensor.dims) == np.prod(list(tensor.reshape.shape))


def test_labels_have_a_value_for_each_row_and_probabilities_one_for_each_class():
    label, probabilities = parse(export(*CASES["frame"])).output

    assert (label.data_type, list(label.dims), list(label.reshape.shape)) == (DataType.TYPE_STRING, [1], [])
    assert (probabilities.data_type, list(probabilities.dims)) == (DataType.TYPE_FP32, [3])
    assert (label.HasField("reshape"), probabilities.HasField("reshape")) == (True, False)


def test_requests_become_batches_on_processors_with_one_thread_each():
    config = parse(export(*CASES["array"]), name="churn", max_batch_size=64, queue_delay=200)

    assert (config.name, config.platform, config.max_batch_size) == ("churn", "onnxruntime_onnx", 64)
    assert config.HasField("dynamic_batching")
    assert config.dynamic_batching.max_queue_delay_microseconds == 200
    assert [group.kind for group in config.instance_group] == [ModelInstanceGroup.KIND_CPU]
    assert config.parameters["intra_op_thread_count"].string_value == "1"


def test_operators_are_fused_unless_the_runtimes_cannot_run_the_result():
    graph = export(*CASES["array"]).graph
    fused, unfused = (
        text_format.Parse(describe_model(graph, "model", 1, 0, "", can_be_fused), ModelConfig())
        for can_be_fused in (True, False)
    )

    assert not fused.HasField("optimization")
    assert unfused.optimization.graph.level == -1


def test_a_dimension_that_varies_is_minus_one():
    value = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [None, 3, None])
    graph = helper.make_graph([helper.make_node("Relu", ["pixels"], ["y"])], "g", [value],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3, None])])  # fmt: skip

    assert list(parse(helper.make_model(graph)).input[0].dims) == [3, -1]


def test_a_graph_with_sequences_is_refused():
    program = export(*CASES["array"], zipmap=True)

    with pytest.raises(
        ValueError, match=r"The output 'output_probability' of the graph is not a tensor of a type that"
    ):
        parse(program)


@pytest.mark.parametrize("shape", [[], [1, 3]], ids=["scalar", "one row"])
def test_a_graph_for_a_single_row_is_refused(shape):
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", values[:1], values[1:])
    onnx.checker.check_graph(graph)

    with pytest.raises(ValueError, match="The input 'x' of the graph does not have a row for each row of a request"):
        parse(helper.make_model(graph))

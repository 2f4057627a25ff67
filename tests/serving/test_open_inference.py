"""Tensors of the Open Inference Protocol, in JSON and binary, against tritonclient's own encoding."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.http import InferInput, InferRequestedOutput, InferResult
from tritonclient.http._utils import _get_inference_request

from sknn.onnx_predictor import ModelInput
from sknn.serving.errors import RequestError
from sknn.serving.open_inference import (
    JSON_LENGTH,
    InferenceRequest,
    datatype,
    read_inference,
    write_inference,
)

INPUTS = [ModelInput("age", np.float64, (1,)), ModelInput("city", np.object_, (1,))]
REQUEST = {
    "id": "42",
    "inputs": [
        {"name": "age", "shape": [2, 1], "datatype": "FP64", "data": [3, None]},
        {"name": "city", "shape": [2, 1], "datatype": "BYTES", "data": ["Oslo", None]},
    ],
}
OUTPUTS = {"label": np.array(["left", "stayed"], dtype=object), "probabilities": np.float32([[0.75, 0.25], [0.5, 0.5]])}


def read(request, json_length=None, inputs=INPUTS):
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    return read_inference(body, json_length, inputs)


def refusal(request, json_length=None, inputs=INPUTS):
    with pytest.raises(RequestError) as caught:
        read(request, json_length, inputs)
    assert caught.value.status == 400
    return caught.value.message


def changed(name, /, **changes):
    inputs = [tensor | changes if tensor["name"] == name else tensor for tensor in REQUEST["inputs"]]
    return REQUEST | {"inputs": inputs}


def triton_request(arrays, binary, outputs=()):
    """The body that tritonclient sends, and its JSON's length."""
    inputs = []
    for name, array in arrays.items():
        tensor = InferInput(name, array.shape, datatype(array.dtype))
        inputs.append(tensor.set_data_from_numpy(array, binary_data=binary))
    return _get_inference_request(inputs, "7", outputs, 0, False, False, 0, None, None)


def test_json_is_read_with_null_as_missing():
    inference = read(REQUEST)
    assert inference.request.id == "42"
    np.testing.assert_array_equal(inference.tensors["age"], [[3], [np.nan]])
    assert inference.tensors["city"].tolist() == [["Oslo"], [None]]


@pytest.mark.parametrize("data", [[3, ""], [[3], [None]], [3, float("nan")]])
def test_other_forms_of_missing_and_nested_data_are_the_same(data):
    np.testing.assert_array_equal(read(changed("age", data=data)).tensors["age"], [[3], [np.nan]])


def test_a_row_of_one_value_needs_no_second_dimension():
    assert read(changed("age", shape=[2])).tensors["age"].shape == (2, 1)


@pytest.mark.parametrize("binary", [False, True])
def test_requests_of_tritonclient_are_read(binary):
    arrays = {"age": np.array([[3.5], [-1]]), "city": np.array([["Åsgård"], [""]], dtype=object)}
    body, json_length = triton_request(arrays, binary)
    tensors = read(body, json_length and str(json_length)).tensors
    for name, array in arrays.items():
        np.testing.assert_array_equal(tensors[name], array)


@given(
    st.sampled_from(["float32", "float64", "int32", "int64", "bool", "object"]),
    st.integers(1, 5),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_any_tensor_of_tritonclient_comes_back(dtype, n_rows, width, random, binary):
    cells = [
        random.choice(["", "Åse", "x" * 300]) if dtype == "object" else random.randint(-9, 9)
        for _ in range(n_rows * width)
    ]
    array = np.array(cells, dtype=dtype).reshape(n_rows, width)
    body, json_length = triton_request({"x": array}, binary)
    inputs = [ModelInput("x", np.dtype(dtype).type, (width,))]
    np.testing.assert_array_equal(read(body, json_length and str(json_length), inputs).tensors["x"], array)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (b"", "not valid"),
        (b"{}", "'inputs' of the request is not valid"),
        (REQUEST | {"inputs": []}, "not valid"),
        (REQUEST | {"inputs": REQUEST["inputs"][:1]}, "has the inputs ['age']; the model takes ['age', 'city']"),
        (REQUEST | {"inputs": REQUEST["inputs"] * 2}, "each once"),
        (changed("age", name="size"), "has the inputs ['size', 'city']"),
        (changed("age", datatype="FP32"), "has the datatype 'FP32'; the model takes FP64"),
        (changed("age", shape=[1, 2]), "has the shape [1, 2]; the model takes [-1, 1]"),
        (changed("age", shape=[3, 1]), "has 2 values, and its shape [3, 1]"),
        (changed("age", shape=[2**62, 1]), "has 2 values"),
        (changed("age", shape=[-2, 1]), "inputs.0.shape.0"),
        (changed("age", data=[1, "x"]), "holds 'x', which is no FP64"),
        (changed("age", data=[1, True]), "holds True, which is no FP64"),
        (changed("age", data=[1, {}]), "holds {}, which is no FP64"),
        (changed("age", data=None), "'age' has no data"),
        (changed("city", data=["a", 1]), "holds 1, which is no BYTES"),
        (changed("city", shape=[1, 1], data=["a"]), "different numbers of rows: [2, 1]"),
        (changed("age", parameters={"binary_data_size": 8}), "announces 8 bytes of data, and has 0"),
        (changed("age", parameters={"binary_data_size": True}), "announces True bytes"),
        (changed("age", parameters={"binary_data_size": float("inf")}), "announces inf bytes"),
    ],
)
def test_a_bad_request_is_refused(request_, words):
    assert words in refusal(request_)


@pytest.mark.parametrize("json_length", ["-1", "x", "99999"])
def test_a_wrong_length_of_the_json_is_refused(json_length):
    assert "bytes of data, and has" in refusal(REQUEST, json_length)


@pytest.mark.parametrize(
    ("name", "block", "words"),
    [
        ("age", b"123", "3 bytes, no multiple of the size of FP64"),
        ("city", b"\x05\x00\x00\x00ab", "ends within a string"),
        ("city", b"\x02\x00\x00\x00\xff\xff\x00\x00\x00\x00", "not UTF-8"),
        ("city", b"\x01\x00\x00\x00a", "has 1 values"),
    ],
)
def test_bad_binary_data_are_refused(name, block, words):
    request = changed(name, data=None, parameters={"binary_data_size": len(block)})
    text = json.dumps(request).encode()
    assert words in refusal(text + block, str(len(text)))


@pytest.mark.parametrize(
    "body",
    [b'{"inputs": [%b{}]}' % (b"{}," * 100_000), b'{"inputs": [], "outputs": [%b{}]}' % (b"{}," * 100_000)],
    ids=["inputs", "outputs"],
)
def test_many_mistakes_take_no_more_memory_than_one(body):
    refusal(body)
    tracemalloc.start()
    try:
        refusal(body)
        assert tracemalloc.get_traced_memory()[1] < 60 * len(body)
    finally:
        tracemalloc.stop()


def test_integers_that_are_too_large_are_refused():
    request = {"inputs": [{"name": "n", "shape": [1, 1], "datatype": "INT32", "data": [2**40]}]}
    assert "too large for int32" in refusal(request, inputs=[ModelInput("n", np.int32, (1,))])


def test_a_response_holds_all_outputs_by_default():
    body, headers = write_inference(InferenceRequest(**REQUEST), OUTPUTS, "churn", "3")
    assert headers == {"content-type": "application/json"}
    assert json.loads(body) == {
        "model_name": "churn",
        "model_version": "3",
        "id": "42",
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["left", "stayed"]},
            {"name": "probabilities", "datatype": "FP32", "shape": [2, 2], "data": [0.75, 0.25, 0.5, 0.5]},
        ],
    }


@pytest.mark.parametrize("binary", [False, True])
def test_tritonclient_reads_the_response(binary):
    outputs = [InferRequestedOutput(name, binary_data=binary) for name in OUTPUTS]
    body, json_length = triton_request(
        {"age": np.zeros((2, 1)), "city": np.array([["a"], ["b"]], object)}, True, outputs
    )
    content, headers = write_inference(read(body, str(json_length)).request, OUTPUTS, "churn", "3")
    header_length = headers.get(JSON_LENGTH)
    result = InferResult.from_response_body(content, header_length=header_length and int(header_length))
    np.testing.assert_array_equal(result.as_numpy("probabilities"), OUTPUTS["probabilities"])
    labels = [label.decode() if isinstance(label, bytes) else label for label in result.as_numpy("label")]
    assert labels == ["left", "stayed"]


def test_chosen_outputs_are_returned_and_unknown_ones_refused():
    request = InferenceRequest(**REQUEST | {"outputs": [{"name": "label"}]})
    assert [output["name"] for output in json.loads(write_inference(request, OUTPUTS, "c", "1")[0])["outputs"]] == [
        "label"
    ]
    request = InferenceRequest(**REQUEST | {"outputs": [{"name": "logits"}]})
    with pytest.raises(RequestError, match="no output 'logits'; it has"):
        write_inference(request, OUTPUTS, "c", "1")

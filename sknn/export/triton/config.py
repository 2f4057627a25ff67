"""Triton's description of a model, `config.pbtxt`: its inputs and outputs, and how requests become batches."""

import json
from collections.abc import Iterable
from typing import Any

# Triton's names of ONNX's types of tensors (onnx.TensorProto.DataType).
DATA_TYPES = {
    1: "TYPE_FP32",
    6: "TYPE_INT32",
    7: "TYPE_INT64",
    8: "TYPE_STRING",
    9: "TYPE_BOOL",
    11: "TYPE_FP64",
}
VARIABLE = -1  # the size of a dimension that may differ from request to request


# Fusing operators is an extended optimization. This is Triton's number of the basic ones.
BASIC_OPTIMIZATION = "\noptimization {\n  graph { level: -1 }\n}"


def describe_model(
    graph: Any, name: str, max_batch_size: int, queue_delay: int, comment: str, can_be_fused: bool = True
) -> str:
    """Return the text of `config.pbtxt`.

    Each batch is computed by one thread of a processor: the networks are small, and no GPU has kernels for strings.

    Raises
    ------
    ValueError
        If an input or output is not a tensor with a type that Triton has and a row for each row of the request.
    """
    return f"""\
# {comment}
name: {_quote(name)}
platform: "onnxruntime_onnx"
max_batch_size: {max_batch_size}
{_describe_tensors("input", graph.input)}
{_describe_tensors("output", graph.output)}
dynamic_batching {{
  max_queue_delay_microseconds: {queue_delay}
}}
instance_group [
  {{
    kind: KIND_CPU
  }}
]
parameters {{
  key: "intra_op_thread_count"
  value: {{ string_value: "1" }}
}}{"" if can_be_fused else BASIC_OPTIMIZATION}
"""


def _describe_tensors(kind: str, values: Iterable[Any]) -> str:
    return f"{kind} [\n" + ",\n".join(_describe_tensor(kind, value) for value in values) + "\n]"


def _describe_tensor(kind: str, value: Any) -> str:
    """Return an input or output.

    With batches, `dims` are those of one row, and must not be empty. So a tensor with a value for each row, [None], has
    dims [1] for the clients, and an empty shape for the model.
    """
    data_type, dims = tensor_type(kind, value)
    shape = f"dims: {dims}" if dims else "dims: [ 1 ]\n    reshape: { shape: [ ] }"
    return f"  {{\n    name: {_quote(value.name)}\n    data_type: {data_type}\n    {shape}\n  }}"


def tensor_type(kind: str, value: Any) -> tuple[str, list[int]]:
    """Return the type of an input or output in Triton, and the sizes of a row: -1 for one that varies."""
    tensor = value.type.tensor_type
    if tensor.elem_type not in DATA_TYPES:
        raise ValueError(
            f"The {kind} {value.name!r} of the graph is not a tensor of a type that Triton has; export without "
            "`zipmap`, and with numbers, booleans or strings as columns."
        )
    rows, *sizes = tensor.shape.dim or [None]
    if rows is None or rows.HasField("dim_value"):
        raise ValueError(
            f"The {kind} {value.name!r} of the graph does not have a row for each row of a request, and Triton "
            "cannot make batches of it."
        )
    return DATA_TYPES[tensor.elem_type], [size.dim_value or VARIABLE for size in sizes]


def _quote(text: str) -> str:
    """Return a text as a string of protobuf's text format, which has the escapes of JSON."""
    return json.dumps(text, ensure_ascii=False)

"""The tensors of the Open Inference Protocol, version 2: in JSON, or behind it by the extension for binary data.

The protocol is described at https://github.com/kserve/open-inference-protocol, and its extension for binary data in the
documentation of Triton. KServe, Triton and Seldon speak both, so their clients work with this service.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, FailFast, TypeAdapter, ValidationError
from pydantic import Field as Described
from pydantic_core import to_json

from sknn.onnx_predictor import ModelInput
from sknn.serving.errors import RequestError
from sknn.serving.fields import BOOLEAN, CATEGORY, INTEGER, NUMBER
from sknn.serving.records import MissingNumber, as_numbers

JSON_LENGTH = "inference-header-content-length"  # the header that says where the binary data begin
BINARY_TYPE = "application/octet-stream"  # of a response with binary data
DATATYPES = {  # name, numpy's type, kind of field
    "FP16": (np.float16, NUMBER),
    "FP32": (np.float32, NUMBER),
    "FP64": (np.float64, NUMBER),
    "INT32": (np.int32, INTEGER),
    "INT64": (np.int64, INTEGER),
    "BOOL": (np.bool_, BOOLEAN),
    "BYTES": (np.object_, CATEGORY),
}
CELLS: dict[str, TypeAdapter] = {  # what the elements of JSON data may be; null, NaN and "" are missing, as in records
    NUMBER: TypeAdapter(Annotated[list[float | Annotated[str, Described(max_length=0)] | None], FailFast()]),
    INTEGER: TypeAdapter(Annotated[list[int], FailFast()]),
    BOOLEAN: TypeAdapter(Annotated[list[bool], FailFast()]),
    CATEGORY: TypeAdapter(Annotated[list[str | MissingNumber | None], FailFast()]),
}
MAX_DIMENSIONS = 3  # of JSON data that are nested


class _Message(BaseModel):
    """A JSON object of the protocol. It may have further members, which are ignored as the protocol asks for."""

    model_config = ConfigDict(strict=True)
    parameters: dict[str, Any] = {}


class RequestInput(_Message):
    """An input tensor."""

    name: str
    shape: Annotated[list[Annotated[int, Described(ge=0)]], FailFast()]
    datatype: str
    data: list[Any] | None = None


class RequestOutput(_Message):
    """A request for an output tensor."""

    name: str


class InferenceRequest(_Message):
    """The JSON of a request."""

    id: str | None = None
    inputs: Annotated[list[RequestInput], Described(min_length=1), FailFast()]
    outputs: Annotated[list[RequestOutput], FailFast()] = []


class ResponseOutput(_Message):
    """An output tensor."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float | int | bool | str] | None = None


class InferenceResponse(_Message):
    """The JSON of a response."""

    model_config = ConfigDict(protected_namespaces=())
    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[ResponseOutput]


@dataclass(frozen=True)
class Inference:
    """A request that has been read.

    Attributes
    ----------
    request : InferenceRequest
    tensors : dict of str to ndarray
        Each input of the graph.
    """

    request: InferenceRequest
    tensors: dict[str, np.ndarray]


def datatype(dtype: Any) -> str:
    """Return the protocol's name of a numpy type."""
    kind = np.dtype(dtype)
    return next((name for name, (known, _) in DATATYPES.items() if kind == np.dtype(known)), "BYTES")


def read_inference(body: bytes, json_length: str | None, inputs: list[ModelInput]) -> Inference:
    """Return the request of a body.

    Raises
    ------
    RequestError
        400, the protocol's status for a bad request, in whatever way it is bad.
    """
    n_json = len(body) if json_length is None else _as_length(json_length, len(body))
    try:
        request = InferenceRequest.model_validate_json(body[:n_json])
    except ValidationError as error:
        mistake = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(map(str, mistake["loc"])) or None
        where = f"Field {field!r} of the request" if field else "The request"
        raise RequestError(400, f"{where} is not valid: {mistake['msg']}", field) from None
    expected = {target.name: target for target in inputs}
    given = [tensor.name for tensor in request.inputs]
    if sorted(given) != sorted(expected):
        raise RequestError(400, f"The request has the inputs {given}; the model takes {list(expected)}, each once")
    tensors, start = {}, n_json
    for tensor in request.inputs:
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            tensors[tensor.name] = _read_json(tensor, expected[tensor.name])
        else:
            stop = start + _as_length(size, len(body) - start)
            tensors[tensor.name] = _read_binary(tensor, expected[tensor.name], body[start:stop])
            start = stop
    if len({len(tensor) for tensor in tensors.values()}) > 1:
        raise RequestError(400, f"The inputs have different numbers of rows: {[t.shape[0] for t in request.inputs]}")
    return Inference(request, tensors)


def write_inference(
    request: InferenceRequest, outputs: dict[str, np.ndarray], name: str, version: str
) -> tuple[bytes, dict[str, str]]:
    """Return the body of a response, and its headers."""
    wanted = {output.name: output for output in request.outputs} or dict.fromkeys(outputs)
    unknown = [name for name in wanted if name not in outputs]
    if unknown:
        raise RequestError(400, f"The model has no output {unknown[0]!r}; it has {list(outputs)}", "outputs")
    described: list[dict[str, Any]] = []
    blocks: list[bytes] = []
    for output_name, output in wanted.items():
        values = outputs[output_name]
        description = {"name": output_name, "datatype": datatype(values.dtype), "shape": list(values.shape)}
        as_binary = request.parameters.get("binary_data_output", False)
        if output is not None:
            as_binary = output.parameters.get("binary_data", as_binary)
        if as_binary is True:
            blocks.append(_to_bytes(values))
            described.append(description | {"parameters": {"binary_data_size": len(blocks[-1])}})
        else:
            described.append(description | {"data": values.ravel().tolist()})
    message = {"model_name": name, "model_version": version, "outputs": described}
    text = to_json(message if request.id is None else message | {"id": request.id}, inf_nan_mode="null")
    if not blocks:
        return text, {"content-type": "application/json"}
    headers = {"content-type": BINARY_TYPE, JSON_LENGTH: str(len(text))}
    return b"".join([text, *blocks]), headers


def _as_length(value: Any, available: int) -> int:
    try:
        length = int(value)
    except (TypeError, ValueError, OverflowError):  # OverflowError of an infinity
        length = -1
    if isinstance(value, bool) or not 0 <= length <= available:
        raise RequestError(400, f"The request announces {value!r} bytes of data, and has {available}")
    return length


def _read_json(tensor: RequestInput, target: ModelInput) -> np.ndarray:
    dtype, kind = _types(tensor, target)
    if tensor.data is None:
        raise RequestError(400, f"The input {tensor.name!r} has no data", tensor.name)
    try:
        values = CELLS[kind].validate_python(_flatten(tensor.data), strict=True)
    except ValidationError as error:
        mistake = error.errors(include_url=False, include_context=False)[0]
        raise RequestError(
            400, f"The input {tensor.name!r} holds {mistake['input']!r}, which is no {tensor.datatype}", tensor.name
        ) from None
    return _reshape(_convert(values, dtype, kind, tensor.name), tensor, target)


def _convert(values: list[Any], dtype: Any, kind: str, name: str) -> np.ndarray:
    if kind == NUMBER:
        return as_numbers(values)
    try:
        return np.array(values, dtype=dtype)
    except OverflowError:
        raise RequestError(400, f"The input {name!r} holds an integer that is too large for {dtype.__name__}") from None


def _read_binary(tensor: RequestInput, target: ModelInput, block: bytes) -> np.ndarray:
    dtype, _ = _types(tensor, target)
    if dtype is np.object_:
        return _reshape(np.array(_split_strings(block, tensor.name), dtype=object), tensor, target)
    if len(block) % np.dtype(dtype).itemsize:
        raise RequestError(
            400,
            f"The input {tensor.name!r} has {len(block)} bytes, no multiple of the size of {tensor.datatype}",
        )
    return _reshape(np.frombuffer(block, dtype=np.dtype(dtype).newbyteorder("<")).astype(dtype), tensor, target)


def _types(tensor: RequestInput, target: ModelInput) -> tuple[Any, str]:
    """Return numpy's type of an input, and its kind."""
    expected = datatype(target.dtype)
    if tensor.datatype != expected:
        raise RequestError(
            400,
            f"The input {tensor.name!r} has the datatype {tensor.datatype!r}; the model takes {expected}",
            tensor.name,
        )
    return DATATYPES[expected]


def _reshape(values: np.ndarray, tensor: RequestInput, target: ModelInput) -> np.ndarray:
    """Return the rows of an input. [n] is accepted for [n, 1]."""
    shape = tuple(tensor.shape)
    if len(shape) == 1 and target.shape == (1,):
        shape = (*shape, 1)
    if len(shape) != 1 + len(target.shape) or shape[1:] != target.shape:
        expected = [-1, *target.shape]
        raise RequestError(
            400, f"The input {tensor.name!r} has the shape {tensor.shape}; the model takes {expected}", tensor.name
        )
    if values.size != np.prod(shape, dtype=object):
        raise RequestError(
            400, f"The input {tensor.name!r} has {values.size} values, and its shape {tensor.shape}", tensor.name
        )
    return values.reshape(shape)


def _flatten(data: list[Any]) -> list[Any]:
    """Return the elements of nested lists."""
    for _ in range(MAX_DIMENSIONS):
        if not any(isinstance(item, list) for item in data):
            break
        data = [cell for item in data for cell in (item if isinstance(item, list) else [item])]
    return data


def _split_strings(block: bytes, name: str) -> list[str]:
    """Return strings that each follow their length, four bytes with the lowest first."""
    strings, start = [], 0
    while start < len(block):
        begin = start + 4
        start = begin + int.from_bytes(block[start:begin], "little")
        if start > len(block):
            raise RequestError(400, f"The input {name!r} ends within a string", name)
        try:
            strings.append(block[begin:start].decode())
        except UnicodeDecodeError:
            raise RequestError(400, f"The input {name!r} holds a string that is not UTF-8", name) from None
    return strings


def _to_bytes(values: np.ndarray) -> bytes:
    if values.dtype.kind not in "OU":
        return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
    texts = [str(text).encode() for text in values.ravel()]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)

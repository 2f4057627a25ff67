"""Which releases of Triton run a graph: what their ONNX Runtime supports, compared with what the graph needs."""

from typing import Any, NamedTuple


class Runtime(NamedTuple):
    """The first release of Triton with a version of ONNX Runtime, and the newest formats that this version runs."""

    triton: str
    onnxruntime: str
    opset: int
    opset_ml: int
    ir_version: int


# The releases are those of docs/introduction/compatibility.md of Triton's server, which begins at 24.04. The formats
# are measured: each version of ONNX Runtime loaded graphs of increasing versions until it refused one.
RUNTIMES = (
    Runtime("24.04", "1.17.3", 20, 4, 9),
    Runtime("24.05", "1.18.0", 21, 5, 10),
    Runtime("25.03", "1.21.0", 22, 5, 10),
    Runtime("25.09", "1.23.0", 23, 5, 11),
    Runtime("26.02", "1.24.1", 25, 5, 13),
    Runtime("26.07", "1.27.0", 26, 5, 13),
)
OPSETS = {"": "opset", "ai.onnx": "opset", "ai.onnx.ml": "opset_ml"}  # by domain; "ai.onnx" is another name of ""
# All of these versions, and 1.28.0 of Triton 26.08, have no such operators for doubles.
LACKING = {"Cos": "train without a periodic `numeric_embedding`, or in float32"}
# They fuse this operator with a product, and the result is an operator that they lack for doubles.
WRONGLY_FUSED = "Sigmoid"


def find_runtime(program: Any) -> Runtime:
    """Return the oldest of `RUNTIMES` that runs a graph.

    Raises
    ------
    ValueError
        If the graph has operators that no runtime has, or is newer than all runtimes.
    """
    _check_operators(program)
    opsets = [(OPSETS[opset.domain], opset.version) for opset in program.opset_import if opset.domain in OPSETS]
    needed = [("ir_version", program.ir_version), *opsets]
    for runtime in RUNTIMES:
        if all(getattr(runtime, name) >= version for name, version in needed):
            return runtime
    newest = RUNTIMES[-1]
    raise ValueError(
        f"The graph has {_list(needed)}. The newest ONNX Runtime of Triton that is known here, {newest.onnxruntime} in "
        f"{newest.triton}, runs {_list([(name, getattr(newest, name)) for name, _ in needed])}; lower `target_opset`."
    )


def can_be_fused(program: Any) -> bool:
    """Return whether the runtimes may fuse the graph's operators and run the result."""
    return WRONGLY_FUSED not in _operators_on_doubles(program)


def _check_operators(program: Any) -> None:
    known = {*OPSETS, *(function.domain for function in program.functions)}
    unknown = sorted({f"{node.domain}.{node.op_type}" for node in program.graph.node if node.domain not in known})
    if unknown:
        raise ValueError(f"The graph has operators that are not ONNX's, which Triton lacks: {', '.join(unknown)}.")
    for operator in sorted(_operators_on_doubles(program) & LACKING.keys()):
        raise ValueError(
            f"The graph needs the operator {operator} for doubles, which the ONNX Runtime of Triton lacks; "
            f"{LACKING[operator]}."
        )


def _operators_on_doubles(program: Any) -> set[str]:
    """Return the types of the nodes whose first input is a tensor of doubles."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(program).graph
    values = [*graph.input, *graph.value_info]
    doubles = {value.name for value in values if value.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE}
    doubles |= {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.DOUBLE}
    return {node.op_type for node in graph.node if node.input and node.input[0] in doubles}


def _list(versions: list[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions)

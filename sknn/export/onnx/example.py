"""A typical record, and what the graph gives for it. `OnnxPredictor.self_check` compares its own outputs with these."""

from typing import Any

import numpy as np
from sklearn.base import is_classifier

from sknn.export.check import margin, run_graph
from sknn.export.onnx.inputs import InputSpec
from sknn.onnx_predictor.predictor import OnnxPredictor

TOLERANCE = 1e-3  # another processor rounds in another way, and a damaged graph gives something else altogether
INT64_RANGE = -(2**63), 2**63 - 1024  # of the integers that float64 holds as well


def describe_example(
    model: Any, program: Any, rows: Any, inputs: list[InputSpec], data: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the metadata `example`, `expected` and `tolerance`; None each if no record gives finite outputs."""
    example = typical_record(data, inputs)
    expected = None if example is None else _expected(program, example)
    if expected is None:
        return {"example": None, "expected": None, "tolerance": None}
    names = [output.name for output in program.graph.output]
    if is_classifier(model) and not _is_clear(expected):
        del expected[names[0]]
    tolerance = {
        name: (TOLERANCE * (_size(expected[name]) + _size(output))).tolist()
        for name, output in zip(names, run_graph(program, rows, inputs), strict=True)
        if name in expected and expected[name].dtype.kind == "f"
    }
    return {
        "example": example,
        "expected": {name: output.tolist() for name, output in expected.items()},
        "tolerance": tolerance,
    }


def typical_record(data: dict[str, Any] | None, inputs: list[InputSpec]) -> dict[str, Any] | None:
    """Return the median or the most frequent level of each column of a summary; None if it has no columns."""
    if data is None or not data["columns"]:
        return None
    columns = data["columns"]
    types = [spec.type for spec in inputs] if len(inputs) == len(columns) else [inputs[0].type] * len(columns)
    return {
        column["name"]: _typical_value(column, input_type) for column, input_type in zip(columns, types, strict=True)
    }


def _typical_value(column: dict[str, Any], input_type: str) -> Any:
    """Return a value of the input's type; None if all values are missing."""
    if column["kind"] == "category":
        return max(column["levels"], key=column["levels"].get, default=None)
    if column["deciles"] is None:
        return None
    median = column["deciles"][5]
    return {"int64": _as_int64, "bool": lambda value: value >= 0.5}.get(input_type, float)(median)


def _as_int64(value: float) -> int:
    smallest, largest = INT64_RANGE
    return max(smallest, min(round(value), largest))


def _expected(program: Any, example: dict[str, Any]) -> dict[str, np.ndarray] | None:
    """Return the outputs that are tensors; None if the graph fails on the record, or gives NaN or infinity."""
    try:
        outputs = OnnxPredictor(program.SerializeToString()).run(_as_row(example)).raw
    except ValueError:
        return None
    tensors = {name: output for name, output in outputs.items() if isinstance(output, np.ndarray)}
    is_finite = all(np.isfinite(output).all() for output in tensors.values() if output.dtype.kind == "f")
    return tensors if is_finite else None


def _as_row(example: dict[str, Any]) -> np.ndarray:
    return np.array([list(example.values())], dtype=object)


def _size(output: np.ndarray) -> np.ndarray:
    """Return the mean size of the numbers in each column of an output: (K,) for (n, K) and (n, members, K)."""
    return np.abs(output.reshape(-1, output.shape[-1] if output.ndim > 1 else 1)).mean(axis=0, dtype=float)


def _is_clear(outputs: dict[str, np.ndarray]) -> bool:
    """Return whether another processor, which rounds differently, gives the same label: the first of the outputs."""
    label, *others = outputs.values()
    p = [np.atleast_2d(output) for output in others if output.dtype.kind == "f" and output.ndim < 3]
    return not p or bool((margin(np.hstack(p), label) > 2 * TOLERANCE).all())

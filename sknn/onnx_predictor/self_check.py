"""Compare what a graph gives on this machine with what it gave when it was exported."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sknn.onnx_predictor.rows import ModelInput


def blank_row(inputs: list[ModelInput]) -> dict[str, np.ndarray]:
    """Return the tensors of one row of zeros, or of empty strings."""
    blanks: dict[Any, Any] = {np.object_: ""}
    return {
        target.name: np.full((1, *(size or 1 for size in target.shape)), blanks.get(target.dtype, 0), target.dtype)
        for target in inputs
    }


def check_finite(outputs: Mapping[str, Any]) -> None:
    """Raise ValueError if an output holds NaN or infinity."""
    for name, output in outputs.items():
        numbers = _tensor(output)
        if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
            raise ValueError(f"The model's output {name!r} is not finite in its self-check: {_show(numbers)}.")


def check_outputs(outputs: Mapping[str, Any], expected: Mapping[str, Any], tolerance: Mapping[str, Any]) -> None:
    """Raise ValueError if an output differs from the expected one by more than the tolerance of its column."""
    for name, values in expected.items():
        if name not in outputs:
            raise ValueError(f"The model has no output {name!r}, which its metadata expect; it has {list(outputs)}.")
        actual, wanted = _tensor(outputs[name]), np.asarray(values)
        if actual.shape != wanted.shape or not _agree(actual, wanted, tolerance.get(name, 0)):
            raise ValueError(
                f"The model's output {name!r} for its example is {_show(actual)}, and was {_show(wanted)} when it was "
                "exported: the file or ONNX Runtime has changed what it computes."
            )


def _agree(actual: np.ndarray, wanted: np.ndarray, tolerance: Any) -> bool:
    if actual.dtype.kind != "f" or wanted.dtype.kind not in "fiu":
        return bool((actual.astype(str) == wanted.astype(str)).all())
    return bool((np.abs(actual - wanted) <= np.asarray(tolerance, dtype=float)).all())


def _tensor(output: Any) -> np.ndarray:
    """Return an output as an array; of dicts of probabilities, as with the option zipmap, the probabilities."""
    if isinstance(output, list) and all(isinstance(row, dict) for row in output):
        return np.array([list(row.values()) for row in output])
    return np.asarray(output)


def _show(values: np.ndarray) -> str:
    return np.array2string(values, separator=", ", threshold=10, precision=6)

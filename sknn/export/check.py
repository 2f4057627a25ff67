"""Compare the outputs of an exported graph with the predictions of its model."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import is_classifier

from sknn.export.onnx.inputs import InputSpec, make_feed

MAX_ROWS = 256  # of the sample
TOLERANCE = 1e-5  # float32 networks differ by about 3e-7
SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)  # a smaller one may be 0 in a float32 graph
LOW_PRECISION = 2e-2  # tolerance for bfloat16, whose products have 8 bits; the graph computes them in float32


def rows_to_check(X: Any) -> Any:
    """Return at most `MAX_ROWS` rows of a table, evenly spread."""
    rows = np.unique(np.linspace(0, X.shape[0] - 1, min(X.shape[0], MAX_ROWS)).astype(int))
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def run_graph(program: Any, X: Any, inputs: list[InputSpec]) -> list[Any]:
    """Return the graph's outputs for rows."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised, and need not be logged as well
    session = onnxruntime.InferenceSession(program.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, make_feed(X, inputs))


def find_difference(
    model: Any, X: Any, outputs: list[Any], tolerance: float = TOLERANCE, has_indices: bool = False
) -> str | None:
    """Describe a difference between a graph's outputs and the model's predictions, or transformed rows; None if equal.

    Values may differ by `tolerance` times the sum of their size and the mean size of their column. Labels may differ
    where the probabilities of the two most probable ones differ by less than twice the tolerance. With `has_indices`
    the graph gives indices of labels.
    """
    if is_classifier(model):
        labels, actual = np.asarray(model.predict(X)), np.asarray(outputs[0])
        actual = np.asarray(model.classes_)[actual] if has_indices else actual
        if not hasattr(model, "predict_proba"):
            return _compare_labels(labels, actual, np.ones(labels.shape, bool))
        p = np.asarray(model.predict_proba(X))
        found = _compare_values("predict_proba", p, _probabilities(outputs), tolerance, SMALLEST_PROBABILITY)
        return found or _compare_labels(labels, actual, margin(p, labels) > 2 * tolerance)
    name = "predict" if hasattr(model, "predict") else "transform"
    expected = getattr(model, name)(X)
    expected = expected.toarray() if sp.issparse(expected) else np.asarray(expected)
    if len(outputs) > 1:  # strings beside numbers are not compared: an error in them shows in the next step
        return None
    return _compare_values(name, expected, np.asarray(outputs[0]), tolerance)


def _compare_values(
    name: str, expected: np.ndarray, actual: np.ndarray, tolerance: float, smallest: float = 0.0
) -> str | None:
    if expected.dtype.kind not in "fiub":
        return None if np.array_equal(expected.astype(str), actual.astype(str)) else f"{name} gives other strings."
    expected = expected.reshape(len(expected), -1).astype(float)
    if actual.size != expected.size:
        return f"{name} gives an array of shape {expected.shape}, and the graph one of shape {actual.shape}."
    actual = actual.reshape(expected.shape).astype(float)
    size = np.where(np.isfinite(expected), np.abs(expected), 0)
    allowed = tolerance * (size + size.mean(0)) + smallest
    same = (expected == actual) | (np.isnan(expected) & np.isnan(actual))
    error = np.abs(np.subtract(expected, actual, where=~same, out=np.zeros_like(actual)))
    error[np.isnan(error)] = np.inf  # NaN on one side only
    wrong = error > allowed
    if not wrong.any():
        return None
    worst = np.unravel_index(np.where(wrong, error / (allowed + 1e-300), 0).argmax(), wrong.shape)
    return (
        f"{name} gives {expected[worst]:.9g} in row {worst[0]}, column {worst[1]} of the checked ones, and the graph "
        f"{actual[worst]:.9g}; {allowed[worst]:.1g} would be allowed."
    )


def _compare_labels(expected: np.ndarray, actual: np.ndarray, is_clear: np.ndarray) -> str | None:
    if expected.dtype.kind in "bf":  # skl2onnx's zipmap makes them integers
        actual = actual.astype(expected.dtype)
    wrong = (expected.astype(str) != actual.astype(str)) & is_clear
    if not wrong.any():
        return None
    row = tuple(np.argwhere(wrong)[0])
    return f"predict gives {expected[row]} in row {row[0]} of the checked ones, and the graph {actual[row]}."


def margin(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return how clear each label is: the gap of the two largest probabilities, or of p and 1 - p if multilabel."""
    if labels.ndim == 2:
        return 2 * np.abs(p - 0.5)
    best = np.sort(np.hstack([np.zeros((len(p), 1)), p]), axis=1)  # a single class is compared with 0
    return best[:, -1] - best[:, -2]


def _probabilities(outputs: list[Any]) -> np.ndarray:
    """Return the probabilities (n, K). The option zipmap of skl2onnx decides how the graph returns them."""
    p = outputs[1]
    if isinstance(p, list):
        return np.array([list(row.values()) for row in p])
    if p.ndim == 1:
        return np.stack(outputs[1:], 1)
    return p

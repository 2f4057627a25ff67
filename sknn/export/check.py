"""Whether an ONNX graph does what its estimator does, on some rows, and which step is the first that doesn't."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import is_classifier

from sknn.export.onnx.inputs import Input, feeds

ROWS = 256  # of the sample, evenly spread, that are predicted both ways
TOLERANCE = 1e-5  # a float32 network comes to about 3e-7
LEAST_PROBABILITY = float(np.finfo(np.float32).tiny)  # what is smaller may be 0 in a graph of float32
LOW_PRECISION = 2e-2  # bfloat16 products have 8 bits; the graph computes them in float32


def some_rows(X: Any) -> Any:
    """At most `ROWS` rows of a table."""
    rows = np.unique(np.linspace(0, X.shape[0] - 1, min(X.shape[0], ROWS)).astype(int))
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def run(program: Any, X: Any, inputs: list[Input]) -> list[Any]:
    """The graph's outputs for rows."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised, and need not be printed as well
    session = onnxruntime.InferenceSession(program.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds(X, inputs))


def differences(
    model: Any, X: Any, outputs: list[Any], tolerance: float = TOLERANCE, without_labels: bool = False
) -> str | None:
    """Say where the outputs differ from what the model predicts, or transforms; None if nowhere.

    Numbers may differ by `tolerance` times their own size plus their column's mean size; labels where the two most
    probable ones are within twice the tolerance.
    """
    if is_classifier(model):
        labels, given = np.asarray(model.predict(X)), np.asarray(outputs[0])
        given = np.asarray(model.classes_)[given] if without_labels else given
        if not hasattr(model, "predict_proba"):
            return _labels_differ(labels, given, np.ones(labels.shape, bool))
        p = np.asarray(model.predict_proba(X))
        found = _numbers_differ("predict_proba", p, _probabilities(outputs), tolerance, LEAST_PROBABILITY)
        return found or _labels_differ(labels, given, _margin(p, labels) > 2 * tolerance)
    name = "predict" if hasattr(model, "predict") else "transform"
    expected = getattr(model, name)(X)
    expected = expected.toarray() if sp.issparse(expected) else np.asarray(expected)
    if len(outputs) > 1:  # strings beside numbers: the next step tells
        return None
    return _numbers_differ(name, expected, np.asarray(outputs[0]), tolerance)


def _numbers_differ(
    name: str, expected: np.ndarray, got: np.ndarray, tolerance: float, nothing: float = 0.0
) -> str | None:
    if expected.dtype.kind not in "fiub":
        return None if np.array_equal(expected.astype(str), got.astype(str)) else f"{name} gives other strings."
    expected = expected.reshape(len(expected), -1).astype(float)
    if got.size != expected.size:
        return f"{name} gives an array of shape {expected.shape}, and the graph one of shape {got.shape}."
    got = got.reshape(expected.shape).astype(float)
    size = np.where(np.isfinite(expected), np.abs(expected), 0)
    allowed = tolerance * (size + size.mean(0)) + nothing
    same = (expected == got) | (np.isnan(expected) & np.isnan(got))
    error = np.abs(np.subtract(expected, got, where=~same, out=np.zeros_like(got)))
    error[np.isnan(error)] = np.inf  # missing on one side only
    wrong = error > allowed
    if not wrong.any():
        return None
    worst = np.unravel_index(np.where(wrong, error / (allowed + 1e-300), 0).argmax(), wrong.shape)
    return (
        f"{name} gives {expected[worst]:.9g} in row {worst[0]}, column {worst[1]} of the checked ones, and the graph "
        f"{got[worst]:.9g}; {allowed[worst]:.1g} would be allowed."
    )


def _labels_differ(expected: np.ndarray, got: np.ndarray, is_clear: np.ndarray) -> str | None:
    if expected.dtype.kind in "bf":  # which skl2onnx's zipmap makes integers
        got = got.astype(expected.dtype)
    wrong = (expected.astype(str) != got.astype(str)) & is_clear
    if not wrong.any():
        return None
    row = tuple(np.argwhere(wrong)[0])
    return f"predict gives {expected[row]} in row {row[0]} of the checked ones, and the graph {got[row]}."


def _margin(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How far each label is from being another: the two best probabilities apart, or of a multilabel one both sides."""
    if labels.ndim == 2:
        return 2 * np.abs(p - 0.5)
    best = np.sort(np.hstack([np.zeros((len(p), 1)), p]), axis=1)  # a single class has nothing beside it
    return best[:, -1] - best[:, -2]


def _probabilities(outputs: list[Any]) -> np.ndarray:
    """The probabilities (n, K), in each of the forms that skl2onnx's zipmap gives them."""
    given = outputs[1]
    if isinstance(given, list):
        return np.array([list(row.values()) for row in given])
    if given.ndim == 1:
        return np.stack(outputs[1:], 1)
    return given

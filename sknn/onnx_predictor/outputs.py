"""The outputs of a graph: which of them hold the labels or values, the probabilities, and the members' predictions."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sknn.onnx_predictor.rows import EXPORT_AGAIN, NUMPY_TYPES

LABELS = ("label", "output_label")  # skl2onnx's names; an underscore follows if a column has the name
MEMBERS = ("member_probabilities", "member_values")
MULTILABEL_THRESHOLD = 0.5  # a label with a larger probability is predicted


@dataclass(frozen=True)
class ModelOutput:
    """An output of the graph.

    Attributes
    ----------
    name : str
    dtype : type or None
        numpy's type; None if the output is no tensor, as with skl2onnx's option `zipmap`.
    shape : tuple of int or None
        None stands for the rows, and for sizes that the graph does not declare.
    """

    name: str
    dtype: Any
    shape: tuple[int | None, ...]


class Outputs(NamedTuple):
    """What one run of a graph gives.

    Attributes
    ----------
    values : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        The labels or values, as `predict` returns them.
    probabilities : ndarray of shape (n_samples, n_classes), or None
        As `predict_proba` returns them; None for a regressor.
    members : ndarray of shape (n_samples, n_members, n_classes or n_outputs), or None
        Each member's probabilities or values; None if the model was exported without `members=True`.
    raw : dict of str to ndarray
        All outputs by name, as the graph gives them. Strings are arrays of objects. An output that is no tensor is a
        list.
    """

    values: np.ndarray
    probabilities: np.ndarray | None
    members: np.ndarray | None
    raw: dict[str, Any]


@dataclass(frozen=True)
class OutputNames:
    """The names of the outputs that hold the values, the probabilities (one or one for each class) and the members."""

    values: str
    probabilities: list[str]
    members: str | None

    @property
    def of_rows(self) -> set[str]:
        """The names of the outputs that have an entry for each row; others may be constants, such as class labels."""
        return {self.values, *self.probabilities, *([] if self.members is None else [self.members])}


def describe_output(node: Any) -> ModelOutput:
    """Describe an output of an ONNX Runtime session."""
    shape = tuple(size if isinstance(size, int) and size >= 0 else None for size in node.shape)
    return ModelOutput(node.name, NUMPY_TYPES.get(node.type), shape)


def find_outputs(nodes: list[Any]) -> OutputNames:
    """Return the names of a session's outputs by what they hold."""
    first, *others = nodes
    members = next((node.name for node in others if _name(node) in MEMBERS and len(node.shape) == 3), None)
    probabilities = []
    if _name(first) in LABELS:  # the probabilities are one output, or one for each class with zipmap="columns"
        kinds = [(node.type, len(node.shape)) for node in others]
        probabilities = [node.name for node, kind in zip(others, kinds, strict=True) if kind == kinds[0]]
    return OutputNames(first.name, probabilities, members)


def as_values(name: str, output: Any) -> np.ndarray:
    """Return the labels or values as `predict` does."""
    if not isinstance(output, np.ndarray):
        raise ValueError(f"The model's output {name!r} is not a tensor; {EXPORT_AGAIN}")
    if output.ndim == 2 and output.shape[1] == 1:
        output = output[:, 0]
    return output.astype(str) if output.dtype == object else output


def as_probabilities(names: list[str], outputs: list[Any], n_classes: int | None) -> np.ndarray:
    """Return the probabilities (n, n_classes); raise ValueError if the outputs hold something else."""
    if isinstance(outputs[0], list):  # one dict for each row, the default of skl2onnx
        p = np.array([list(row.values()) for row in outputs[0]], dtype=np.float32)
    else:
        p = outputs[0] if len(outputs) == 1 else np.column_stack(outputs)
    if p.ndim != 2 or p.dtype.kind != "f" or n_classes not in (None, p.shape[1]):
        raise ValueError(f"The model's output {names} is not a table with a probability for each class; {EXPORT_AGAIN}")
    return p


def _name(node: Any) -> str:
    return node.name.rstrip("_")

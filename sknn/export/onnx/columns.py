"""The columns of a table in an ONNX graph: an input for each, or one tensor that holds all of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sknn.export.onnx.graph import ML, Graph
from sknn.preprocessing.levels import as_level, codes_by_alias


@dataclass(frozen=True)
class Column:
    """A column of the table: the tensor that holds it, and its index there."""

    tensor: str
    index: int
    tensor_type: str  # skl2onnx's name
    dtype_kind: str  # numpy's letter: "f" (any float), "i", "b", "U"
    tensor_width: int  # columns of the tensor


class GraphColumns:
    """The table that is the input of a step.

    Parameters
    ----------
    graph : Graph
    variables : list of skl2onnx's Variable
        Tensors of shape (n, width), side by side.
    n_features : int
        The number of all columns: the width of one tensor may be undeclared.
    names : list
        Names of the columns, for messages.
    """

    def __init__(self, graph: Graph, variables: list[Any], n_features: int, names: list[Any]) -> None:
        self.graph, self.names = graph, names
        self.columns: list[Column] = []
        for variable, width in zip(variables, _widths(variables, n_features), strict=True):
            tensor_type, kind = type(variable.type).__name__, dtype_kind(variable.type)
            self.columns += [Column(variable.full_name, j, tensor_type, kind, width) for j in range(width)]

    def numeric(self, indices: np.ndarray) -> str:
        """Write these columns as float64 (n, len(indices)). In float32 a column with a mean of 1e9 loses its digits."""
        for j in indices:
            if self.columns[j].dtype_kind == "U":
                raise ValueError(f"Column {self.names[j]!r} held numbers in fit, and holds strings in X_sample.")
        blocks, written = [], []
        for tensor_type in sorted({self.columns[j].tensor_type for j in indices}):
            columns = [self.columns[j] for j in indices if self.columns[j].tensor_type == tensor_type]
            tensors = list(dict.fromkeys(column.tensor for column in columns))
            blocks.append(self.graph.cast(self.graph.concat(tensors), np.float64))
            written += [j for tensor in tensors for j, column in enumerate(self.columns) if column.tensor == tensor]
        order = [written.index(j) for j in indices]
        block = self.graph.concat(blocks)
        return block if order == list(range(len(written))) else self.graph("Gather", block, np.array(order), axis=1)

    def lookup(self, j: int, levels: list[str], values: np.ndarray) -> str:
        """Write a value (n, 1) for each row of a category: int64, or floats of the network's dtype.

        Parameters
        ----------
        j : int
            Index of the column.
        levels : list of str
        values : ndarray of shape (len(levels) + 1,)
            The values by code: first that of missing and unknown levels, then one for each level.
        """
        default = values[0]
        if not levels:  # the operators need at least one level
            levels, values = ["0"], np.array([default, default])
        codes = codes_by_alias(levels)
        levels, values = list(codes), values[list(codes.values())]
        column = self.columns[j]
        tensor = column.tensor
        if column.tensor_width > 1:
            tensor = self.graph("Gather", tensor, [column.index], axis=1)
        if column.dtype_kind == "U":
            return self._encode(tensor, "strings", levels, values, default)
        keys, kept = self._numeric_keys(j, levels)
        if column.dtype_kind == "f":
            return self._match(tensor, keys, values[kept], default)
        tensor = self.graph.cast(tensor, np.int64) if column.dtype_kind == "b" else tensor
        return self._encode(tensor, "int64s", keys, values[kept], default)

    def _encode(self, tensor: str, key_type: str, keys: list[Any], values: np.ndarray, default: float) -> str:
        is_int = values.dtype.kind == "i"
        options = {f"keys_{key_type}": keys, f"values_{'int64s' if is_int else 'floats'}": values.tolist()}
        options["default_int64" if is_int else "default_float"] = int(default) if is_int else float(default)
        code = self.graph("LabelEncoder", tensor, domain=ML, **options)
        return code if is_int or self.graph.dtype == np.float32 else self.graph.cast(code, self.graph.dtype)

    def _match(self, tensor: str, keys: list[Any], values: np.ndarray, default: float) -> str:
        """Compare with every key: LabelEncoder has no float64 keys."""
        graph = self.graph
        found = graph.cast(graph("Equal", graph.cast(tensor, np.float64), [np.asarray(keys, float)]), graph.dtype)
        value = graph("Add", graph("MatMul", found, graph.array(values - default)[:, None]), graph.array(default))
        return graph.cast(value, np.int64) if values.dtype.kind == "i" else value

    def _numeric_keys(self, j: int, levels: list[str]) -> tuple[list[Any], list[int]]:
        """Return the levels that are numbers of the column's type, and their indices in `levels`."""
        number_type = float if self.columns[j].dtype_kind == "f" else int
        keys = {i: value for i, level in enumerate(levels) if (value := level_number(level, number_type)) is not None}
        if number_type is int:  # an int64 column cannot hold others
            keys = {i: value for i, value in keys.items() if -(2**63) <= value < 2**63}
        if not keys:
            raise ValueError(
                f"Column {self.names[j]!r} is a category of {levels[:3]} and others in fit, and holds numbers in "
                "X_sample, none of which can be one of these; give X_sample the types of the training table."
            )
        return list(keys.values()), list(keys)


def _widths(variables: list[Any], n_features: int) -> list[int]:
    """Return the number of columns of each tensor. One tensor may leave it undeclared."""
    widths = [variable.type.shape[1] if len(variable.type.shape) > 1 else None for variable in variables]
    rest = n_features - sum(width or 0 for width in widths)
    return [width or rest for width in widths]


def level_number(level: str, number_type: Any) -> Any:
    """Return the int or float whose level is called `level`, or None if there is none."""
    try:
        value = number_type(level)
        return value if value == value and as_level(value) == level else None
    except (ValueError, OverflowError):
        return None


def dtype_kind(tensor_type: Any) -> str:
    """Return numpy's letter for the dtype of a tensor of skl2onnx."""
    name = type(tensor_type).__name__
    kinds = {"String": "U", "Bool": "b", "Int": "i", "UInt": "i", "Float": "f", "Double": "f"}
    return next(kind for start, kind in kinds.items() if name.startswith(start))

"""The columns of a table in an ONNX graph, wherever they come from: an input each, or one tensor of them all."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sknn.export.onnx.graph import ML, Graph
from sknn.preprocessing.levels import as_level, spellings


@dataclass(frozen=True)
class Column:
    """A column of the table: the tensor it lies in, its place there, and what the tensor holds."""

    tensor: str
    place: int
    type: str  # of the tensor, as skl2onnx calls it
    kind: str  # of numpy: "f" (any float), "i", "b", "U"
    is_alone: bool  # whether the tensor holds nothing else


class GraphColumns:
    """The table that a step gets.

    Parameters
    ----------
    graph : Graph
    variables : list of skl2onnx's Variable
        Tensors of shape (n, width), side by side.
    n_features : int
        Columns in all, for a tensor whose width is not declared.
    names : list
        What the columns are called, for messages.
    """

    def __init__(self, graph: Graph, variables: list[Any], n_features: int, names: list[Any]) -> None:
        self.graph, self.names = graph, names
        self.columns: list[Column] = []
        for variable, width in zip(variables, _widths(variables, n_features), strict=True):
            name, its_type, kind = variable.full_name, type(variable.type).__name__, kind_of(variable.type)
            self.columns += [Column(name, place, its_type, kind, width == 1) for place in range(width)]

    def numbers(self, places: np.ndarray) -> str:
        """These columns as float64 (n, len(places)): a mean of 1e9 leaves a float32 no digits."""
        for j in places:
            if self.columns[j].kind == "U":
                raise ValueError(f"Column {self.names[j]!r} held numbers in fit, and holds strings in X_sample.")
        blocks, order = [], []
        for its_type in sorted({self.columns[j].type for j in places}):
            tensors = list(dict.fromkeys(self.columns[j].tensor for j in places if self.columns[j].type == its_type))
            block = self.graph.concat(tensors)
            blocks.append(self.graph.cast(block, np.float64))
            order += [j for tensor in tensors for j, column in enumerate(self.columns) if column.tensor == tensor]
        wanted = [order.index(j) for j in places]
        block = self.graph.concat(blocks)
        return block if wanted == list(range(len(order))) else self.graph("Gather", block, np.array(wanted), axis=1)

    def lookup(self, j: int, levels: list[str], values: np.ndarray, default: float) -> str:
        """The value (n, 1) of each row's level, `default` for what is none of them: int64 or the network's floats."""
        if not levels:  # of which a lookup needs one
            levels, values = ["0"], np.array([default])
        table = spellings(levels)
        levels, values = list(table), values[[code - 1 for code in table.values()]]
        column = self.columns[j]
        tensor = column.tensor if column.is_alone else self.graph("Gather", column.tensor, [column.place], axis=1)
        if column.kind == "U":
            return self._encode(tensor, "strings", levels, values, default)
        keys, kept = self._numeric_keys(j, levels)
        if column.kind == "f":
            return self._match(tensor, keys, values[kept], default)
        tensor = self.graph.cast(tensor, np.int64) if column.kind == "b" else tensor
        return self._encode(tensor, "int64s", keys, values[kept], default)

    def _encode(self, tensor: str, kind: str, keys: list[Any], values: np.ndarray, default: float) -> str:
        whole = values.dtype.kind == "i"
        options = {f"keys_{kind}": keys, f"values_{'int64s' if whole else 'floats'}": values.tolist()}
        options["default_int64" if whole else "default_float"] = int(default) if whole else float(default)
        code = self.graph("LabelEncoder", tensor, domain=ML, **options)
        return code if whole or self.graph.dtype == np.float32 else self.graph.cast(code, self.graph.dtype)

    def _match(self, tensor: str, keys: list[Any], values: np.ndarray, default: float) -> str:
        """By comparison, since LabelEncoder knows single precision only."""
        graph = self.graph
        found = graph.cast(graph("Equal", graph.cast(tensor, np.float64), [np.asarray(keys, float)]), graph.dtype)
        value = graph("Add", graph("MatMul", found, graph.number(values - default)[:, None]), graph.number(default))
        return graph.cast(value, np.int64) if values.dtype.kind == "i" else value

    def _numeric_keys(self, j: int, levels: list[str]) -> tuple[list[Any], list[int]]:
        """The numbers that are called so, and which of the levels these are."""
        number = float if self.columns[j].kind == "f" else int
        keys = {i: value for i, level in enumerate(levels) if (value := number_called(number, level)) is not None}
        if number is int:  # beyond int64 there is nothing to look up
            keys = {i: value for i, value in keys.items() if -(2**63) <= value < 2**63}
        if not keys:
            raise ValueError(
                f"Column {self.names[j]!r} is a category of {levels[:3]} and others in fit, and holds numbers in "
                "X_sample, none of which can be one of these; give X_sample the types of the training table."
            )
        return list(keys.values()), list(keys)


def _widths(variables: list[Any], n_features: int) -> list[int]:
    """Columns of each tensor; one of them may leave them open."""
    widths = [variable.type.shape[1] if len(variable.type.shape) > 1 else None for variable in variables]
    rest = n_features - sum(width or 0 for width in widths)
    return [width or rest for width in widths]


def number_called(kind: Any, level: str) -> Any:
    """The number of a kind, int or float, that is called like the level; None if there is none."""
    try:
        value = kind(level)
        return value if value == value and as_level(value) == level else None
    except (ValueError, OverflowError):
        return None


def kind_of(tensor_type: Any) -> str:
    """numpy's kind of what a tensor of skl2onnx holds."""
    name = type(tensor_type).__name__
    kinds = {"String": "U", "Bool": "b", "Int": "i", "UInt": "i", "Float": "f", "Double": "f"}
    return next(kind for start, kind in kinds.items() if name.startswith(start))

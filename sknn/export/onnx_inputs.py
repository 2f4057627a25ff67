"""What goes into an ONNX graph: the inputs that a table asks for, and the tensors that its rows are."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sknn._encoding import as_numbers, column_values
from sknn._levels import as_level, is_missing
from sknn._tables import is_frame

TYPES: dict[str, Any] = {
    "float": np.float32,
    "double": np.float64,
    "int64": np.int64,
    "bool": np.bool_,
    "string": object,
}
ARRAY = "X"  # the input that an array of numbers goes into, as in skl2onnx


@dataclass(frozen=True)
class Input:
    """An input of the graph.

    Attributes
    ----------
    name : str
    type : {'float', 'double', 'int64', 'bool', 'string'}
    shape : tuple of int
        Of a row.
    column : int or None
        The column of the table that goes in alone; None for all of them.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    column: int | None = None


def inputs_of(X: Any) -> list[Input]:
    """One input per column of a frame, one for a whole array of numbers or of strings.

    An array of objects that are numbers in one column and strings in another gives an input per column, x0, x1, ...
    """
    if not is_frame(X) and X.dtype.kind in "fiub":
        return [Input(ARRAY, _type_of_numbers(X.dtype), tuple(X.shape[1:]))]
    columns = [_column(X, j) for j in range(X.shape[1])]
    kinds = [_type_of_column(column) for column in columns]
    if not is_frame(X) and len(set(kinds)) == 1:
        return [Input(ARRAY, kinds[0], tuple(X.shape[1:]))]
    names = [str(name) for name in X.columns] if is_frame(X) else [f"x{j}" for j in range(len(kinds))]
    bad = sorted({name for name in names if names.count(name) > 1 or not name})
    if bad:
        raise ValueError(
            f"X_sample has columns named {bad}; the inputs of an ONNX graph need a name each, all different."
        )
    return [Input(name, kind, (1,), j) for j, (name, kind) in enumerate(zip(names, kinds, strict=True))]


def feeds(X: Any, inputs: list[Input]) -> dict[str, np.ndarray]:
    """A table's rows as tensors; a missing string is ''."""
    if inputs[0].column is None:
        only = inputs[0]
        return {only.name: _texts(X) if only.type == "string" else np.asarray(X).astype(TYPES[only.type])}
    return {one.name: _tensor(_column(X, one.column), one.type)[:, None] for one in inputs}


def numbers_or_texts(X: Any, j: int) -> np.ndarray:
    """A column as float64 with NaN for missing, or as strings with '' for missing."""
    column = _column(X, j)
    return _tensor(column, "string" if _type_of_column(column) == "string" else "double")


def _column(X: Any, j: int | None) -> Any:
    return X.iloc[:, j] if hasattr(X, "iloc") else X[:, j]


def _values(column: Any) -> np.ndarray:
    return column if isinstance(column, np.ndarray) else column_values(column)


def _type_of_column(column: Any) -> str:
    """By dtype; numbers that may be missing, whatever their dtype, are double."""
    dtype = column.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "fiub":
        return _type_of_numbers(dtype)
    return "string" if as_numbers(_values(column)) is None else "double"


def _type_of_numbers(dtype: np.dtype) -> str:
    return {"i": "int64", "u": "int64", "b": "bool"}.get(dtype.kind, "float" if dtype.itemsize <= 4 else "double")


def _tensor(column: Any, kind: str) -> np.ndarray:
    if kind == "string":
        return _texts(_values(column))
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "fiub":
        return np.asarray(column).astype(TYPES[kind])
    return as_numbers(_values(column)).astype(TYPES[kind])  # type: ignore[union-attr]


def _texts(values: np.ndarray) -> np.ndarray:
    texts = ["" if is_missing(value) else as_level(value) for value in values.ravel().tolist()]
    return np.array(texts, dtype=object).reshape(values.shape)


def declare_inputs(graph: Any, inputs: list[Input]) -> None:
    """Give a graph these inputs, in place of its own, which may be numbers of other types, or one table of them all.

    A value inside that is called like an input gets an underscore.
    """
    from onnx import helper

    taken = _clear_names(graph, {one.name for one in inputs})
    own = [(value.name, value.type.tensor_type.elem_type) for value in graph.input]
    kinds = [helper.np_dtype_to_tensor_dtype(np.dtype(TYPES[one.type])) for one in inputs]
    if len(own) < len(inputs):
        table, its_kind = own[0]
        own = [(_new(f"{table}{j}", taken), its_kind) for j in range(len(inputs))]
        _put_first(graph, helper.make_node("Concat", [name for name, _ in own], [table], axis=1))
    for one, kind, (name, its_kind) in zip(inputs, kinds, own, strict=True):
        if kind == its_kind:
            _rename(graph, {name: one.name})
        else:
            _put_first(graph, helper.make_node("Cast", [one.name], [name], to=its_kind))
    del graph.input[:]
    for one, kind in zip(inputs, kinds, strict=True):
        graph.input.append(helper.make_tensor_value_info(one.name, kind, [None, *one.shape]))


def _clear_names(graph: Any, wanted: set[str]) -> set[str]:
    """Rename what is called so, and tell all names that are taken then."""
    taken = {name for node in graph.node for name in (*node.input, *node.output)} | {
        value.name for value in graph.input
    }
    names: dict[str, str] = {}
    for name in sorted(taken & wanted):
        names[name] = _new(name, taken | wanted)
        taken.add(names[name])
    _rename(graph, names)
    return taken | wanted


def _new(name: str, taken: set[str]) -> str:
    """The name with as many underscores as make it a new one."""
    name += "_"
    return _new(name, taken) if name in taken else name


def _put_first(graph: Any, node: Any) -> None:
    nodes = [node, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _rename(graph: Any, names: dict[str, str]) -> None:
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(name, name) for name in values]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g, names)
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = names.get(value.name, value.name)

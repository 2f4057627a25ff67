"""What goes into an ONNX graph: the inputs that a table asks for, and the tensors that its rows are."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sknn.export.onnx.columns import number_called
from sknn.export.onnx.graph import is_utf8
from sknn.preprocessing.columns import as_numbers, column_values, is_categorical_dtype
from sknn.preprocessing.levels import as_level, is_missing
from sknn.preprocessing.tables import is_frame

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


def inputs_of(X: Any, categories: Mapping[int, list[str]] | None = None) -> list[Input]:
    """One input per column of a frame, one for a whole array of numbers or of strings.

    An array of objects that are numbers in one column and strings in another gives an input per column, x0, x1, ...

    Parameters
    ----------
    X : frame or array
    categories : mapping of int to list of str, optional
        The levels of the columns that the model took for categories in the fit: what they are called there decides
        where the sample does not.
    """
    if not is_frame(X) and X.dtype.kind in "fib":
        return [Input(ARRAY, _type_of_numbers(X.dtype), tuple(X.shape[1:]))]
    names = [str(name) for name in X.columns] if is_frame(X) else [f"x{j}" for j in range(X.shape[1])]
    _check_names(names)
    levels = categories or {}
    for j in levels:
        _check_texts(levels[j], names[j])
    kinds = [_type_of_column(_column(X, j), levels.get(j)) for j in range(len(names))]
    if not is_frame(X) and len(set(kinds)) == 1:
        return [Input(ARRAY, kinds[0], tuple(X.shape[1:]))]
    return [Input(name, kind, (1,), j) for j, (name, kind) in enumerate(zip(names, kinds, strict=True))]


def _check_names(names: list[str]) -> None:
    bad = sorted({name for name in names if names.count(name) > 1 or not name or not is_utf8(name)})
    if bad:
        raise ValueError(
            f"X_sample has columns named {bad}; the inputs of an ONNX graph need a name each, all different, and in "
            "UTF-8."
        )


def feeds(X: Any, inputs: list[Input]) -> dict[str, np.ndarray]:
    """A table's rows as tensors; a missing string is ''."""
    if inputs[0].column is None:
        return {inputs[0].name: _tensor(X, inputs[0].type, inputs[0].name)}
    return {one.name: _tensor(_column(X, one.column), one.type, one.name)[:, None] for one in inputs}


def numbers_or_texts(X: Any, j: int, inputs: list[Input]) -> np.ndarray:
    """A column as float64 with NaN for missing, or as strings with '' for missing, by the type of its input."""
    one = inputs[0] if inputs[0].column is None else inputs[j]
    return _tensor(_column(X, j), "string" if one.type == "string" else "double", one.name)


def _column(X: Any, j: int | None) -> Any:
    return X.iloc[:, j] if hasattr(X, "iloc") else X[:, j]


def _values(column: Any) -> np.ndarray:
    return column if isinstance(column, np.ndarray) else column_values(column)


# --- The type of a column -----------------------------------------------------------------------------------------


def _type_of_column(column: Any, levels: list[str] | None) -> str:
    """By dtype and values, and of a category (whose levels are given) by what may come; see `_holds_texts`."""
    if _declares_texts(column) or (levels is not None and _holds_texts(column, levels)):
        return "string"
    dtype = column.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "fiub":
        return _type_of_numbers(dtype)
    return "string" if as_numbers(_values(column)) is None else "double"  # numbers that may be missing are double


def _type_of_numbers(dtype: np.dtype) -> str:
    if dtype == np.uint64:  # whose upper half int64 has not
        return "double"
    return {"i": "int64", "u": "int64", "b": "bool"}.get(dtype.kind, "float" if dtype.itemsize <= 4 else "double")


def _declares_texts(column: Any) -> bool:
    """Whether the dtype says that the values are strings, even if none is there."""
    categories = _categories(column)
    if categories is not None:
        return as_numbers(categories) is None
    return not isinstance(column.dtype, np.dtype) and is_categorical_dtype(column)


def _categories(column: Any) -> np.ndarray | None:
    """Those that pandas' dtype has, which may be numbers."""
    if str(column.dtype) != "category" or not hasattr(column.dtype, "categories"):
        return None
    return np.array(column.dtype.categories, dtype=object)


def _holds_texts(column: Any, levels: list[str]) -> bool:
    """Whether a category may get values that are no numbers, or integers that no float64 is.

    A column without any value says nothing unless it has a dtype of numbers, and a file of empty cells has that, too.
    A column of objects that are numbers may have held others in the fit.
    """
    dtype, categories, is_empty = column.dtype, _categories(column), _is_empty(column)
    is_open = str(dtype).lower() in ("object", "null") or (categories is not None and not len(categories))
    inexact = [level for level in levels if number_called(float, level) is None]
    if is_empty and (is_open or len(inexact) == len(levels)):
        return True
    if isinstance(dtype, np.dtype) and dtype.kind in "fib":
        return False
    return any(is_open or number_called(int, level) is not None for level in inexact)


def _is_empty(column: Any) -> bool:
    values = _values(column)
    return bool(np.isnan(values).all()) if values.dtype.kind == "f" else all(map(is_missing, values.tolist()))


# --- Rows as tensors ----------------------------------------------------------------------------------------------


def _tensor(column: Any, kind: str, name: Any) -> np.ndarray:
    """A column, or a whole array."""
    if kind == "string":
        return _texts(column, name)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "fiub":
        return np.asarray(column).astype(TYPES[kind])
    values = _values(column)
    return as_numbers(values.ravel()).reshape(values.shape).astype(TYPES[kind])  # type: ignore[union-attr]


def _texts(column: Any, name: Any) -> np.ndarray:
    values = column.ravel().tolist() if isinstance(column, np.ndarray) else column.to_list()  # integers stay integers
    texts = ["" if is_missing(value) else as_level(value) for value in values]
    _check_texts(texts, name)
    return np.array(texts, dtype=object).reshape(column.shape)


def _check_texts(texts: Iterable[str], name: Any) -> None:
    """Refuse what no tensor of strings can hold."""
    broken = next((text for text in texts if not is_utf8(text)), None)
    if broken is not None:
        raise ValueError(
            f"Column {name!r} holds {broken!r}, which has no form in UTF-8 (a lone surrogate), and ONNX's strings are "
            "UTF-8; replace it before fit."
        )


# --- The inputs of a graph ----------------------------------------------------------------------------------------


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

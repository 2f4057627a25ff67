"""The inputs of an ONNX graph: which inputs a table needs, and the tensors of its rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sknn.export.onnx.columns import level_number
from sknn.onnx_predictor.rows import is_utf8
from sknn.preprocessing.levels import as_level, is_missing
from sknn.preprocessing.tables import is_frame
from sknn.preprocessing.values import as_float64, column_values, is_categorical_dtype

NUMPY_TYPES: dict[str, Any] = {
    "float": np.float32,
    "double": np.float64,
    "int64": np.int64,
    "bool": np.bool_,
    "string": object,
}
ARRAY_NAME = "X"  # of the input for an array, as in skl2onnx


@dataclass(frozen=True)
class InputSpec:
    """An input of the graph.

    Attributes
    ----------
    name : str
    type : {'float', 'double', 'int64', 'bool', 'string'}
    shape : tuple of int
        The shape of a row.
    column : int or None
        The index of the column that is this input; None if the whole table is.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    column: int | None = None


def infer_inputs(X: Any, categories: Mapping[int, list[str]] | None = None) -> list[InputSpec]:
    """Return an input for each column of a frame, or one for an array of numbers or strings.

    An array of objects with columns of different types gives an input for each column: x0, x1, ...

    Parameters
    ----------
    X : frame or array
    categories : mapping of int to list of str, optional
        The levels of columns that were categories in the fit. They decide the type where the sample does not.
    """
    if not is_frame(X) and X.dtype.kind in "fib":
        return [InputSpec(ARRAY_NAME, _numeric_type(X.dtype), tuple(X.shape[1:]))]
    names = [str(name) for name in X.columns] if is_frame(X) else [f"x{j}" for j in range(X.shape[1])]
    _check_names(names)
    levels = categories or {}
    for j in levels:
        _check_utf8(levels[j], names[j])
    types = [_column_type(_column(X, j), levels.get(j)) for j in range(len(names))]
    if not is_frame(X) and len(set(types)) == 1:
        return [InputSpec(ARRAY_NAME, types[0], tuple(X.shape[1:]))]
    return [InputSpec(name, types[j], (1,), j) for j, name in enumerate(names)]


def _check_names(names: list[str]) -> None:
    bad = sorted({name for name in names if names.count(name) > 1 or not name or not is_utf8(name)})
    if bad:
        raise ValueError(
            f"X_sample has columns named {bad}; the inputs of an ONNX graph need a name each, all different, and in "
            "UTF-8."
        )


def make_feed(X: Any, inputs: list[InputSpec]) -> dict[str, np.ndarray]:
    """Return a table's rows as tensors, by name of the input. A missing string is ''."""
    if inputs[0].column is None:
        return {inputs[0].name: _tensor(X, inputs[0].type, inputs[0].name)}
    return {spec.name: _tensor(_column(X, spec.column), spec.type, spec.name)[:, None] for spec in inputs}


def column_as_input(X: Any, j: int, inputs: list[InputSpec]) -> np.ndarray:
    """Return a column as strings ('' is missing) if its input has strings, else as float64 (NaN is missing)."""
    spec = inputs[0] if inputs[0].column is None else inputs[j]
    return _tensor(_column(X, j), "string" if spec.type == "string" else "double", spec.name)


def _column(X: Any, j: int | None) -> Any:
    return X.iloc[:, j] if hasattr(X, "iloc") else X[:, j]


def _values(column: Any) -> np.ndarray:
    return column if isinstance(column, np.ndarray) else column_values(column)


# --- The type of a column -----------------------------------------------------------------------------------------


def _column_type(column: Any, levels: list[str] | None) -> str:
    """Return the type of a column by its dtype and values, and, for a category, by its levels in the fit."""
    if _has_string_dtype(column) or (levels is not None and _may_get_strings(column, levels)):
        return "string"
    dtype = column.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "fiub":
        return _numeric_type(dtype)
    # Only double holds missing values, too.
    return "string" if as_float64(_values(column)) is None else "double"


def _numeric_type(dtype: np.dtype) -> str:
    if dtype == np.uint64:  # int64 cannot hold its upper half
        return "double"
    return {"i": "int64", "u": "int64", "b": "bool"}.get(dtype.kind, "float" if dtype.itemsize <= 4 else "double")


def _has_string_dtype(column: Any) -> bool:
    """Return whether the dtype alone says that the values are strings."""
    categories = _dtype_categories(column)
    if categories is not None:
        return as_float64(categories) is None
    return not isinstance(column.dtype, np.dtype) and is_categorical_dtype(column)


def _dtype_categories(column: Any) -> np.ndarray | None:
    """Return the categories, strings or numbers, of a categorical dtype of pandas."""
    if str(column.dtype) != "category" or not hasattr(column.dtype, "categories"):
        return None
    return np.array(column.dtype.categories, dtype=object)


def _may_get_strings(column: Any, levels: list[str]) -> bool:
    """Return whether a category may get values that are neither numbers nor, as integers, exact in float64.

    A column without any value tells nothing if its dtype is open, and a numeric dtype tells little: reading a file with
    empty cells gives one. A column of objects that are numbers may have held other values in the fit.
    """
    dtype, categories, is_empty = column.dtype, _dtype_categories(column), _is_empty(column)
    is_open = str(dtype).lower() in ("object", "null") or (categories is not None and not len(categories))
    inexact = [level for level in levels if level_number(level, float) is None]
    if is_empty and (is_open or len(inexact) == len(levels)):
        return True
    if isinstance(dtype, np.dtype) and dtype.kind in "fib":
        return False
    return any(is_open or level_number(level, int) is not None for level in inexact)


def _is_empty(column: Any) -> bool:
    values = _values(column)
    return bool(np.isnan(values).all()) if values.dtype.kind == "f" else all(map(is_missing, values.tolist()))


# --- Rows as tensors ----------------------------------------------------------------------------------------------


def _tensor(column: Any, tensor_type: str, name: Any) -> np.ndarray:
    """Return a column, or a whole array, as a tensor."""
    if tensor_type == "string":
        return _string_tensor(column, name)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "fiub":
        return np.asarray(column).astype(NUMPY_TYPES[tensor_type])
    values = _values(column)
    numeric: Any = as_float64(values.ravel())
    return numeric.reshape(values.shape).astype(NUMPY_TYPES[tensor_type])


def _string_tensor(column: Any, name: Any) -> np.ndarray:
    values = column.ravel().tolist() if isinstance(column, np.ndarray) else column.to_list()  # to_list keeps integers
    strings = ["" if is_missing(value) else as_level(value) for value in values]
    _check_utf8(strings, name)
    return np.array(strings, dtype=object).reshape(column.shape)


def _check_utf8(strings: Iterable[str], name: Any) -> None:
    """Refuse strings that a tensor cannot hold."""
    broken = next((string for string in strings if not is_utf8(string)), None)
    if broken is not None:
        raise ValueError(
            f"Column {name!r} holds {broken!r}, which UTF-8 cannot encode (a lone surrogate), and ONNX's strings are "
            "UTF-8; replace it before fit."
        )


# --- The inputs of a graph ----------------------------------------------------------------------------------------


def replace_inputs(graph: Any, inputs: list[InputSpec]) -> None:
    """Replace the inputs of a graph, which may have other numeric types, or be one table of all columns.

    A value inside the graph that has the name of an input gets another name.
    """
    from onnx import helper

    taken = _free_names(graph, {spec.name for spec in inputs})
    replaced = [(value.name, value.type.tensor_type.elem_type) for value in graph.input]
    new_types = [helper.np_dtype_to_tensor_dtype(np.dtype(NUMPY_TYPES[spec.type])) for spec in inputs]
    if len(replaced) < len(inputs):
        table, table_type = replaced[0]
        replaced = [(_new_name(f"{table}{j}", taken), table_type) for j in range(len(inputs))]
        _prepend(graph, helper.make_node("Concat", [name for name, _ in replaced], [table], axis=1))
    for spec, new_type, (name, old_type) in zip(inputs, new_types, replaced, strict=True):
        if new_type == old_type:
            _rename(graph, {name: spec.name})
        else:
            _prepend(graph, helper.make_node("Cast", [spec.name], [name], to=old_type))
    del graph.input[:]
    for spec, new_type in zip(inputs, new_types, strict=True):
        graph.input.append(helper.make_tensor_value_info(spec.name, new_type, [None, *spec.shape]))


def _free_names(graph: Any, names: set[str]) -> set[str]:
    """Rename the values that have one of these names. Return all names that are taken after that."""
    taken = {name for node in graph.node for name in (*node.input, *node.output)} | {
        value.name for value in graph.input
    }
    renamed: dict[str, str] = {}
    for name in sorted(taken & names):
        renamed[name] = _new_name(name, taken | names)
        taken.add(renamed[name])
    _rename(graph, renamed)
    return taken | names


def _new_name(name: str, taken: set[str]) -> str:
    """Append underscores to a name until it is not taken."""
    name += "_"
    return _new_name(name, taken) if name in taken else name


def _prepend(graph: Any, node: Any) -> None:
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

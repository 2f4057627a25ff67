"""Encode Python values as JSON and arrays, and decode them: plain values, numpy's, and objects of listed classes.

null, true, 3, 0.5, "text" and [...] stand for themselves. Every other value is a JSON object with one key, its kind:

    {"tuple": [...]}  {"map": {"name": ...}}  {"pairs": [[key, value], ...]}  {"float": "nan"}
    {"array": {"tensor": name}}  {"objects": {"shape": [...], "values": [...]}}  {"scalar": ["float64", 0.5]}
    {"type": name}  {"dtype": "<f8"}  {"function": name}
    {"object": {"class": name, "state": ...}}  {"same": n}  {"given": name}

An array is a tensor of the container. Arrays that safetensors does not support (strings, dates, other byte orders) are
stored as bytes, with their dtype. `same` repeats the n-th finished object of the file; `given` is a parameter of
`load`.
"""

import math
import re
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any

import numpy as np

from sknn.estimators.base import BaseNeural
from sknn.persistence.classes import (
    class_by_name,
    function_by_name,
    name_of_class,
    name_of_function,
    name_of_type,
    type_by_name,
)
from sknn.persistence.container import DTYPES, InvalidFileError
from sknn.persistence.serializers import find_serializer

MAX_DEPTH = 60  # of nested values: about ten nested pipelines
MAX_OBJECTS, MAX_NESTED = 10_000, 12  # see ObjectCounter
CODE_PARAMETERS = ("module", "loss", "solver", "scoring", "metrics", "callbacks")  # of sknn, which may hold code
SMALL_DTYPE = re.compile(r"[<>|](?:[biufc]\d{1,2}|[mM]8(?:\[\w{1,9}\])?|O)")
ARRAY_DTYPE = re.compile(rf"[<>|][US]\d{{1,8}}|{SMALL_DTYPE.pattern}")  # long strings are fine: the file holds them
MAX_EMPTY_ITEMSIZE = 4096  # bytes of a string in the dtype of an empty array
SCALARS = {*DTYPES.values(), "str"}
ADVICE = (
    "use plain values (numbers, strings, lists, arrays) and scikit-learn's own classes, or pickle, which runs the "
    "code in a file"
)

Path = tuple[str, ...]


class ObjectCounter:
    """Counts the objects of a file, each as often as it occurs, and limits their number and nesting.

    Without these limits a short file could keep a process busy forever: scikit-learn visits an estimator as often as it
    occurs, so objects that each hold the next one twice double the work at each level. And the time
    of scikit-learn's `repr`, which is part of many error messages, doubles with each level of nesting.
    """

    def __init__(self) -> None:
        self._open = [[0, 0]]  # for each unfinished object: the number of objects in it, and their nesting
        self._finished: list[list[int]] = []

    def begin(self) -> None:
        """Begin an object; objects added before its end are in it."""
        self._open.append([1, 0])

    def end(self) -> None:
        """End the object that was begun last."""
        count, nesting = self._open.pop()
        self._finished.append([count, nesting + 1])
        self.add(-1)

    def add(self, number: int) -> None:
        """Count a finished object and its objects in the innermost unfinished one."""
        count, nesting = self._finished[number]
        outer = self._open[-1]
        outer[0], outer[1] = outer[0] + count, max(outer[1], nesting)
        if outer[0] > MAX_OBJECTS:
            raise ValueError(f"there are more than {MAX_OBJECTS} objects in it, each counted as often as it occurs")
        if outer[1] > MAX_NESTED:
            raise ValueError(f"there are more than {MAX_NESTED} levels of nested objects")


class Placeholder:
    """Stands in a file for a parameter that is passed to `load`."""

    def __init__(self, name: str) -> None:
        self.name = name


class Encoder:
    """Encodes a value as a JSON document, and collects its arrays and placeholders.

    Attributes
    ----------
    arrays : dict of str to ndarray
    placeholders : dict of str to str
        Names of the parameters to pass to `load`, and descriptions of their values.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.placeholders: dict[str, str] = {}
        self._encoded_arrays: dict[int, dict] = {}  # by id: an array that occurs twice is stored once
        self._object_numbers: dict[int, int | None] = {}  # by id; None while the object is being encoded
        self._n_finished, self._counter = 0, ObjectCounter()
        self._references: list[Any] = []  # keep objects alive, so that their ids stay unique

    def encode(self, value: Any, path: Path = ()) -> Any:
        """Return the value as JSON.

        Raises
        ------
        TypeError
            For a value that can't be saved, with the path to it.
        ValueError
            For more objects, or more nested ones, than `load` accepts.
        """
        if len(path) > MAX_DEPTH:
            raise TypeError(f"{_join(path[:4])} is nested more than {MAX_DEPTH} deep")
        kind = type(value)
        if kind in (NoneType, bool, int, str):
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": str(value)}
        if kind is list:
            return self._items(value, path)
        if kind is tuple:
            return {"tuple": self._items(value, path)}
        if kind is Placeholder:
            return {"given": value.name}
        if kind is dict:
            return self._dict(value, path)
        if isinstance(value, np.generic):
            return self._scalar(value, path)
        if kind in (np.ndarray, np.memmap):
            return self._array(np.asarray(value), path)
        if isinstance(value, np.dtype):
            name = value.str if SMALL_DTYPE.fullmatch(value.str) else self._refuse(value, path, f"a {value!r}")
            return {"dtype": name}
        if isinstance(value, type):
            return {"type": name_of_type(value) or self._refuse(value, path)}
        if callable(value) and (name := name_of_function(value)):
            return {"function": name}
        return self._object(value, path)

    def _items(self, values: Any, path: Path) -> list:
        """Encode items; a named one, like ("scale", StandardScaler(), ...), has its name in the path."""
        if type(values) is tuple and _is_named(values):
            return [self.encode(item, path) for item in values]
        names = [item[0] if type(item) is tuple and _is_named(item) else str(i) for i, item in enumerate(values)]
        return [self.encode(item, (*path, name)) for name, item in zip(names, values, strict=True)]

    def _dict(self, values: dict, path: Path) -> dict:
        if all(type(key) is str for key in values):
            return {"map": {key: self.encode(value, (*path, key)) for key, value in values.items()}}
        pairs = [[self.encode(key, path), self.encode(value, (*path, str(key)))] for key, value in values.items()]
        return {"pairs": pairs}

    def _scalar(self, value: np.generic, path: Path) -> dict:
        name = "str" if isinstance(value, np.str_) else value.dtype.name
        return {"scalar": [name if name in SCALARS else self._refuse(value, path), self.encode(value.item(), path)]}

    def _array(self, array: np.ndarray, path: Path) -> dict:
        if id(array) not in self._encoded_arrays:
            self._references.append(array)
            self._encoded_arrays[id(array)] = self._array_content(array, path)
        return self._encoded_arrays[id(array)]

    def _array_content(self, array: np.ndarray, path: Path) -> dict:
        if array.dtype == object:
            values = [self.encode(item, (*path, str(i))) for i, item in enumerate(array.ravel().tolist())]
            return {"objects": {"shape": list(array.shape), "values": values}}
        content: dict[str, Any] = {}
        array = array if array.flags.c_contiguous or array.flags.f_contiguous else array.copy(order="K")
        is_column_major = not array.flags.c_contiguous  # keep the order: the rounding of products may depend on it
        stored = array.T if is_column_major else array
        if is_column_major:
            content["order"] = "F"
        if array.dtype.name not in DTYPES.values() or not array.dtype.isnative:
            dtype = array.dtype
            is_supported = ARRAY_DTYPE.fullmatch(dtype.str) and dtype.itemsize and dtype != np.longdouble
            if not is_supported or _is_empty_with_long_strings(array):
                self._refuse(array, path, f"an array of {dtype!r}")
            content["dtype"] = dtype.str
            stored = np.frombuffer(stored.tobytes(), np.uint8).reshape(*stored.shape, dtype.itemsize)
        return {"array": {"tensor": self._tensor(stored, path), **content}}

    def _tensor(self, stored: np.ndarray, path: Path) -> str:
        """Add an array to the container's tensors, and return its name."""
        name, n = "/".join(path), 1
        while name in self.arrays:
            n += 1
            name = f"{'/'.join(path)}#{n}"
        self.arrays[name] = stored
        return name

    def _object(self, value: Any, path: Path) -> dict:
        number = self._object_numbers.get(id(value), -1)
        if number is None:
            raise TypeError(f"{_join(path)} contains itself, which can't be saved")
        if number >= 0:
            self._counter.add(number)
            return {"same": number}
        name = name_of_class(type(value)) or self._refuse(value, path)
        self._object_numbers[id(value)] = None
        self._references.append(value)
        self._counter.begin()
        content = {"class": name, "state": self.encode(self._state(value, path), path)}
        self._object_numbers[id(value)] = self._n_finished
        self._n_finished += 1
        self._counter.end()
        return {"object": content}

    def _state(self, value: Any, path: Path) -> Any:
        try:
            state = find_serializer(type(value)).to_state(value)
        except ValueError as error:
            reason = str(error).rstrip(".")
            raise TypeError(f"{_join(path)} could not be loaded again: {reason}; correct it, and save again") from error
        if isinstance(value, BaseNeural):
            state = self._with_placeholders(state, path)
            if "_built_with" in state:
                state["_built_with"] = self._with_placeholders(state["_built_with"], path)
        return state

    def _with_placeholders(self, params: dict[str, Any], path: Path) -> dict[str, Any]:
        """Return parameters, with placeholders for the user's functions and objects."""
        return {
            name: self._placeholder(name, value, path) if name in CODE_PARAMETERS and _is_code(value) else value
            for name, value in params.items()
        }

    def _placeholder(self, name: str, value: Any, path: Path) -> Placeholder:
        description = _describe(value)
        if self.placeholders.setdefault(name, description) != description:
            raise TypeError(
                f"{_join((*path, name))} is {description}, but that of another estimator is {self.placeholders[name]}; "
                f"sknn.load takes one {name} for all estimators of a file. Save them in separate files."
            )
        return Placeholder(name)

    def _refuse(self, value: Any, path: Path, description: str = "") -> Any:
        if not description:
            is_named = callable(value) and hasattr(value, "__name__")
            description = f"the class or function {_describe(value)}" if is_named else f"a {_describe(type(value))}"
        raise TypeError(f"{_join(path)} is {description}, which can't be saved without code in the file: {ADVICE}")


class Decoder:
    """Decodes a document of an `Encoder`.

    Parameters
    ----------
    arrays : mapping of str to ndarray
    params : mapping of str to object
        Values for the placeholders.

    Attributes
    ----------
    estimators : list of BaseNeural
        The fitted estimators of sknn in the document.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], params: Mapping[str, Any]) -> None:
        self.arrays, self.params = arrays, params
        self.estimators: list[BaseNeural] = []
        self._objects: list[Any] = []
        self._counter = ObjectCounter()
        self._decoded_arrays: dict[str, np.ndarray] = {}

    def decode(self, value: Any, depth: int = 0) -> Any:
        """Return the value. Any exception means that no `Encoder` wrote the document."""
        if depth > MAX_DEPTH + 10:
            raise InvalidFileError("values are nested too deeply")
        if isinstance(value, list):
            return [self.decode(item, depth + 1) for item in value]
        if not isinstance(value, dict):
            return value
        (kind, content), *others = value.items()
        if others or kind not in DECODERS:
            raise InvalidFileError(f"holds the unknown kind of value {sorted(value)}")
        return DECODERS[kind](self, content, depth)

    def _tuple(self, content: list, depth: int) -> tuple:
        return tuple(self.decode(_checked(content, list), depth))

    def _map(self, content: dict, depth: int) -> dict:
        return {key: self._attribute(key, item, depth) for key, item in _checked(content, dict).items()}

    def _attribute(self, name: str, item: Any, depth: int) -> Any:
        """Decode a dict's item; a placeholder has to have the item's key as its name."""
        if name in CODE_PARAMETERS and item == {"given": name}:
            return self.params[name]
        return self.decode(item, depth + 1)

    def _pairs(self, content: list, depth: int) -> dict:
        return {self.decode(key, depth + 1): self.decode(item, depth + 1) for key, item in content}

    def _float(self, content: str, depth: int) -> float:
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[content]

    def _scalar(self, content: list, depth: int) -> np.generic:
        name, value = content
        if name not in SCALARS:
            raise InvalidFileError(f"holds a scalar of the type {name}")
        return np.dtype(name).type(self.decode(value, depth + 1))

    def _dtype(self, content: str, depth: int) -> np.dtype:
        if not SMALL_DTYPE.fullmatch(content):
            raise InvalidFileError(f"holds the dtype {content!r}")
        return np.dtype(content)

    def _array(self, content: dict, depth: int) -> np.ndarray:
        name = content["tensor"]
        if name not in self._decoded_arrays:
            array = _with_dtype(self.arrays[name], content.get("dtype"))
            self._decoded_arrays[name] = array.T if content.get("order") == "F" else array
        return self._decoded_arrays[name]

    def _object_array(self, content: dict, depth: int) -> np.ndarray:
        shape, values = content["shape"], self.decode(_checked(content["values"], list), depth)
        if any(type(n) is not int or n < 0 for n in shape) or math.prod(shape) != len(values):
            raise InvalidFileError(f"holds {len(values)} objects for the shape {shape}")
        array = np.empty(len(values), dtype=object)
        for i, item in enumerate(values):
            array[i] = item
        return array.reshape(shape)

    def _object(self, content: dict, depth: int) -> Any:
        self._counter.begin()
        cls = class_by_name(content["class"])
        obj = find_serializer(cls).from_state(cls, self.decode(content["state"], depth + 1))
        self._objects.append(obj)
        self._counter.end()
        if isinstance(obj, BaseNeural) and hasattr(obj, "net_"):
            self.estimators.append(obj)
        return obj

    def _same(self, content: int, depth: int) -> Any:
        if type(content) is not int or not 0 <= content < len(self._objects):
            raise InvalidFileError(f"refers to object {content} of {len(self._objects)}")
        self._counter.add(content)
        return self._objects[content]


DECODERS: dict[str, Callable[[Decoder, Any, int], Any]] = {
    "tuple": Decoder._tuple,
    "map": Decoder._map,
    "pairs": Decoder._pairs,
    "float": Decoder._float,
    "scalar": Decoder._scalar,
    "array": Decoder._array,
    "objects": Decoder._object_array,
    "dtype": Decoder._dtype,
    "type": lambda self, content, depth: type_by_name(content),
    "function": lambda self, content, depth: function_by_name(content),
    "object": Decoder._object,
    "same": Decoder._same,
}


def _checked(value: Any, cls: type) -> Any:
    if not isinstance(value, cls):
        raise InvalidFileError(f"holds a {type(value).__name__} instead of a {cls.__name__}")
    return value


def _with_dtype(array: np.ndarray, dtype: str | None) -> np.ndarray:
    """Return a tensor's array: itself, or its bytes read as `dtype`."""
    if array.dtype == bool and (array.view(np.uint8) > 1).any():
        raise InvalidFileError("holds bools that are neither true nor false")
    if dtype is None:
        return array
    is_supported = ARRAY_DTYPE.fullmatch(dtype) and dtype != "|O" and array.dtype == np.uint8
    if not is_supported or np.dtype(dtype).itemsize != array.shape[-1]:
        raise InvalidFileError(f"holds an array of {array.dtype}, shape {array.shape}, as bytes of {dtype}")
    array = np.ndarray(array.shape[:-1], dtype, array.tobytes()).copy()
    if _is_empty_with_long_strings(array):
        raise InvalidFileError(f"holds an empty array of strings of {array.dtype.itemsize} bytes")
    if array.dtype.kind == "U" and array.size:
        points = np.ndarray((*array.shape, array.dtype.itemsize // 4), array.dtype.byteorder + "u4", array.data)
        if points.max() > 0x10FFFF:
            raise InvalidFileError("holds characters that do not exist")
    return array


def _is_empty_with_long_strings(array: np.ndarray) -> bool:
    """Return whether an empty array has a dtype of long strings, which every array concatenated with it would get."""
    return not array.size and array.dtype.kind in "US" and array.dtype.itemsize > MAX_EMPTY_ITEMSIZE


def _is_named(item: tuple) -> bool:
    return bool(item) and type(item[0]) is str


def _is_code(value: Any) -> bool:
    """Return whether a parameter's value is, or holds, something else than text, numbers and listed classes."""
    if isinstance(value, list | tuple):
        return any(_is_code(item) for item in value)
    return not (
        isinstance(value, NoneType | str | int | float | np.ndarray)
        or (isinstance(value, type) and name_of_type(value))
    )


def _describe(value: Any) -> str:
    """Return the full name of a function or class, or of an object's class."""
    if isinstance(value, list | tuple):
        return ", ".join(_describe(item) for item in value)
    named = value if hasattr(value, "__qualname__") else type(value)
    return value if isinstance(value, str) else f"{named.__module__}.{named.__qualname__}"


def _join(path: Path) -> str:
    return ".".join(path) or "the object itself"

"""Python values as JSON and arrays, and back: plain values, numpy's, and objects of a closed list of classes.

null, true, 3, 0.5, "text" and [...] stand for themselves.  Everything else is an object of one key, its kind:

    {"tuple": [...]}  {"map": {"name": ...}}  {"pairs": [[key, value], ...]}  {"float": "nan"}
    {"array": {"tensor": name}}  {"objects": {"shape": [...], "values": [...]}}  {"scalar": ["float64", 0.5]}
    {"type": name}  {"dtype": "<f8"}  {"function": name}
    {"object": {"class": name, "state": ...}}  {"same": n}  {"given": name}

An array lies among the container's tensors; what no tensor can hold as it is (strings, dates, another byte order) lies
there as bytes, with its dtype.  `same` is the n-th object of the file once more, `given` a parameter that whoever loads
the file has to give.
"""

import math
import re
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any

import numpy as np

from sknn.estimators.base import BaseNeural
from sknn.persistence.classes import (
    class_named,
    function_named,
    name_of_class,
    name_of_function,
    name_of_type,
    serializer_of,
    type_named,
)
from sknn.persistence.container import DTYPES, InvalidFileError

MAX_DEPTH = 60  # of values in values: some ten pipelines in pipelines
MAX_OBJECTS, MAX_NESTED = 10_000, 12  # a `ObjectCounter` counts them
GIVEN = ("module", "loss", "solver", "scoring", "metrics", "callbacks")  # parameters of ours that may hold code
SMALL_DTYPE = re.compile(r"[<>|](?:[biufc]\d{1,2}|[mM]8(?:\[\w{1,9}\])?|O)")
ARRAY_DTYPE = re.compile(rf"[<>|][US]\d{{1,8}}|{SMALL_DTYPE.pattern}")  # an array's strings lie in the file
LONGEST_OF_NONE = 4096  # bytes of a string, in the dtype of an array that holds none
SCALARS = {*DTYPES.values(), "str"}
ADVICE = (
    "give plain values (numbers, strings, lists, arrays) and scikit-learn's own classes, or use pickle and trust it"
)

Path = tuple[str, ...]


class ObjectCounter:
    """Counts objects, each as often as it occurs, and how deep they are nested.

    What walks through estimators meets one so often, so that a short file could keep it busy forever: objects that hold
    another one twice, which holds another one twice, ...  scikit-learn's `repr`, which many an error message has in it,
    takes twice as long for each level.
    """

    def __init__(self) -> None:
        self._open = [[0, 0]]  # of each object that is being read: the number of objects in it, and their height
        self._finished: list[list[int]] = []

    def begin(self) -> None:
        self._open.append([1, 0])

    def end(self) -> None:
        count, height = self._open.pop()
        self._finished.append([count, height + 1])
        self.again(-1)

    def again(self, number: int) -> None:
        """Meet a finished object (once more), with all that is in it."""
        count, height = self._finished[number]
        outer = self._open[-1]
        outer[0], outer[1] = outer[0] + count, max(outer[1], height)
        if outer[0] > MAX_OBJECTS:
            raise ValueError(f"there are more than {MAX_OBJECTS} objects in it, each counted as often as it occurs")
        if outer[1] > MAX_NESTED:
            raise ValueError(f"there are more than {MAX_NESTED} objects in one another")


class Encoder:
    """Turns one value into a document; collects its arrays, and the parameters that are to be given when it is loaded.

    Attributes
    ----------
    arrays : dict of str to ndarray
    given : dict of str to str
        Names of parameters, and what they held.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.given: dict[str, str] = {}
        self._array_of: dict[int, dict] = {}  # so that one that occurs twice is stored once
        self._number_of: dict[int, int | None] = {}  # of each object, None while it is being encoded
        self._finished, self._census = 0, ObjectCounter()
        self._alive: list[Any] = []  # so that no id is used twice

    def encode(self, value: Any, path: Path = ()) -> Any:
        """The value as JSON.

        Raises
        ------
        TypeError
            For what can't be saved, with the way to it.
        ValueError
            For more objects, or more of them in one another, than are read again.
        """
        if len(path) > MAX_DEPTH:
            raise TypeError(f"{_where(path[:4])} is nested more than {MAX_DEPTH} deep")
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
        if values and type(values) is tuple and type(values[0]) is str:  # ("scale", StandardScaler(), ...)
            return [self.encode(item, path) for item in values]
        names = [item[0] if type(item) is tuple and item and type(item[0]) is str else str(i)
                 for i, item in enumerate(values)]  # fmt: skip
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
        if id(array) in self._array_of:
            return self._array_of[id(array)]
        self._alive.append(array)
        self._array_of[id(array)] = content = self._array_content(array, path)
        return content

    def _array_content(self, array: np.ndarray, path: Path) -> dict:
        if array.dtype == object:
            values = [self.encode(item, (*path, str(i))) for i, item in enumerate(array.ravel().tolist())]
            return {"objects": {"shape": list(array.shape), "values": values}}
        content: dict[str, Any] = {}
        array = array if array.flags.c_contiguous or array.flags.f_contiguous else array.copy(order="K")
        by_columns = not array.flags.c_contiguous  # products may round by the order
        stored = array.T if by_columns else array
        if by_columns:
            content["order"] = "F"
        if array.dtype.name not in DTYPES.values() or not array.dtype.isnative:
            is_known = ARRAY_DTYPE.fullmatch(array.dtype.str) and array.dtype.itemsize and array.dtype != np.longdouble
            if not is_known or _promises_much(array):
                self._refuse(array, path, f"an array of {array.dtype!r}")
            content["dtype"] = array.dtype.str
            stored = np.frombuffer(stored.tobytes(), np.uint8).reshape(*stored.shape, array.dtype.itemsize)
        return {"array": {"tensor": self._tensor(stored, path), **content}}

    def _tensor(self, stored: np.ndarray, path: Path) -> str:
        """Put an array among the container's, and return its name there."""
        name, n = "/".join(path), 1
        while name in self.arrays:
            name, n = f"{'/'.join(path)}#{n + 1}", n + 1
        self.arrays[name] = stored
        return name

    def _object(self, value: Any, path: Path) -> dict:
        number = self._number_of.get(id(value), -1)
        if number is None:
            raise TypeError(f"{_where(path)} refers to itself, which can't be saved")
        if number >= 0:
            self._census.again(number)
            return {"same": number}
        name = name_of_class(type(value)) or self._refuse(value, path)
        self._number_of[id(value)] = None
        self._alive.append(value)
        self._census.begin()
        recipe = serializer_of(type(value))
        try:
            state = recipe.state_of(value)
        except ValueError as error:
            text = str(error).rstrip(".")
            raise TypeError(f"{_where(path)} can't be loaded again: {text}; mend that, and save again") from error
        if isinstance(value, BaseNeural):
            state = self._without_code(state, path)
            if "_built_with" in state:
                state["_built_with"] = self._without_code(state["_built_with"], path)
        content = {"class": name, "state": self.encode(state, path)}
        self._number_of[id(value)] = self._finished
        self._finished += 1
        self._census.end()
        return {"object": content}

    def _without_code(self, params: dict[str, Any], path: Path) -> dict[str, Any]:
        """Parameters, with placeholders for those that hold functions or objects of the user's."""
        return {
            name: self._placeholder(name, value, path) if name in GIVEN and _is_code(value) else value
            for name, value in params.items()
        }

    def _placeholder(self, name: str, value: Any, path: Path) -> "Placeholder":
        what = _described(value)
        if self.given.setdefault(name, what) != what:
            raise TypeError(
                f"{_where((*path, name))} is {what}, and another network's is {self.given[name]}; sknn.load takes one "
                f"{name} for all networks of a file. Save the networks apart."
            )
        return Placeholder(name)

    def _refuse(self, value: Any, path: Path, what: str = "") -> Any:
        what = what or (f"the class or function {_described(value)}" if callable(value) and hasattr(value, "__name__")
                        else f"a {type(value).__module__}.{type(value).__qualname__}")  # fmt: skip
        raise TypeError(f"{_where(path)} is {what}, which can't be saved without code in the file: {ADVICE}")


class Placeholder:
    """Stands for a parameter that has to be given when the file is loaded."""

    def __init__(self, name: str) -> None:
        self.name = name


class Decoder:
    """Makes the value again that an `Encoder` turned into a document.

    Parameters
    ----------
    arrays : mapping of str to ndarray
    given : mapping of str to object
        The parameters that the file does not hold.

    Attributes
    ----------
    networks : list of estimator
        Each network that was made.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], given: Mapping[str, Any]) -> None:
        self.arrays, self.given = arrays, given
        self.networks: list[BaseNeural] = []
        self._objects: list[Any] = []
        self._census = ObjectCounter()
        self._decoded: dict[str, np.ndarray] = {}

    def decode(self, value: Any, depth: int = 0) -> Any:
        """The value; any exception means that the document is none that an `Encoder` made."""
        if depth > MAX_DEPTH + 10:
            raise InvalidFileError("values are nested too deeply")
        if isinstance(value, list):
            return [self.decode(item, depth + 1) for item in value]
        if not isinstance(value, dict):
            return value
        (kind, content), *others = value.items()
        if others or kind not in READERS:
            raise InvalidFileError(f"holds the unknown kind of value {sorted(value)}")
        return READERS[kind](self, content, depth)

    def _tuple(self, content: list, depth: int) -> tuple:
        return tuple(self.decode(_checked(content, list), depth))

    def _map(self, content: dict, depth: int) -> dict:
        return {key: self._attribute(key, item, depth) for key, item in _checked(content, dict).items()}

    def _attribute(self, name: str, item: Any, depth: int) -> Any:
        """A dict's item; what whoever loads the file has given goes to the parameter of that name, and nowhere else."""
        if name in GIVEN and item == {"given": name}:
            return self.given[name]
        return self.decode(item, depth + 1)

    def _pairs(self, content: list, depth: int) -> dict:
        return {self.decode(key, depth + 1): self.decode(item, depth + 1) for key, item in content}

    def _float(self, content: str, depth: int) -> float:
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[content]

    def _scalar(self, content: list, depth: int) -> np.generic:
        name, number = content
        if name not in SCALARS:
            raise InvalidFileError(f"holds a scalar of the type {name}")
        return np.dtype(name).type(self.decode(number, depth + 1))

    def _dtype(self, content: str, depth: int) -> np.dtype:
        if not SMALL_DTYPE.fullmatch(content):
            raise InvalidFileError(f"holds the dtype {content!r}")
        return np.dtype(content)

    def _array(self, content: dict, depth: int) -> np.ndarray:
        name = content["tensor"]
        if name not in self._decoded:
            self._decoded[name] = self._as_it_was(self.arrays[name], content.get("dtype"), content.get("order"))
        return self._decoded[name]

    @staticmethod
    def _as_it_was(array: np.ndarray, dtype: str | None, order: str | None) -> np.ndarray:
        if array.dtype == bool and (array.view(np.uint8) > 1).any():
            raise InvalidFileError("holds bools that are neither true nor false")
        if dtype is not None:
            if (
                not ARRAY_DTYPE.fullmatch(dtype)
                or dtype == "|O"
                or array.dtype != np.uint8
                or np.dtype(dtype).itemsize != array.shape[-1]
            ):
                raise InvalidFileError(f"holds an array of {array.dtype}, shape {array.shape}, that is to be {dtype}")
            array = np.ndarray(array.shape[:-1], dtype, array.tobytes()).copy()
            if _promises_much(array):
                raise InvalidFileError(f"holds no strings, each of {array.dtype.itemsize} bytes")
            if array.dtype.kind == "U" and array.size:
                points = np.ndarray((*array.shape, array.dtype.itemsize // 4), array.dtype.byteorder + "u4", array.data)
                if points.max() > 0x10FFFF:
                    raise InvalidFileError("holds characters that do not exist")
        return array.T if order == "F" else array

    def _object_array(self, content: dict, depth: int) -> np.ndarray:
        shape, values = content["shape"], self.decode(_checked(content["values"], list), depth)
        if any(type(n) is not int or n < 0 for n in shape) or math.prod(shape) != len(values):
            raise InvalidFileError(f"holds {len(values)} objects for the shape {shape}")
        array = np.empty(len(values), dtype=object)
        for i, item in enumerate(values):
            array[i] = item
        return array.reshape(shape)

    def _object(self, content: dict, depth: int) -> Any:
        self._census.begin()
        cls = class_named(content["class"])
        made = serializer_of(cls).from_state(cls, self.decode(content["state"], depth + 1))
        self._objects.append(made)
        self._census.end()
        if isinstance(made, BaseNeural) and hasattr(made, "net_"):
            self.networks.append(made)
        return made

    def _same(self, content: int, depth: int) -> Any:
        if type(content) is not int or not 0 <= content < len(self._objects):
            raise InvalidFileError(f"refers to object {content} of {len(self._objects)}")
        self._census.again(content)
        return self._objects[content]


READERS: dict[str, Callable[[Decoder, Any, int], Any]] = {
    "tuple": Decoder._tuple,
    "map": Decoder._map,
    "pairs": Decoder._pairs,
    "float": Decoder._float,
    "scalar": Decoder._scalar,
    "array": Decoder._array,
    "objects": Decoder._object_array,
    "dtype": Decoder._dtype,
    "type": lambda self, content, depth: type_named(content),
    "function": lambda self, content, depth: function_named(content),
    "object": Decoder._object,
    "same": Decoder._same,
}


def _checked(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise InvalidFileError(f"holds a {type(value).__name__} in the place of a {kind.__name__}")
    return value


def _promises_much(array: np.ndarray) -> bool:
    """Whether an array without strings has a dtype of long ones, which whatever is joined to it would get."""
    return not array.size and array.dtype.kind in "US" and array.dtype.itemsize > LONGEST_OF_NONE


def _is_code(value: Any) -> bool:
    """Whether a parameter's value is, or holds, anything but text, numbers and classes of the closed list."""
    if isinstance(value, list | tuple):
        return any(_is_code(item) for item in value)
    return not (
        isinstance(value, NoneType | str | int | float | np.ndarray)
        or (isinstance(value, type) and name_of_type(value))
    )


def _described(value: Any) -> str:
    """A function, class or object by name."""
    if isinstance(value, list | tuple):
        return ", ".join(_described(item) for item in value)
    named = value if hasattr(value, "__qualname__") else type(value)
    return value if isinstance(value, str) else f"{named.__module__}.{named.__qualname__}"


def _where(path: Path) -> str:
    return ".".join(path) or "the object itself"

"""How an object of a listed class becomes a state of simpler values, and is made again from it."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from sknn.persistence.checks import check_object
from sknn.persistence.classes import CLASSES
from sknn.persistence.container import InvalidFileError


@dataclass(frozen=True)
class Serializer:
    """The state of an object, and the object of a class and a state."""

    to_state: Callable[[Any], Any]
    from_state: Callable[[Any, Any], Any]


def find_serializer(cls: type) -> Serializer:
    """Return the serializer of a listed class."""
    return SERIALIZERS.get(f"{cls.__module__.partition('.')[0]}.{cls.__name__}", ATTRIBUTES)


def _attributes_to_state(obj: Any) -> dict[str, Any]:
    state = dict(obj.__getstate__() or {})
    if "_metadata_request" in state:  # holds a reference to the estimator
        requests = state["_metadata_request"]
        state["_metadata_request"] = {m: dict(getattr(requests, m).requests) for m in _methods_with_requests(requests)}
    check_object(obj)
    return state


def _attributes_from_state(cls: Any, state: dict[str, Any]) -> Any:
    defaults = _default_parameters(cls) if issubclass(cls, BaseEstimator) else {}
    settable = {*defaults, *getattr(cls, "__dataclass_fields__", ()), "_metadata_request"}
    for name in state:
        is_class_attribute = any(name in vars(base) for base in cls.__mro__)
        if name.startswith("__") or (is_class_attribute and name not in settable):
            raise InvalidFileError(f"sets {name!r} of a {cls.__name__}, which is not an attribute of its instances")
    requests = state.pop("_metadata_request", {})
    state = defaults | state  # an older version may have had fewer parameters
    if "n_jobs" in defaults:
        state["n_jobs"] = None  # a file must not start processes
    obj = cls.__new__(cls)
    if hasattr(obj, "__setstate__"):
        obj.__setstate__(state)
    else:
        obj.__dict__.update(state)
    if requests:
        _set_metadata_requests(obj, requests)
    check_object(obj)
    return obj


def _default_parameters(cls: type[BaseEstimator]) -> dict[str, Any]:
    parameters = inspect.signature(cls).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _set_metadata_requests(obj: Any, requests: dict[str, dict[str, Any]]) -> None:
    obj._metadata_request = obj._get_metadata_request()  # only the object's, without those of estimators in it
    for method in _methods_with_requests(obj._metadata_request):
        for name, alias in requests.get(method, {}).items():
            getattr(obj._metadata_request, method).add_request(param=name, alias=alias)


def _methods_with_requests(requests: Any) -> list[str]:
    return [name for name, value in vars(requests).items() if hasattr(value, "requests")]


def _random_to_state(random: np.random.RandomState) -> dict[str, Any]:
    return random.get_state(legacy=False)  # type: ignore[return-value]


def _random_from_state(cls: type, state: dict[str, Any]) -> np.random.RandomState:
    inner = state["state"]
    # numpy does not check `pos` before it reads from there.
    if state["bit_generator"] != "MT19937" or inner["key"].shape != (624,) or not 0 <= inner["pos"] <= 624:
        raise InvalidFileError("holds an invalid random state")
    random = np.random.RandomState(0)
    random.set_state(state)
    return random


def _sparse_from_state(cls: Any, state: dict[str, Any]) -> Any:
    matrix = cls((state["data"], state["indices"], state["indptr"]), shape=state["shape"])
    matrix.check_format(full_check=True)
    return matrix


def _index_from_state(cls: Any, state: dict[str, Any]) -> Any:
    import pandas as pd

    return pd.Index(state["values"], name=state["name"])


ATTRIBUTES = Serializer(_attributes_to_state, _attributes_from_state)
ITEMS = Serializer(list, lambda cls, items: cls(items))
SPARSE = Serializer(
    lambda m: {"data": m.data, "indices": m.indices, "indptr": m.indptr, "shape": m.shape}, _sparse_from_state
)
INDEX = Serializer(lambda index: {"values": index.to_numpy(), "name": index.name}, _index_from_state)
SERIALIZERS = {
    "builtins.set": ITEMS,
    "builtins.frozenset": ITEMS,
    "builtins.slice": Serializer(lambda s: [s.start, s.stop, s.step], lambda cls, ends: slice(*ends)),
    "numpy.RandomState": Serializer(_random_to_state, _random_from_state),
    "pandas.Index": INDEX,
    "pandas.RangeIndex": INDEX,
    "scipy.BSpline": Serializer(
        lambda s: {"t": s.t, "c": s.c, "k": s.k, "extrapolate": s.extrapolate, "axis": s.axis},
        lambda cls, state: cls(**state),  # the constructor checks what its compiled code relies on
    ),
    **{f"scipy.{name}": SPARSE for name in CLASSES["scipy.sparse"]},
    "sklearn.Bunch": Serializer(dict, lambda cls, state: cls(**state)),
}

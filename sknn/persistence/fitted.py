"""What the attributes of our own fitted classes have to be, so that what is loaded predicts."""

import itertools
from collections.abc import Callable
from types import NoneType
from typing import Any

import numpy as np
import torch
from torch.nn.modules.batchnorm import _NormBase

from sknn.estimators.base import BaseNeural
from sknn.estimators.classifier import NeuralClassifier
from sknn.estimators.regressor import NEEDS_POSITIVE
from sknn.network.base import EnsembleNetwork
from sknn.network.mlp import MLP
from sknn.preprocessing.features import FeatureEncoder
from sknn.preprocessing.scaling import ColumnScaler
from sknn.preprocessing.targets import ClassEncoder, ValueEncoder
from sknn.training.net import TrainingNet

SCALINGS = (None, "standard", "robust", "quantile", "auto")
LABEL_TYPES = (str, bool, int, float, np.generic)  # among objects
FIXED = ("module", "loss", "quantile", "precision", "solver")  # what a prediction reads of `_built_with`
ABSENT = object()  # in the place of an attribute that is not there


def check_fitted(made: Any) -> None:
    """Refuse an object of ours that would not predict, or would predict what is no number.

    Raises
    ------
    ValueError
        Naming the class, the attribute, and what it has to be.
    """
    for kind, check_kind in CHECKS.items():
        if isinstance(made, kind):
            check_kind(made)


def _require(owner: Any, name: str, is_right: Callable[[Any], bool], what: str) -> Any:
    """An attribute, if it is right."""
    value = getattr(owner, name, ABSENT)
    if not is_right(value):
        raise ValueError(f"{name} of a {type(owner).__name__} has to be {what}")
    return value


# --- Encoders -----------------------------------------------------------------------------------------------------


def _check_encoder(encoder: FeatureEncoder) -> None:
    _require(encoder, "scaling", _one_of(*SCALINGS), f"one of {SCALINGS}")
    _require(encoder, "max_one_hot", _is_count, "a whole number")
    _require(encoder, "dtype", _one_of(np.float32, np.float64), "float32 or float64")
    categorical = _require(encoder, "categorical_", _places(), "increasing whole numbers")
    numeric = _require(encoder, "numeric_", _places(), "increasing whole numbers")
    columns, n = np.concatenate([categorical, numeric]), len(numeric)
    _require(encoder, "numeric_", lambda _: _is_arange(np.sort(columns)), "the columns that categorical_ leaves")
    _require(encoder, "levels_", _each(are_different_strings, len(categorical)), "a list of strings for each category")
    check_fitted(_require(encoder, "scaler_", lambda it: isinstance(it, ColumnScaler), "a ColumnScaler"))
    _require(encoder, "scaler_", lambda it: len(it.fill) == n, "a scaler of numeric_")
    _require(encoder, "missing_", _places(n), "places in numeric_, increasing")


def _check_scaler(scaler: ColumnScaler) -> None:
    n = len(_require(scaler, "fill", _numbers(None), "finite float64 numbers, one a column"))
    _require(scaler, "center", _numbers(n), f"{n} finite float64 numbers")
    scale = _require(scaler, "scale", _numbers(n), f"{n} finite float64 numbers")
    _require(scaler, "scale", lambda _: bool((scale >= 0).all()), "0 or more")
    _require(scaler, "clip", _is_bool, "True or False")
    _require(scaler, "references", lambda it: it is None or _are_references(it, n), "None or increasing numbers")


def _check_classes(encoder: ClassEncoder) -> None:
    kind = _require(encoder, "kind_", _one_of(*OF_A_KIND), f"one of {[*OF_A_KIND]}")
    _require(encoder, "classes_", _are_labels, "different labels in increasing order")
    _require(encoder, "classes_", OF_A_KIND[kind], f"those of a {kind} target")


def _check_values(encoder: ValueEncoder) -> None:
    _require(encoder, "scaled", _is_bool, "True or False")
    _require(encoder, "positive", _one_of(None, *NEEDS_POSITIVE.values()), "None or what a loss asks of y")
    n = len(_require(encoder, "center_", _numbers(None), "finite float64 numbers, one an output"))
    scale = _require(encoder, "scale_", _numbers(n), f"{n} finite float64 numbers")
    _require(encoder, "scale_", lambda _: n > 0 and bool((scale > 0).all()), "above 0")


# --- Estimators ---------------------------------------------------------------------------------------------------


def _check_estimator(est: Any) -> None:
    if not any(name.endswith("_") for name in vars(est)) and "_features" not in vars(est):
        return  # not fitted, as a part of a larger estimator may be
    net = _require(est, "net_", lambda it: isinstance(it, TrainingNet), "the network that was fitted")
    is_built_in = isinstance(net.module_, MLP)
    built_with = _require(est, "_built_with", _has_all_of(FIXED, est), "the parameters that its network was built with")
    _require(est, "_built_with", lambda _: (built_with["module"] is None) == is_built_in, "with a module or without")
    encoders = (FeatureEncoder,) if is_built_in else (FeatureEncoder, NoneType)
    features = _require(est, "_features", lambda it: isinstance(it, encoders), "a FeatureEncoder")
    check_fitted(features)
    width = _require(est, "n_features_in_", lambda it: _is_count(it) and it > 0, "a whole number above 0")
    if features is not None:
        n = len(features.numeric_) + len(features.categorical_)
        _require(est, "n_features_in_", lambda _: n == width, f"{n}, the columns of its encoder")
    if hasattr(est, "feature_names_in_"):
        _require(est, "feature_names_in_", lambda it: are_names(it, width), f"{width} different strings")
    (_check_classifier if isinstance(est, NeuralClassifier) else _check_regressor)(est)
    _check_net(net)
    if is_built_in:  # a module of the user's may need another device than the one that it is loaded on
        _check_prediction(est)


def _check_classifier(est: Any) -> None:
    target = _require(est, "_target", lambda it: isinstance(it, ClassEncoder), "a ClassEncoder")
    check_fitted(target)
    classes = target.classes_
    _require(est, "classes_", lambda it: _are_equal(it, classes), "the classes of its encoder")
    if getattr(est, "_label_weights", None) is not None:
        _require(est, "_label_weights", _numbers(len(classes)), "None or a finite float64 number for each class")


def _check_regressor(est: Any) -> None:
    check_fitted(_require(est, "_target", lambda it: isinstance(it, ValueEncoder), "a ValueEncoder"))
    _require(est, "_target_ndim", _one_of(1, 2), "1 or 2")


def _check_net(net: TrainingNet) -> None:
    """The network's numbers, and what the net knows of its trainings."""
    network = _require(net, "module_", _has_finite_numbers, "a network of finite numbers")
    m = network.n_members
    states = _require(net, "member_states_", lambda it: len(it) == m, "a state for each member")
    for state in states:
        for name in ("epochs", "rows_seen", "epochs_without_improvement"):
            _require(state, name, _is_count, "a whole number")
        for name in ("failed", "unconverged"):
            _require(state, name, _is_bool, "True or False")
        _require(state, "diverged_in", lambda it: it is None or _is_count(it), "None or a whole number")
        _require(state, "best_score", _is_number, "a number")
        _require(state, "best_epoch", _is_whole, "a whole number")
    _require(net, "member_history_", _dict_of(lambda row: isinstance(row, dict)), "records by epoch")
    _require(net, "keeps_optimizer", _is_bool, "True or False")
    _require(net, "batch_size", lambda it: _is_count(it) and it > 0, "a whole number above 0")
    _require(net, "stopped_by_", _one_of(None, "user", "callback"), "None, 'user' or 'callback'")
    _require(net, "history", lambda it: all(map(_is_record, list.__iter__(it))), "a record for each epoch")


def _has_finite_numbers(network: EnsembleNetwork) -> bool:
    """Whether all numbers are finite, and variances 0 or more; other buffers of a user's module are its own affair."""
    if isinstance(network, MLP):
        return bool(torch.isfinite(network.param_buffer).all())
    norms = [module for module in network.modules() if isinstance(module, _NormBase)]
    variances = [norm.running_var for norm in norms if norm.running_var is not None]
    means = [norm.running_mean for norm in norms if norm.running_mean is not None]
    numbers = [*network.parameters(), *means, *(variance.sqrt() for variance in variances)]
    return all(bool(torch.isfinite(tensor).all()) for tensor in numbers)


def _check_prediction(est: Any) -> None:
    """Whether a row without any value gets a prediction."""
    if est._features.categorical_.size:
        row = np.full((1, est.n_features_in_), None, dtype=object)
    else:
        row = np.full((1, est.n_features_in_), np.nan)
    outputs = est._predict_block(row, est._double_params(row))
    predicted = est._predict_from(outputs, np.float64)
    values = est._probabilities(outputs, np.float64) if isinstance(est, NeuralClassifier) else predicted
    if len(predicted) != 1 or not np.isfinite(values).all():
        raise ValueError(f"a {type(est).__name__} predicts {values.tolist()} for a row without any value")


# --- What a value is ----------------------------------------------------------------------------------------------


def _one_of(*options: Any) -> Callable[[Any], bool]:
    return lambda it: any(it is option or (type(it) is type(option) and it == option) for option in options)


def _each(is_right: Callable[[Any], bool], n: int) -> Callable[[Any], bool]:
    """A list of so many values."""
    return lambda it: isinstance(it, list) and len(it) == n and all(map(is_right, it))


def _dict_of(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """A dict with whole numbers as keys."""
    return lambda it: isinstance(it, dict) and all(map(_is_count, it)) and all(map(is_right, it.values()))


def _numbers(*shape: int | None) -> Callable[[Any], bool]:
    """An array of finite float64, of any size where the shape says None."""

    def is_right(it: Any) -> bool:
        if not isinstance(it, np.ndarray) or it.dtype != np.float64 or it.ndim != len(shape):
            return False
        return all(n in (None, size) for n, size in zip(shape, it.shape, strict=True)) and bool(np.isfinite(it).all())

    return is_right


def _places(below: int | None = None) -> Callable[[Any], bool]:
    """An array of increasing whole numbers."""

    def is_right(it: Any) -> bool:
        if not isinstance(it, np.ndarray) or it.dtype.kind != "i" or it.ndim != 1:
            return False
        in_range = not len(it) or (it[0] >= 0 and (below is None or it[-1] < below))
        return bool(in_range and (np.diff(it) > 0).all())

    return is_right


def _has_all_of(names: tuple[str, ...], est: Any) -> Callable[[Any], bool]:
    """A dict with these of an estimator's parameters."""
    return lambda it: isinstance(it, dict) and all(name in it for name in names if hasattr(est, name))


def _is_bool(it: Any) -> bool:
    return isinstance(it, bool)


def _is_whole(it: Any) -> bool:
    return type(it) is int


def _is_count(it: Any) -> bool:
    return type(it) is int and it >= 0


def _is_number(it: Any) -> bool:
    return isinstance(it, int | float | np.number) and not isinstance(it, bool)


def _is_arange(it: np.ndarray) -> bool:
    return it.dtype.kind == "i" and np.array_equal(it, np.arange(len(it)))


def _are_equal(it: Any, array: np.ndarray) -> bool:
    return isinstance(it, np.ndarray) and it.dtype == array.dtype and np.array_equal(it, array)


def are_different_strings(it: Any) -> bool:
    """A list of strings, none of them twice."""
    return isinstance(it, list) and all(isinstance(text, str) for text in it) and len(set(it)) == len(it)


def are_names(it: Any, n: Any) -> bool:
    """An array of so many different strings, as scikit-learn keeps names of columns."""
    is_array = isinstance(it, np.ndarray) and it.dtype == object and it.shape == (n,)
    return is_array and are_different_strings(it.tolist())


def _are_labels(it: Any) -> bool:
    if not isinstance(it, np.ndarray) or it.ndim != 1 or not len(it) or it.dtype.kind not in "biufUSO":
        return False
    if it.dtype == object and not all(isinstance(label, LABEL_TYPES) for label in it.tolist()):
        return False
    try:
        return all(bool(one < other) for one, other in itertools.pairwise(it))
    except TypeError:  # of labels that have no order
        return False


def _are_references(it: Any, n: int) -> bool:
    return _numbers(None, n)(it) and len(it) > 1 and bool((it[1:] >= it[:-1]).all())


def _is_record(row: Any) -> bool:
    """A row of the history, with numbers where they are read."""
    read = ("epoch", "rows", "dur", "train_loss", "valid_loss", "valid_score")
    return isinstance(row, dict) and all(type(key) is str and (key not in read or _is_number(row[key])) for key in row)


OF_A_KIND: dict[str, Callable[[np.ndarray], bool]] = {  # the classes of each kind of target
    "binary": lambda classes: len(classes) == 2,
    "multiclass": lambda classes: True,
    "multilabel": _is_arange,
}
CHECKS: dict[type, Callable[[Any], None]] = {
    FeatureEncoder: _check_encoder,
    ColumnScaler: _check_scaler,
    ClassEncoder: _check_classes,
    ValueEncoder: _check_values,
    BaseNeural: _check_estimator,
}

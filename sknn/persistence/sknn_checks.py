"""Checks of the attributes of sknn's fitted classes, so that a loaded estimator predicts."""

from collections.abc import Callable
from types import NoneType
from typing import Any

import numpy as np
import torch
from torch.nn.modules.batchnorm import _NormBase

from sknn.estimators.base import BaseNeural
from sknn.estimators.classifier import NeuralClassifier
from sknn.estimators.frozen_ensemble import FrozenEnsemble
from sknn.estimators.pipelines import final_estimator
from sknn.estimators.regressor import NEEDS_POSITIVE
from sknn.network.base import Network
from sknn.network.custom import CustomNetwork
from sknn.persistence.predicates import (
    Predicate,
    are_column_names,
    are_different_strings,
    are_labels,
    dict_by_count,
    finite_floats,
    increasing_indices,
    instance_of,
    is_arange,
    is_count,
    is_equal_array,
    is_integer,
    is_number,
    is_positive_integer,
    list_of,
    one_of,
)
from sknn.preprocessing.features import FeatureEncoder
from sknn.preprocessing.scaling import ColumnScaler
from sknn.preprocessing.targets import ClassEncoder, ValueEncoder
from sknn.training.net import TrainingNet

SCALINGS = (None, "standard", "robust", "quantile", "auto")
PARAMETERS_OF_PREDICTION = ("module", "loss", "quantile", "precision", "solver")  # read from `_built_with`
NUMERIC_RECORDS = ("epoch", "rows", "dur", "train_loss", "valid_loss", "valid_score")
MISSING = object()  # stands for an attribute that does not exist


def check_sknn_object(obj: Any) -> None:
    """Raise an error for an object of sknn that could not predict, or would predict NaN or infinity.

    Raises
    ------
    ValueError
        Naming the class, the attribute, and its valid values.
    """
    for cls, check_class in CHECKS.items():
        if isinstance(obj, cls):
            check_class(obj)


def _require(owner: Any, name: str, is_valid: Predicate, expected: str) -> Any:
    """Return an attribute if it is valid, else raise an error."""
    value = getattr(owner, name, MISSING)
    if not is_valid(value):
        raise ValueError(f"{name} of a {type(owner).__name__} has to be {expected}")
    return value


# --- Encoders -----------------------------------------------------------------------------------------------------


def _check_feature_encoder(encoder: FeatureEncoder) -> None:
    _require(encoder, "scaling", one_of(*SCALINGS), f"one of {SCALINGS}")
    _require(encoder, "max_one_hot", is_count, "an integer of at least 0")
    _require(encoder, "dtype", one_of(np.float32, np.float64), "float32 or float64")
    categorical = _require(encoder, "categorical_", increasing_indices(), "increasing indices")
    numeric = _require(encoder, "numeric_", increasing_indices(), "increasing indices")
    columns, n = np.concatenate([categorical, numeric]), len(numeric)
    _require(encoder, "numeric_", lambda _: is_arange(np.sort(columns)), "the columns that are not in categorical_")
    levels = list_of(are_different_strings, len(categorical))
    _require(encoder, "levels_", levels, "a list of different strings for each categorical column")
    check_sknn_object(_require(encoder, "scaler_", instance_of(ColumnScaler), "a ColumnScaler"))
    _require(encoder, "scaler_", lambda scaler: len(scaler.fill) == n, "a scaler of the columns numeric_")
    _require(encoder, "missing_", increasing_indices(n), "increasing indices into numeric_")


def _check_scaler(scaler: ColumnScaler) -> None:
    n = len(_require(scaler, "fill", finite_floats(None), "finite float64 numbers, one for each column"))
    _require(scaler, "center", finite_floats(n), f"{n} finite float64 numbers")
    scale = _require(scaler, "scale", finite_floats(n), f"{n} finite float64 numbers")
    _require(scaler, "scale", lambda _: bool((scale >= 0).all()), "at least 0")
    _require(scaler, "clip", instance_of(bool), "True or False")
    _require(
        scaler, "references", lambda value: value is None or _are_references(value, n), "None or increasing numbers"
    )


def _are_references(value: Any, n: int) -> bool:
    return finite_floats(None, n)(value) and len(value) > 1 and bool((value[1:] >= value[:-1]).all())


def _check_class_encoder(encoder: ClassEncoder) -> None:
    kind = _require(encoder, "kind_", one_of(*CLASSES_BY_KIND), f"one of {[*CLASSES_BY_KIND]}")
    _require(encoder, "classes_", are_labels, "different labels in increasing order")
    _require(encoder, "classes_", CLASSES_BY_KIND[kind], f"classes of a {kind} target")


CLASSES_BY_KIND: dict[str, Callable[[np.ndarray], bool]] = {
    "binary": lambda classes: len(classes) == 2,
    "multiclass": lambda classes: True,
    "multilabel": is_arange,
}


def _check_value_encoder(encoder: ValueEncoder) -> None:
    _require(encoder, "scaled", instance_of(bool), "True or False")
    _require(encoder, "positive", one_of(None, *NEEDS_POSITIVE.values()), "None, 'zero or more' or 'above zero'")
    n = len(_require(encoder, "center_", finite_floats(None), "finite float64 numbers, one for each output"))
    scale = _require(encoder, "scale_", finite_floats(n), f"{n} finite float64 numbers")
    _require(encoder, "scale_", lambda _: n > 0 and bool((scale > 0).all()), "above 0")


# --- Estimators ---------------------------------------------------------------------------------------------------


def _check_estimator(est: Any) -> None:
    if not any(name.endswith("_") for name in vars(est)) and "_features" not in vars(est):
        return  # not fitted: a meta-estimator keeps an unfitted estimator, too
    net = _require(est, "net_", instance_of(TrainingNet), "its trained network")
    is_built_in = not isinstance(net.module_, CustomNetwork)
    built_with = _require(est, "_built_with", _has_prediction_parameters(est), "the parameters of its trained network")
    has_module = built_with["module"] is not None
    _require(est, "_built_with", lambda _: has_module != is_built_in, "consistent with the network's class")
    encoders = (FeatureEncoder,) if is_built_in else (FeatureEncoder, NoneType)
    features = _require(est, "_features", instance_of(*encoders), "a FeatureEncoder")
    check_sknn_object(features)
    width = _require(est, "n_features_in_", is_positive_integer, "an integer above 0")
    if features is not None:
        n = len(features.numeric_) + len(features.categorical_)
        _require(est, "n_features_in_", lambda _: n == width, f"{n}, the number of columns of its encoder")
    if hasattr(est, "feature_names_in_"):
        _require(est, "feature_names_in_", lambda names: are_column_names(names, width), f"{width} different strings")
    if hasattr(est, "target_name_"):
        _require(est, "target_name_", instance_of(str), "a string")
    (_check_classifier if isinstance(est, NeuralClassifier) else _check_regressor)(est)
    _check_net(net)
    if is_built_in:  # a user's module may not work on the device that it is loaded on
        _check_prediction(est)


def _check_ensemble(ensemble: FrozenEnsemble) -> None:
    models = _require(ensemble, "estimators", _are_alike, "fitted neural networks of one class, or pipelines with them")
    weights = _require(ensemble, "weights", finite_floats(len(models)), f"{len(models)} finite float64 numbers")
    _require(ensemble, "weights", lambda _: bool((weights >= 0).all() and weights.any()), "at least 0, and not all 0")


def _are_alike(models: Any) -> bool:
    """Return whether these are models whose predictions have a mean."""
    networks = [final_estimator(model) for model in models] if isinstance(models, list) else []
    return (
        bool(networks)
        and isinstance(networks[0], BaseNeural)
        and all(type(network) is type(networks[0]) and hasattr(network, "net_") for network in networks)
        and all(getattr(model, "n_features_in_", None) == models[0].n_features_in_ for model in models)
    )


def _has_prediction_parameters(est: Any) -> Predicate:
    names = [name for name in PARAMETERS_OF_PREDICTION if hasattr(est, name)]
    return lambda params: isinstance(params, dict) and all(name in params for name in names)


def _check_classifier(est: Any) -> None:
    target = _require(est, "_target", instance_of(ClassEncoder), "a ClassEncoder")
    check_sknn_object(target)
    classes = target.classes_
    _require(est, "classes_", lambda value: is_equal_array(value, classes), "the classes of its encoder")
    if getattr(est, "_label_weights", None) is not None:
        weights = finite_floats(len(classes))
        _require(est, "_label_weights", weights, "None or a finite float64 number for each class")


def _check_regressor(est: Any) -> None:
    check_sknn_object(_require(est, "_target", instance_of(ValueEncoder), "a ValueEncoder"))
    _require(est, "_target_ndim", one_of(1, 2), "1 or 2")


def _check_net(net: TrainingNet) -> None:
    """Check the network's values and the state of its training."""
    network = _require(net, "module_", _has_finite_values, "a network of finite numbers")
    m = network.n_members
    states = _require(net, "member_states_", lambda states: len(states) == m, "a state for each member")
    for state in states:
        for name in ("epochs", "rows_seen", "epochs_without_improvement"):
            _require(state, name, is_count, "an integer of at least 0")
        for name in ("failed", "unconverged"):
            _require(state, name, instance_of(bool), "True or False")
        _require(state, "diverged_in", lambda epoch: epoch is None or is_count(epoch), "None or an integer")
        _require(state, "best_score", is_number, "a number")
        _require(state, "best_epoch", is_integer, "an integer")
        _require(state, "weight", lambda weight: is_number(weight) and 0 <= weight <= 1, "a number from 0 to 1")
    _require(net, "member_states_", lambda states: any(state.weight for state in states), "a member with a weight")
    _require(net, "member_history_", dict_by_count(instance_of(dict)), "a dict from epochs to records")
    _require(net, "keeps_optimizer", instance_of(bool), "True or False")
    _require(net, "batch_size", is_positive_integer, "an integer above 0")
    _require(net, "stopped_by_", one_of(None, "user", "callback"), "None, 'user' or 'callback'")
    _require(net, "history", lambda rows: all(map(_is_record, list.__iter__(rows))), "a record for each epoch")


def _is_record(row: Any) -> bool:
    """Return whether a row of the history holds numbers where sknn reads numbers."""
    return isinstance(row, dict) and all(
        type(name) is str and (name not in NUMERIC_RECORDS or is_number(value)) for name, value in row.items()
    )


def _has_finite_values(network: Network) -> bool:
    """Return whether parameters and running statistics are finite, and variances at least 0.

    Other buffers of a user's module are not checked.
    """
    if not isinstance(network, CustomNetwork):
        return all(bool(torch.isfinite(part.param_buffer).all()) for part in network.parts)
    norms = [module for module in network.modules() if isinstance(module, _NormBase)]
    means = [norm.running_mean for norm in norms if norm.running_mean is not None]
    deviations = [norm.running_var.sqrt() for norm in norms if norm.running_var is not None]  # NaN below 0
    return all(bool(torch.isfinite(tensor).all()) for tensor in [*network.parameters(), *means, *deviations])


def _check_prediction(est: Any) -> None:
    """Raise an error if the prediction for a row of missing values is not finite."""
    shape = (1, est.n_features_in_)
    row = np.full(shape, None, dtype=object) if est._features.categorical_.size else np.full(shape, np.nan)
    outputs = est._predict_block(row, est._double_params(row))
    predicted = est._predict_from(outputs, np.float64)
    values = est._probabilities(outputs, np.float64) if isinstance(est, NeuralClassifier) else predicted
    if len(predicted) != 1 or not np.isfinite(values).all():
        raise ValueError(f"a {type(est).__name__} predicts {values.tolist()} for a row of missing values")


CHECKS: dict[type, Callable[[Any], None]] = {
    FeatureEncoder: _check_feature_encoder,
    ColumnScaler: _check_scaler,
    ClassEncoder: _check_class_encoder,
    ValueEncoder: _check_value_encoder,
    BaseNeural: _check_estimator,
    FrozenEnsemble: _check_ensemble,
}

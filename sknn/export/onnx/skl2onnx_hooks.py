"""How skl2onnx converts our estimators, and what we replace in it: SimpleImputer and ColumnTransformer.

For each class skl2onnx calls three functions: a parser declares the outputs, a shape function sets their types, and a
converter writes the nodes.
"""

import copy
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.utils.validation import check_is_fitted

from sknn.estimators.base import BaseNeural
from sknn.estimators.classifier import NeuralClassifier
from sknn.estimators.regressor import NeuralRegressor
from sknn.export.onnx.columns import dtype_kind
from sknn.export.onnx.ensemble import register_ensemble
from sknn.export.onnx.estimator import is_double, needs_double_values, onnx_classes, write_labels, write_predictions
from sknn.export.onnx.graph import ML, Graph
from sknn.export.onnx.steps import fitted_transformers, is_passthrough
from sknn.preprocessing.levels import is_missing

OPTIONS: dict[str, list[Any]] = {
    "zipmap": [True, False, "columns"],
    "nocl": [True, False],
    "output_class_labels": [False, True],
    "members": [False, True],
}


def register(cls: type[BaseNeural]) -> None:
    """Register an estimator's class and its subclasses. skl2onnx knows a class only if it is registered itself."""
    from skl2onnx import update_registered_converter

    is_classifier = issubclass(cls, NeuralClassifier)
    update_registered_converter(
        cls,
        "SknnClassifier" if is_classifier else "SknnRegressor",
        _classifier_shapes if is_classifier else _regressor_shapes,
        _convert_classifier if is_classifier else _convert_regressor,
        parser=_parse_classifier if is_classifier else _parse_regressor,
        options=OPTIONS if is_classifier else {"members": OPTIONS["members"]},
    )
    for derived in cls.__subclasses__():
        register(derived)


def register_all() -> None:
    """Register both estimators, their subclasses, and subclasses that are defined later; and ensembles of them."""
    register(NeuralClassifier)
    register(NeuralRegressor)
    BaseNeural._subclass_hooks.append(register)
    register_ensemble()


# --- Our estimators -----------------------------------------------------------------------------------------------


def _parse_classifier(scope: Any, model: Any, inputs: list, custom_parsers: Any = None) -> list:
    from skl2onnx._parse import _apply_zipmap
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType

    options = scope.get_options(model, {"zipmap": True, "output_class_labels": False})
    float_type = DoubleTensorType if is_double(model) else FloatTensorType
    outputs = [("label", Int64TensorType), ("probabilities", float_type), ("class_labels", StringTensorType)]
    operator = scope.declare_local_operator("SknnClassifier", model)
    operator.inputs = inputs
    for name, tensor_type in outputs[: 3 if options["output_class_labels"] else 2]:
        operator.outputs.append(scope.declare_local_variable(name, tensor_type()))
    if options["zipmap"] and options["output_class_labels"]:
        raise ValueError("The options zipmap and output_class_labels exclude each other; choose one.")
    outputs = list(operator.outputs)
    if options["zipmap"]:
        outputs = list(_apply_zipmap(options["zipmap"], scope, model, float_type(), outputs))
    return outputs + _declare_members(scope, model, operator, "member_probabilities")


def _parse_regressor(scope: Any, model: Any, inputs: list, custom_parsers: Any = None) -> list:
    from skl2onnx.common.data_types import FloatTensorType

    operator = scope.declare_local_operator("SknnRegressor", model)
    operator.inputs = inputs
    operator.outputs.append(scope.declare_local_variable("variable", FloatTensorType()))
    return list(operator.outputs) + _declare_members(scope, model, operator, "member_values")


def _declare_members(scope: Any, model: Any, operator: Any, name: str) -> list[Any]:
    """Declare the output for the members' predictions, the last one, if the option `members` asks for it."""
    from skl2onnx.common.data_types import FloatTensorType

    if not scope.get_options(model, {"members": False})["members"]:
        return []
    operator.outputs.append(scope.declare_local_variable(name, FloatTensorType()))
    return [operator.outputs[-1]]


def _split_members(operator: Any) -> tuple[list[Any], Any]:
    """Return the operator's outputs without that of the members, and that one, or None."""
    outputs = list(operator.outputs)
    has_members = operator.scope_inst.get_options(operator.raw_operator, {"members": False})["members"]
    return (outputs[:-1], outputs[-1]) if has_members else (outputs, None)


def _members_shape(operator: Any, k: int) -> list[int | None]:
    return [operator.inputs[0].get_first_dimension(), operator.raw_operator.net_.module_.n_members, k]


def _classifier_shapes(operator: Any) -> None:
    from skl2onnx.common import data_types as types

    est = operator.raw_operator
    check_is_fitted(est, "net_")
    classes, n, k = _classes(operator.scope_inst, est), operator.inputs[0].get_first_dimension(), len(est.classes_)
    label_types = {"i": types.Int64TensorType, "b": types.BooleanTensorType, "U": types.StringTensorType}
    label_type = label_types["i"] if classes is None else label_types.get(classes.dtype.kind, types.DoubleTensorType)
    is_multilabel = est._target.kind_ == "multilabel"
    float_type = types.DoubleTensorType if is_double(est) else types.FloatTensorType
    tensor_types = [label_type([n, k] if is_multilabel else [n]), float_type([n, k]), label_type([k])]
    outputs, members = _split_members(operator)
    for variable, tensor_type in zip(outputs, tensor_types, strict=False):
        variable.set_type(tensor_type)
    if members is not None:
        members.set_type(float_type(_members_shape(operator, k)))


def _regressor_shapes(operator: Any) -> None:
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    est = operator.raw_operator
    check_is_fitted(est, "net_")
    float_type = DoubleTensorType if needs_double_values(est) else FloatTensorType
    (values,), members = _split_members(operator)
    values.set_type(float_type([operator.inputs[0].get_first_dimension(), est._network_outputs()]))
    if members is not None:
        members.set_type(float_type(_members_shape(operator, est._network_outputs())))


def _convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    est, ((label, probabilities, *rest), members) = operator.raw_operator, _split_members(operator)
    graph, classes = Graph(scope, container, np.float64 if is_double(est) else np.float32), _classes(scope, est)
    p = write_predictions(graph, est, operator.inputs, getattr(members, "full_name", None))
    write_labels(graph, est, p, classes, label.full_name)
    graph.rename(p, probabilities.full_name)
    for variable in rest:
        graph("Identity", np.arange(len(est.classes_)) if classes is None else classes, output=variable.full_name)


def _convert_regressor(scope: Any, operator: Any, container: Any) -> None:
    est, ((values,), members) = operator.raw_operator, _split_members(operator)
    graph = Graph(scope, container, np.float64 if is_double(est) else np.float32)
    p = write_predictions(graph, est, operator.inputs, getattr(members, "full_name", None))
    graph.rename(p, values.full_name)


def _classes(scope: Any, est: Any) -> np.ndarray | None:
    """Return the labels of the graph; None for indices (option `nocl`). ZipMap supports int64 and strings only."""
    options = scope.get_options(est, {"nocl": False, "zipmap": True})
    if options["nocl"]:
        return None
    classes = onnx_classes(est.classes_)
    return classes.astype(np.int64) if options["zipmap"] and classes.dtype.kind in "bf" else classes


# --- scikit-learn's ColumnTransformer and SimpleImputer -----------------------------------------------------------


def _parse_column_transformer(scope: Any, model: Any, inputs: list, custom_parsers: Any = None) -> list:
    """Keep strings that pass through as separate variables.

    skl2onnx's parser, which is used in all other cases, would concatenate them with numeric tensors.
    """
    from skl2onnx._parse import _parse_sklearn_column_transformer as parse

    passed = [j for _, step, indices in fitted_transformers(model) if is_passthrough(step) for j in indices]
    if len(inputs) < model.n_features_in_ or not any(dtype_kind(inputs[j].type) == "U" for j in passed):
        return parse(scope, model, inputs, custom_parsers)
    outputs = []
    for entry, step, indices in fitted_transformers(model):
        if is_passthrough(step):
            outputs += [inputs[j] for j in indices]
        elif indices and step != "drop":
            single = copy.copy(model)
            single.transformers_ = [entry]
            outputs += parse(scope, single, inputs, custom_parsers)
    return outputs


def _convert_imputer(scope: Any, operator: Any, container: Any) -> None:
    """Replace NaN, or '' among strings.

    skl2onnx's converter knows neither double precision nor missing strings. It is used for another `missing_values` and
    for indicators.
    """
    from skl2onnx.common._registration import get_converter

    imputer, kind = operator.raw_operator, dtype_kind(operator.inputs[0].type)
    if not is_missing(imputer.missing_values) or imputer.add_indicator:
        get_converter("SklearnSimpleImputer")(scope, operator, container)
        return
    graph = Graph(scope, container, np.float64)
    x = graph.concat([variable.full_name for variable in operator.inputs])
    kept = [j for j, value in enumerate(imputer.statistics_) if not is_missing(value)]
    if len(kept) < len(imputer.statistics_):  # scikit-learn drops columns without any value
        x = graph("Gather", x, np.array(kept), axis=1)
    filled = _fill(graph, x, kind, imputer.statistics_[kept], operator.inputs[0].type)
    graph("Identity", filled, output=operator.outputs[0].full_name)


def _fill(graph: Graph, x: str, kind: str, values: np.ndarray, tensor_type: Any) -> str:
    if kind == "U":
        code = graph("LabelEncoder", x, keys_strings=[""], values_int64s=[1], default_int64=0, domain=ML)
        return graph("Where", graph.cast(code, np.bool_), values.astype(str), x)
    if kind != "f":
        return x
    dtype = np.float64 if type(tensor_type).__name__.startswith("Double") else np.float32
    return graph("Where", graph("IsNaN", x), values.astype(dtype), x)


CUSTOM_FUNCTIONS: dict[str, Any] = {  # keyword arguments of skl2onnx.convert_sklearn
    "custom_conversion_functions": {SimpleImputer: _convert_imputer},
    "custom_parsers": {ColumnTransformer: _parse_column_transformer},
}

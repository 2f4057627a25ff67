"""What skl2onnx asks about our estimators: what goes out, of which types and shapes, and how it is computed."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sknn.estimators.base import BaseNeural
from sknn.estimators.classifier import NeuralClassifier
from sknn.estimators.regressor import NeuralRegressor
from sknn.export.onnx.estimator import is_double, labels, needs_double_values, onnx_classes, predictions
from sknn.export.onnx.graph import Graph

OPTIONS = {"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [False, True]}


def register(cls: type[BaseNeural]) -> None:
    """Make an estimator's class, and those derived from it, known to skl2onnx, which goes by the exact class."""
    from skl2onnx import update_registered_converter

    is_classifier = issubclass(cls, NeuralClassifier)
    update_registered_converter(
        cls,
        "SknnClassifier" if is_classifier else "SknnRegressor",
        _classifier_shapes if is_classifier else _regressor_shapes,
        _convert_classifier if is_classifier else _convert_regressor,
        parser=_parse_classifier if is_classifier else _parse_regressor,
        options=OPTIONS if is_classifier else {},
    )
    for derived in cls.__subclasses__():
        register(derived)


def register_all() -> None:
    """Register both estimators, what is derived from them, and what will be."""
    register(NeuralClassifier)
    register(NeuralRegressor)
    BaseNeural._subclass_hooks.append(register)


def _parse_classifier(scope: Any, model: Any, inputs: list, custom_parsers: Any = None) -> list:
    from skl2onnx._parse import _apply_zipmap
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType

    options = scope.get_options(model, {"zipmap": True, "output_class_labels": False})
    number = DoubleTensorType if is_double(model) else FloatTensorType
    outputs = [("label", Int64TensorType), ("probabilities", number), ("class_labels", StringTensorType)]
    operator = scope.declare_local_operator("SknnClassifier", model)
    operator.inputs = inputs
    for name, kind in outputs[: 3 if options["output_class_labels"] else 2]:
        operator.outputs.append(scope.declare_local_variable(name, kind()))
    if not options["zipmap"]:
        return operator.outputs
    if options["output_class_labels"]:
        raise ValueError("The options zipmap and output_class_labels exclude each other; choose one.")
    return _apply_zipmap(options["zipmap"], scope, model, number(), operator.outputs)


def _parse_regressor(scope: Any, model: Any, inputs: list, custom_parsers: Any = None) -> list:
    from skl2onnx.common.data_types import FloatTensorType

    operator = scope.declare_local_operator("SknnRegressor", model)
    operator.inputs = inputs
    operator.outputs.append(scope.declare_local_variable("variable", FloatTensorType()))
    return operator.outputs


def _classifier_shapes(operator: Any) -> None:
    from skl2onnx.common import data_types as types

    est = operator.raw_operator
    check_is_fitted(est, "net_")
    classes, n, k = _classes(operator.scope_inst, est), operator.inputs[0].get_first_dimension(), len(est.classes_)
    kinds = {"i": types.Int64TensorType, "b": types.BooleanTensorType, "U": types.StringTensorType}
    kind = types.Int64TensorType if classes is None else kinds.get(classes.dtype.kind, types.DoubleTensorType)
    multilabel = est._target.kind_ == "multilabel"
    number = types.DoubleTensorType if is_double(est) else types.FloatTensorType
    shapes = [kind([n, k] if multilabel else [n]), number([n, k]), kind([k])]
    for variable, its_type in zip(operator.outputs, shapes, strict=False):
        variable.set_type(its_type)


def _regressor_shapes(operator: Any) -> None:
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    est = operator.raw_operator
    check_is_fitted(est, "net_")
    number = DoubleTensorType if needs_double_values(est) else FloatTensorType
    operator.outputs[0].set_type(number([operator.inputs[0].get_first_dimension(), est._network_outputs()]))


def _convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    est, (label, probabilities, *rest) = operator.raw_operator, operator.outputs
    graph, classes = Graph(scope, container, _dtype(est)), _classes(scope, est)
    p = predictions(graph, est, operator.inputs)
    labels(graph, est, p, classes, label.full_name)
    graph.publish(p, probabilities.full_name)
    for variable in rest:
        graph("Identity", np.arange(len(est.classes_)) if classes is None else classes, output=variable.full_name)


def _convert_regressor(scope: Any, operator: Any, container: Any) -> None:
    est = operator.raw_operator
    graph = Graph(scope, container, _dtype(est))
    graph.publish(predictions(graph, est, operator.inputs), operator.outputs[0].full_name)


def _dtype(est: Any) -> Any:
    return np.float64 if is_double(est) else np.float32


def _classes(scope: Any, est: Any) -> np.ndarray | None:
    """The labels that go out; None if their places do, by the option `nocl`.  A ZipMap knows int64 and strings only."""
    options = scope.get_options(est, {"nocl": False, "zipmap": True})
    if options["nocl"]:
        return None
    classes = onnx_classes(est.classes_)
    return classes.astype(np.int64) if options["zipmap"] and classes.dtype.kind in "bf" else classes

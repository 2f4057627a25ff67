"""How skl2onnx converts a `FrozenEnsemble`: its models one beside the other in one graph, and their weighted mean."""

import functools
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from sknn.estimators.frozen_ensemble import FrozenEnsemble
from sknn.estimators.pipelines import final_estimator
from sknn.export.onnx.estimator import is_double, needs_double_values, onnx_classes, write_labels
from sknn.export.onnx.graph import Graph

OPTIONS: dict[str, list[Any]] = {"zipmap": [False], "nocl": [True, False]}


def register_ensemble() -> None:
    """Register the class."""
    from skl2onnx import update_registered_converter

    update_registered_converter(FrozenEnsemble, "SknnEnsemble", _set_shapes, _convert, parser=_parse, options=OPTIONS)


def _parse(scope: Any, ensemble: FrozenEnsemble, inputs: list, custom_parsers: Any = None) -> list:
    """Declare the operators of all models, and one that takes their probabilities or values."""
    from skl2onnx._parse import _parse_sklearn

    operator = scope.declare_local_operator("SknnEnsemble", ensemble)
    for model in ensemble.estimators:
        if is_classifier(model):
            scope.add_options(id(final_estimator(model)), {"zipmap": False})
        operator.inputs.append(_parse_sklearn(scope, model, inputs, custom_parsers)[-1])
    for name in ("label", "probabilities") if is_classifier(ensemble) else ("variable",):
        operator.outputs.append(scope.declare_local_variable(name, _float_type(ensemble)()))
    return list(operator.outputs)


def _set_shapes(operator: Any) -> None:
    from skl2onnx.common import data_types as types

    ensemble, n = operator.raw_operator, operator.inputs[0].get_first_dimension()
    *label, values = operator.outputs
    k = len(ensemble.classes_) if is_classifier(ensemble) else ensemble.network._network_outputs()
    values.set_type(_float_type(ensemble)([n, k]))
    if label:
        classes = _classes(operator.scope_inst, ensemble)
        label_types = {"i": types.Int64TensorType, "b": types.BooleanTensorType, "U": types.StringTensorType}
        label_type = label_types["i" if classes is None else classes.dtype.kind]
        label[0].set_type(label_type([n, k] if ensemble.network._target.kind_ == "multilabel" else [n]))


def _convert(scope: Any, operator: Any, container: Any) -> None:
    ensemble, (*label, values) = operator.raw_operator, operator.outputs
    graph = Graph(scope, container, np.float64 if _is_double(ensemble) else np.float32)
    inputs = [graph.cast(variable.full_name, graph.dtype) for variable in operator.inputs]
    weighted = zip(inputs, ensemble.estimators, ensemble.weights.tolist(), strict=True)
    shares = (_weighted(graph, p, ensemble, model, weight) for p, model, weight in weighted)
    mean = functools.reduce(lambda total, share: graph("Add", total, share), shares)
    if label:
        write_labels(graph, ensemble.network, mean, _classes(scope, ensemble), label[0].full_name)
    graph.rename(mean, values.full_name)


def _weighted(graph: Graph, p: str, ensemble: FrozenEnsemble, model: Any, weight: float) -> str:
    """Write a model's share of the mean; its probabilities are put into the columns of the ensemble's classes."""
    if not is_classifier(ensemble) or np.array_equal(model.classes_, ensemble.classes_):
        return graph("Mul", p, graph.array(weight))
    return graph("MatMul", p, graph.array(weight * np.equal.outer(model.classes_, ensemble.classes_)))


def _classes(scope: Any, ensemble: FrozenEnsemble) -> np.ndarray | None:
    """Return the labels of the graph; None for indices (option `nocl`)."""
    options = scope.get_options(ensemble, {"nocl": False})
    return None if options["nocl"] else onnx_classes(ensemble.classes_)


def _is_double(ensemble: FrozenEnsemble) -> bool:
    networks = [final_estimator(model) for model in ensemble.estimators]
    return any(is_double(network) or needs_double_values(network) for network in networks)


def _float_type(ensemble: FrozenEnsemble) -> Any:
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    return DoubleTensorType if _is_double(ensemble) else FloatTensorType

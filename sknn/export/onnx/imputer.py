"""SimpleImputer as an ONNX graph: skl2onnx's own knows single precision only, and no missing strings."""

from typing import Any

import numpy as np

from sknn.export.onnx.columns import kind_of
from sknn.export.onnx.graph import ML, Graph
from sknn.preprocessing.levels import is_missing


def convert_imputer(scope: Any, operator: Any, container: Any) -> None:
    """Fill what is missing: NaN, or '' among strings.  Another `missing_values` goes skl2onnx's way."""
    from skl2onnx.common._registration import get_converter

    imputer, kind = operator.raw_operator, kind_of(operator.inputs[0].type)
    if not is_missing(imputer.missing_values) or imputer.add_indicator:
        get_converter("SklearnSimpleImputer")(scope, operator, container)
        return
    graph = Graph(scope, container, np.float64)
    x = graph.concat([variable.full_name for variable in operator.inputs])
    kept = [j for j, value in enumerate(imputer.statistics_) if not is_missing(value)]
    if len(kept) < len(imputer.statistics_):  # columns without any value are left out
        x = graph("Gather", x, np.array(kept), axis=1)
    filled = _filled(graph, x, kind, imputer.statistics_[kept], operator.inputs[0].type)
    graph("Identity", filled, output=operator.outputs[0].full_name)


def _filled(graph: Graph, x: str, kind: str, values: np.ndarray, tensor_type: Any) -> str:
    if kind == "U":
        code = graph("LabelEncoder", x, keys_strings=[""], values_int64s=[1], default_int64=0, domain=ML)
        return graph("Where", graph.cast(code, np.bool_), values.astype(str), x)
    if kind != "f":
        return x
    dtype = np.float64 if type(tensor_type).__name__.startswith("Double") else np.float32
    return graph("Where", graph("IsNaN", x), values.astype(dtype), x)

"""A ColumnTransformer that lets strings through: what it makes stays side by side, as a tensor has one type only."""

import copy
from typing import Any

from sklearn.preprocessing import FunctionTransformer

from sknn.export.onnx.columns import kind_of


def parse_columns(scope: Any, model: Any, inputs: list, custom_parsers: Any = None) -> list:
    """skl2onnx's own way, unless strings pass through, which it would join to numbers."""
    from skl2onnx._parse import _parse_sklearn_column_transformer as join

    passed = [j for _, step, places in parts_of(model) if passes(step) for j in places]
    if len(inputs) < model.n_features_in_ or not any(kind_of(inputs[j].type) == "U" for j in passed):
        return join(scope, model, inputs, custom_parsers)
    outputs = []
    for part, step, places in parts_of(model):
        if passes(step):
            outputs += [inputs[j] for j in places]
        elif places and step != "drop":
            alone = copy.copy(model)
            alone.transformers_ = [part]
            outputs += join(scope, alone, inputs, custom_parsers)
    return outputs


def parts_of(model: Any) -> list[tuple[tuple, Any, list[int]]]:
    """Each fitted transformer with the places of its columns."""
    places = model._transformer_to_input_indices
    return [(part, part[1], list(places[part[0]])) for part in model.transformers_]


def passes(step: Any) -> bool:
    """Whether columns go through as they are; a fitted ColumnTransformer says so by an empty FunctionTransformer."""
    return step in (None, "passthrough") or (isinstance(step, FunctionTransformer) and step.func is None)

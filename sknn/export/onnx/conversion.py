"""A model to a graph that does the same: by skl2onnx, whose converters are not trusted but checked.

Some converters of other steps know one type of numbers only, lose digits, or fail on several inputs.  So a table of
numbers goes in as one of double, as it is, or as columns or a table of float, whichever is the first that works; the
inputs of the finished graph are the same all the same.
"""

from dataclasses import replace
from typing import Any

from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline

from sknn.estimators.base import BaseNeural
from sknn.export.check import LOW_PRECISION, TOLERANCE, differences, run
from sknn.export.onnx.imputer import convert_imputer
from sknn.export.onnx.inputs import Input, declare_inputs
from sknn.export.onnx.passthrough import parse_columns
from sknn.export.onnx.steps import final_of, steps_of

WAYS = ("double table", "own", "double", "float", "float table")  # in which numbers enter


def converted(model: Any, X: Any, inputs: list[Input], opset: int, options: dict[str, Any]) -> Any:
    """The graph, once it has done on X what the model does; ValueError, naming the step, if none does."""
    refuse_unknown_steps(model)
    if is_classifier(model) and "zipmap" in _options_of(final_of(model)):
        options = {"zipmap": False} | options
    if isinstance(model, BaseNeural):
        program = _convert(model, inputs, opset, options, "own")
        found = _difference(model, X, inputs, program, options)
        if found is not None:
            raise ValueError(f"The ONNX graph does not do what the {type(model).__name__} does: {found}")
        return program
    program, _ = _attempt(model, X, inputs, opset, options)
    if program is None:
        raise ValueError(_culprit(model, X, inputs, opset, options))
    return program


def _attempt(
    model: Any, X: Any, inputs: list[Input], opset: int, options: dict[str, Any]
) -> tuple[Any, Exception | str | None]:
    """A graph that agrees with the model, or the first thing that went wrong."""
    wrong: Exception | str | None = None
    are_numbers = len(inputs) > 1 and all(one.type != "string" for one in inputs)
    for way in WAYS if are_numbers else WAYS[1:-1]:
        try:
            program = _convert(model, inputs, opset, options, way)
            found: Exception | str | None = _difference(model, X, inputs, program, options)
        except Exception as error:  # whatever a converter or ONNX Runtime raises
            found = error
        if found is None:
            return program, None
        wrong = found if wrong is None or not isinstance(found, Exception) else wrong
    return None, wrong


def _convert(model: Any, inputs: list[Input], opset: int, options: dict[str, Any], way: str) -> Any:
    from skl2onnx import convert_sklearn

    kind, _, table = way.partition(" ")
    inside = inputs if way == "own" else [one if one.type == "string" else replace(one, type=kind) for one in inputs]
    if table:
        inside = [Input(table, kind, (len(inputs),))]
    program = convert_sklearn(
        model,
        name="sknn",
        initial_types=[(one.name, _tensor_type(one)) for one in inside],
        target_opset=opset,
        options=options or None,
        custom_conversion_functions={SimpleImputer: convert_imputer},
        custom_parsers={ColumnTransformer: parse_columns},
    )
    for entry in program.opset_import:
        entry.version = entry.version if entry.domain else opset  # it would be the oldest that has all operators
    declare_inputs(program.graph, inputs)
    return program


def refuse_unknown_steps(model: Any) -> None:
    """ValueError for a step that skl2onnx has no converter for."""
    from skl2onnx._supported_operators import sklearn_operator_name_map

    for name, step in steps_of(model):
        if type(step) not in sklearn_operator_name_map and not hasattr(step, "onnx_converter"):
            raise ValueError(
                f"Step {name!r} is a {type(step).__name__}, for which skl2onnx has no converter; replace the step, or "
                "register one with skl2onnx.update_registered_converter."
            )


def _options_of(final: Any) -> dict[str, Any]:
    """The options that skl2onnx knows for an estimator."""
    from skl2onnx._supported_operators import sklearn_operator_name_map
    from skl2onnx.common._registration import get_converter

    return get_converter(sklearn_operator_name_map[type(final)]).get_allowed_options() or {}


def _tensor_type(one: Input) -> Any:
    from skl2onnx.common import data_types

    kinds = {"float": "Float", "double": "Double", "int64": "Int64", "bool": "Boolean", "string": "String"}
    return getattr(data_types, f"{kinds[one.type]}TensorType")([None, *one.shape])


def _difference(model: Any, X: Any, inputs: list[Input], program: Any, options: dict[str, Any]) -> str | None:
    is_low = any(getattr(step, "precision", "") == "bfloat16" for _, step in steps_of(model))
    without_labels = any(name.endswith("nocl") and value for name, value in options.items())
    outputs = run(program, X, inputs)
    return differences(model, X, outputs, LOW_PRECISION if is_low else TOLERANCE, without_labels)


def _culprit(model: Any, X: Any, inputs: list[Input], opset: int, options: dict[str, Any]) -> str:
    """Say which step is the first that cannot be converted, or that differs."""
    steps = model.steps if isinstance(model, Pipeline) else [("", model)]
    parts: list[tuple[Any, dict]] = [(Pipeline(steps[:k]), {}) for k in range(1, len(steps))] + [(model, options)]
    tried = (_attempt(part, X, inputs, opset, its_options)[1] for part, its_options in parts)
    (name, step), wrong = next((step, wrong) for step, wrong in zip(steps, tried, strict=True) if wrong is not None)
    who = f"step {name!r} ({type(step).__name__})" if name else f"the {type(step).__name__}"
    if isinstance(wrong, Exception):
        message = str(wrong).partition("\n")[0]
        return f"skl2onnx or ONNX Runtime cannot do what {who} does, for these columns: {message}"
    return f"The ONNX graph does not do what the model does, from {who} on: {wrong}"

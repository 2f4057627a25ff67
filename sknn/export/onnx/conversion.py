"""Convert a model by skl2onnx, and check that the graph's outputs are those of the model.

Some converters of skl2onnx support only one type of numeric input, lose digits, or fail with several inputs. So several
forms of input are tried in turn: one double table, the columns with their types, double columns, float columns, and one
float table. The first graph that agrees with the model is taken. The returned graph has the same inputs, whichever form
was used.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline

from sknn.estimators.base import BaseNeural
from sknn.estimators.pipelines import final_estimator
from sknn.export.check import LOW_PRECISION, TOLERANCE, find_difference, run_graph
from sknn.export.onnx.inputs import InputSpec, replace_inputs
from sknn.export.onnx.skl2onnx_hooks import CUSTOM_FUNCTIONS, OPTIONS
from sknn.export.onnx.steps import leaf_steps
from sknn.export.weights import differing_weights

# The type of all numeric inputs (None: unchanged), and whether they are one table.
INPUT_FORMS = (("double", True), (None, False), ("double", False), ("float", False), ("float", True))


def convert_model(
    model: Any, X: Any, inputs: list[InputSpec], opset: int, options: dict[str, Any], members: bool = False
) -> Any:
    """Return a graph that agrees with the model on X. Raise ValueError, naming the step, if there is none."""
    check_steps(model)
    if is_classifier(model) and "zipmap" in _known_options(final_estimator(model)):
        options = {"zipmap": False} | options
    if members:
        options = _options_of_final({"members": True} | options, model)
    if isinstance(model, BaseNeural):
        program = _convert(model, inputs, opset, options)
        difference = _find_difference(model, X, inputs, program, options)
        if difference is not None:
            raise ValueError(f"The ONNX graph does not do what the {type(model).__name__} does: {difference}")
        return program
    program, _ = _try_input_forms(model, X, inputs, opset, options)
    if program is None:
        raise ValueError(_explain_failure(model, X, inputs, opset, options))
    return program


def _try_input_forms(
    model: Any, X: Any, inputs: list[InputSpec], opset: int, options: dict[str, Any]
) -> tuple[Any, Exception | str | None]:
    """Return a graph that agrees with the model, or what failed: the last difference, else the first error."""
    failure: Exception | str | None = None
    can_be_table = len(inputs) > 1 and all(spec.type != "string" for spec in inputs)
    for numeric_type, as_table in INPUT_FORMS:
        if as_table and not can_be_table:
            continue
        try:
            program = _convert(model, inputs, opset, options, numeric_type, as_table)
            found: Exception | str | None = _find_difference(model, X, inputs, program, options)
        except Exception as error:  # converters and ONNX Runtime raise many types
            found = error
        if found is None:
            return program, None
        failure = found if failure is None or not isinstance(found, Exception) else failure
    return None, failure


def _convert(
    model: Any,
    inputs: list[InputSpec],
    opset: int,
    options: dict[str, Any],
    numeric_type: str | None = None,
    as_table: bool = False,
) -> Any:
    from skl2onnx import convert_sklearn

    specs = [spec if spec.type == "string" else replace(spec, type=numeric_type or spec.type) for spec in inputs]
    if as_table:
        specs = [InputSpec("table", specs[0].type, (len(inputs),))]
    program = convert_sklearn(
        model,
        name="sknn",
        initial_types=[(spec.name, _tensor_type(spec)) for spec in specs],
        target_opset=opset,
        options=options or None,
        **CUSTOM_FUNCTIONS,
    )
    for entry in program.opset_import:
        entry.version = entry.version if entry.domain else opset  # skl2onnx sets the oldest that has all operators
    replace_inputs(program.graph, inputs)
    return program


def check_steps(model: Any) -> None:
    """Raise ValueError for a step that skl2onnx cannot convert."""
    from skl2onnx._supported_operators import sklearn_operator_name_map

    for name, step in leaf_steps(model):
        if type(step) not in sklearn_operator_name_map and not hasattr(step, "onnx_converter"):
            raise ValueError(
                f"Step {name!r} is a {type(step).__name__}, for which skl2onnx has no converter; replace the step, or "
                "register one with skl2onnx.update_registered_converter."
            )


def _known_options(est: Any) -> dict[str, Any]:
    """Return the options of an estimator's converter."""
    from skl2onnx._supported_operators import sklearn_operator_name_map
    from skl2onnx.common._registration import get_converter

    return get_converter(sklearn_operator_name_map[type(est)]).get_allowed_options() or {}


def _options_of_final(options: dict[str, Any], model: Any) -> dict[str, Any]:
    """Return options by the name of a step: skl2onnx gives a pipeline's last step only some of the pipeline's."""
    steps = []
    while isinstance(model, Pipeline):
        name, model = model.steps[-1]
        steps.append(name)
    return {"__".join([*steps, name]) if name in OPTIONS else name: value for name, value in options.items()}


def _tensor_type(spec: InputSpec) -> Any:
    from skl2onnx.common import data_types

    names = {"float": "Float", "double": "Double", "int64": "Int64", "bool": "Boolean", "string": "String"}
    return getattr(data_types, f"{names[spec.type]}TensorType")([None, *spec.shape])


def _find_difference(model: Any, X: Any, inputs: list[InputSpec], program: Any, options: dict[str, Any]) -> str | None:
    has_indices = any(name.endswith("nocl") and value for name, value in options.items())
    has_members = any(name.endswith("members") and value for name, value in options.items())
    outputs = run_graph(program, X, inputs)
    members = outputs.pop() if has_members else None
    found = find_difference(model, X, outputs, tolerance(model), has_indices)
    if found is not None or members is None:
        return found
    mean = np.average(members, axis=1, weights=differing_weights(final_estimator(model)))
    means = [*outputs[:1], mean] if is_classifier(model) else [mean]
    found = find_difference(model, X, means, tolerance(model), has_indices)
    return found and f"the weighted mean of the members differs: {found}"


def tolerance(model: Any) -> float:
    """Return the tolerance of a comparison with a model."""
    uses_bfloat16 = any(getattr(step, "precision", "") == "bfloat16" for _, step in leaf_steps(model))
    return LOW_PRECISION if uses_bfloat16 else TOLERANCE


def _explain_failure(model: Any, X: Any, inputs: list[InputSpec], opset: int, options: dict[str, Any]) -> str:
    """Name the first step that cannot be converted, or whose outputs differ."""
    steps = model.steps if isinstance(model, Pipeline) else [("", model)]
    parts: list[tuple[Any, dict]] = [(Pipeline(steps[:k]), {}) for k in range(1, len(steps))] + [(model, options)]
    failures = (_try_input_forms(part, X, inputs, opset, part_options)[1] for part, part_options in parts)
    (name, step), failure = next((step, f) for step, f in zip(steps, failures, strict=True) if f is not None)
    culprit = f"step {name!r} ({type(step).__name__})" if name else f"the {type(step).__name__}"
    if isinstance(failure, Exception):
        message = str(failure).partition("\n")[0]
        return f"skl2onnx or ONNX Runtime cannot do what {culprit} does, for these columns: {message}"
    return f"The ONNX graph does not do what the model does, from {culprit} on: {failure}"

"""`sknn info`: say what a saved model is."""

import argparse
import inspect
from pathlib import Path
from typing import Any

from sknn.cli.arguments import MODEL_HELP, add_command
from sknn.cli.models import SavedModel, load_model
from sknn.cli.report import (
    MAX_CLASSES,
    column_lines,
    describe_levels,
    describe_range,
    format_size,
    indent,
    kinds_of_members,
    shorten,
    show,
)
from sknn.utils.text import align

DETAILS = "Its task, classes, columns, changed parameters, versions and size."
EXAMPLES = """\
  sknn info churn.sknn
  sknn info churn.onnx
"""


def add_parser(commands: Any) -> None:
    parser = add_command(commands, "info", run, "say what a saved model is", DETAILS, EXAMPLES)
    parser.add_argument("model", type=Path, help=MODEL_HELP)


def run(options: argparse.Namespace) -> None:
    model = load_model(options.model)
    facts, columns = (_describe_onnx if options.model.suffix == ".onnx" else _describe_estimator)(options.model, model)
    known = {name: text for name, text in facts.items() if text} | {"size": format_size(options.model.stat().st_size)}
    show(str(options.model), *indent(align([[*fact] for fact in known.items()], 2)))
    if columns:
        show("", f"columns ({len(columns)})", *indent(column_lines(columns)))


def _describe_estimator(path: Path, model: SavedModel) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """Return facts about a model that `sknn.save` has written, and what its columns hold."""
    estimator = model.predictor
    kinds = model.kinds or dict.fromkeys(model.columns or [], "")
    details = _levels_of_encoder(estimator) if model.kinds else {}
    steps = [f"{name}: {type(step).__name__}" for name, step in getattr(estimator, "steps", [])]
    facts = {
        **_describe_network(estimator),
        "steps": ", ".join(steps),
        "task": _task(model.target, model.classes),
        "parameters": ", ".join(_changed_parameters(estimator)),
        "written by": ", ".join(f"{name} {version}" for name, version in _versions(path).items()),
    }
    return facts, {name: (kind, details.get(name, "")) for name, kind in kinds.items()}


def _describe_network(estimator: Any) -> dict[str, str]:
    """Return the class, members and parameters of the network, or the class of a model without one at its end."""
    from sknn.inspection import summary
    from sknn.inspection.fitted_estimator import find_fitted_estimator

    try:
        fitted = find_fitted_estimator(estimator)
    except TypeError:
        return {"model": type(estimator).__name__}
    return {"model": summary(fitted).title, "members": "; ".join(kinds_of_members(fitted))}


def _levels_of_encoder(estimator: Any) -> dict[str, str]:
    encoder, names = estimator._features, estimator.feature_names_in_
    missing = {names[encoder.numeric_[k]]: "some are missing" for k in encoder.missing_}
    levels = zip(encoder.categorical_, encoder.levels_, strict=True)
    return missing | {names[j]: describe_levels(levels_of_column) for j, levels_of_column in levels}


def _changed_parameters(estimator: Any) -> list[str]:
    """Return the parameters of a single estimator that differ from the defaults."""
    if hasattr(estimator, "steps"):
        return []
    defaults = {name: parameter.default for name, parameter in inspect.signature(type(estimator)).parameters.items()}
    values = estimator.get_params(deep=False)
    return [f"{name}={value!r}" for name, value in values.items() if repr(value) != repr(defaults.get(name))]


def _versions(path: Path) -> dict[str, str]:
    from sknn.persistence.container import parse_json, unpack

    return parse_json(unpack(path.read_bytes())[0])["written_by"]


def _describe_onnx(path: Path, model: SavedModel) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """Return facts about an exported model, and what its columns hold."""
    metadata = model.predictor.metadata
    data = metadata.get("data") or {"columns": []}
    details = {column["name"]: _details_of_column(column) for column in data["columns"]}
    rows = data.get("n_rows")
    facts = {
        "model": metadata.get("estimator", "without sknn's description"),
        "task": _task(model.target, model.classes) if metadata else "",
        "sample": f"{rows:,} rows" if rows else "",
        "written by": f"sknn {metadata['sknn_version']}" if metadata else "",
    }
    kinds = model.kinds or dict.fromkeys(model.columns or [], "")
    return facts, {name: (kind, details.get(name, "")) for name, kind in kinds.items()}


def _details_of_column(column: dict[str, Any]) -> str:
    if column["kind"] == "category":
        return describe_levels(sorted(column["levels"]), column["n_levels"])
    return describe_range(column["deciles"][0], column["deciles"][-1]) if column["deciles"] else ""


def _task(target: str | None, classes: list[Any] | None) -> str:
    task = "regression" if classes is None else "classification"
    of_target = f" of {target}" if target else ""
    if classes is None:
        return task + of_target
    shown = [shorten(label) for label in classes[:MAX_CLASSES]] + ["..."] * (len(classes) > MAX_CLASSES)
    return f"{task}{of_target}: {', '.join(shown)} ({len(classes)} classes)"

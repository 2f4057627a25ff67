"""The fields of a request: the model's columns, with what their values were in the training data."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sknn.onnx_predictor import ModelInput, OnnxPredictor

NUMBER, INTEGER, BOOLEAN, CATEGORY = "number", "integer", "boolean", "category"
KINDS = {"f": NUMBER, "i": INTEGER, "b": BOOLEAN, "O": CATEGORY}  # by numpy's kinds of the graph's inputs


@dataclass(frozen=True)
class Field:
    """A column of the model.

    Attributes
    ----------
    name : str
    kind : {'number', 'integer', 'boolean', 'category'}
        Numbers and categories may be missing; the graph has no missing integers and booleans.
    low, middle, high : float or None
        The range and the median of the training data; None if they are not known.
    levels : list of str
        The categories of the training data, the most frequent first; at most 100.
    n_levels : int
        How many categories there were.
    """

    name: str
    kind: str
    low: float | None = None
    middle: float | None = None
    high: float | None = None
    levels: tuple[str, ...] = ()
    n_levels: int = 0

    @property
    def may_be_missing(self) -> bool:
        """Return whether the graph takes missing values here."""
        return self.kind in (NUMBER, CATEGORY)


def describe_fields(predictor: OnnxPredictor) -> list[Field]:
    """Return the columns of a model, in the order of its inputs.

    Raises
    ------
    ValueError
        If the model does not take rows of a table.
    """
    inputs = predictor.inputs
    if any(len(target.shape) != 1 or target.width is None for target in inputs):
        shapes = ", ".join(f"{target.name!r}: {[None, *target.shape]}" for target in inputs)
        raise ValueError(
            f"A service needs a model of tables, and this model's inputs are {shapes}; export another model"
        )
    columns = [(target, j) for target in inputs for j in range(target.width or 0)]
    features = predictor.metadata.get("features") or []
    names = [feature["name"] for feature in features] or [_input_name(target, j) for target, j in columns]
    statistics = {column["name"]: column for column in (predictor.metadata.get("data") or {}).get("columns", [])}
    return [
        _describe_field(name, KINDS[np.dtype(target.dtype).kind], statistics.get(name, {}))
        for name, (target, _) in zip(names, columns, strict=True)
    ]


def _input_name(target: ModelInput, j: int) -> str:
    """Return the name of a column in a graph without metadata."""
    return target.name if target.width == 1 else f"{target.name}_{j}"


def _describe_field(name: str, kind: str, statistics: dict[str, Any]) -> Field:
    if kind == CATEGORY:
        levels = tuple(statistics.get("levels") or ())
        return Field(name, kind, levels=levels, n_levels=statistics.get("n_levels", len(levels)))
    deciles = statistics.get("deciles")
    return Field(name, kind) if deciles is None else Field(name, kind, deciles[0], deciles[5], deciles[-1])

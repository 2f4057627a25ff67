"""A model as the service holds it: it reads rows, predicts them, and describes itself. It never changes."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sknn.monitoring import member_spread
from sknn.onnx_predictor import OnnxPredictor
from sknn.serving.errors import RequestError
from sknn.serving.fields import BOOLEAN, CATEGORY, INTEGER, NUMBER, Field, describe_fields
from sknn.serving.options import ServingOptions
from sknn.serving.records import Columns, RecordSchema
from sknn.serving.sources import ModelFile, read_model

BLANKS = {NUMBER: 0.0, INTEGER: 0, BOOLEAN: False, CATEGORY: ""}
MEMBER_OUTPUTS = ("member_probabilities", "member_values")


@dataclass(frozen=True)
class Predictions:
    """What a model says about rows.

    Attributes
    ----------
    values : ndarray of shape (n,) or (n, n_outputs)
        Labels, or values of a regressor.
    probabilities : ndarray of shape (n, n_classes) or None
        None for a regressor.
    members : ndarray of shape (n, n_members, n_classes or n_outputs) or None
        The same by each member of the ensemble; None if the graph does not have them.
    spread : ndarray of shape (n,) or None
        How far the members disagree about each row.
    raw : dict of str to ndarray
        The outputs of the graph by name.
    """

    values: np.ndarray
    probabilities: np.ndarray | None
    members: np.ndarray | None
    spread: np.ndarray | None
    raw: dict[str, np.ndarray]

    def rows(self, start: int, stop: int) -> "Predictions":
        """Return the predictions of some rows, without the raw outputs."""
        rows = slice(start, stop)
        p, members, spread = (None if x is None else x[rows] for x in (self.probabilities, self.members, self.spread))
        return Predictions(self.values[rows], p, members, spread, raw={})


class ServedModel:
    """A model that predicts requests.

    Parameters
    ----------
    file : ModelFile
    n_threads : int
        Threads of one prediction.
    max_rows : int
        The most rows of a request.

    Attributes
    ----------
    predictor : OnnxPredictor
    name, version, digest : str
    fields : list of Field
    classes : list of str or None
        The names of the classes, in the order of the probabilities; None for a regressor.
    schema : RecordSchema
    example : dict
        A typical record.

    Raises
    ------
    ValueError
        If ONNX Runtime can't run the graph, if its self-check fails, or if it does not take rows of a table.
    """

    def __init__(self, file: ModelFile, n_threads: int, max_rows: int) -> None:
        self.name, self.version, self.digest = file.name, file.version, file.digest
        self.predictor = OnnxPredictor(file.graph, n_threads)
        self.predictor.self_check()
        self.fields = describe_fields(self.predictor)
        classes = getattr(self.predictor, "classes_", None)
        self.classes = None if classes is None else [str(label) for label in classes.tolist()]
        self.example = {field.name: _typical_value(field) for field in self.fields} | self._stored_example()
        self.schema = RecordSchema(self.fields, self.example, max_rows)

    @property
    def task(self) -> str | None:
        """Return what the model does, such as "binary"; None if its exporter has not written it."""
        return self.predictor.metadata.get("task")

    @property
    def has_members(self) -> bool:
        """Return whether the graph has what each member of the ensemble says."""
        return any(output.name in MEMBER_OUTPUTS for output in self.predictor.outputs)

    @property
    def member_weights(self) -> list[float] | None:
        """Return the share of each member in the predictions; None if all members count equally."""
        weights = self.predictor.member_weights_
        return None if weights is None else weights.tolist()

    @property
    def card(self) -> dict[str, str]:
        """Return what the model was trained on and how, in words; little if its exporter has not written it."""
        card = self.predictor.metadata.get("card") or {"Task": self.task or "unknown"}
        return {title: _in_words(value) for title, value in card.items()}

    def predict(self, columns: Columns) -> Predictions:
        """Return the predictions for rows.

        Raises
        ------
        RequestError
            422 if the model does not take the rows.
        """
        try:
            values, probabilities, members, raw = self.predictor.run(self._as_table(columns))
        except ValueError as error:
            raise self._explain(error, columns) from None
        spread = None if members is None else member_spread(members, self.predictor.member_weights_)
        return Predictions(values, probabilities, members, spread, raw)

    def columns(self, tensors: dict[str, np.ndarray]) -> Columns:
        """Return the columns of tensors, each of which has one or more."""
        arrays = [tensors[target.name] for target in self.predictor.inputs]
        columns = [array[:, j] for array in arrays for j in range(array.shape[1])]
        return dict(zip((field.name for field in self.fields), columns, strict=True))

    def _as_table(self, columns: Columns) -> Any:
        """Return rows as the predictor takes them: an array if the model was fitted without names."""
        if hasattr(self.predictor, "feature_names_in_"):
            return columns
        return np.column_stack([columns[field.name] for field in self.fields])

    def _explain(self, error: ValueError, columns: Columns) -> RequestError:
        """Return the first infinity with its row, or else the error as it is."""
        types = [target.dtype for target in self.predictor.inputs for _ in range(target.width or 0)]
        for (name, values), dtype in zip(columns.items(), types, strict=True):
            with np.errstate(over="ignore"):  # a number may be too large for the graph's type
                rows = np.flatnonzero(np.isinf(values.astype(dtype)) if values.dtype.kind == "f" else False)
            if len(rows):
                message = f"Field {name!r} of row {rows[0]}: expected a finite number; got {values[rows[0]]}"
                return RequestError(422, message, name, int(rows[0]))
        return RequestError(422, str(error))

    def _stored_example(self) -> dict[str, Any]:
        return dict(self.predictor.metadata.get("example") or {})


def load_served_model(options: ServingOptions) -> ServedModel:
    """Return the model of a file or a registry; see `read_model` and `ServedModel` for the errors."""
    return ServedModel(read_model(options.source), options.n_threads, options.max_rows)


def _in_words(value: Any) -> str:
    """Return an entry of the card as text."""
    if isinstance(value, dict):
        return ", ".join(f"{name}={item}" for name, item in value.items())
    if isinstance(value, list):
        items = [str(item) for item in value]
        return ("; " if any(", " in item for item in items) else ", ").join(items)
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    return str(value)


def _typical_value(field: Field) -> Any:
    if field.levels:
        return field.levels[0]
    if field.middle is None:
        return BLANKS[field.kind]
    return round(field.middle) if field.kind == INTEGER else field.middle

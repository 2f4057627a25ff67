"""Rows as JSON: a list of records or an object of columns, checked by a pydantic type made from the model's fields."""

import json
import math
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, ConfigDict, FailFast, TypeAdapter, ValidationError
from pydantic import Field as Described
from pydantic.json_schema import SkipJsonSchema
from typing_extensions import TypedDict

from sknn.serving.errors import RequestError
from sknn.serving.fields import BOOLEAN, CATEGORY, INTEGER, NUMBER, Field

EXPECTED = {
    NUMBER: 'a number, or null or "" if it is missing',
    INTEGER: "a whole number",
    BOOLEAN: "true or false",
    CATEGORY: 'a string, or null or "" if it is missing',
}
BODY_FORMS = (
    'Expected a list of records, [{"column": value, ...}, ...], or an object of columns, {"column": [value, ...], ...}'
)
COLUMNS = "Columns"  # the name of the second form in the OpenAPI document
Columns = dict[str, np.ndarray]


def _require_nan(value: float) -> float:
    if not math.isnan(value):
        raise ValueError("only NaN is a missing category")
    return value


MissingNumber = Annotated[float, AfterValidator(_require_nan)]  # pandas writes a missing category as NaN


class RecordSchema:
    """Reads and describes the rows of one model.

    Parameters
    ----------
    fields : list of Field
        The model's columns.
    example : dict
        A record for the documentation.
    max_rows : int
        The most rows of a body.
    """

    def __init__(self, fields: list[Field], example: dict[str, Any], max_rows: int) -> None:
        self.max_rows = max_rows
        self.fields = {field.name: field for field in fields}
        cells = {field.name: Annotated[_cell_type(field), _describe(field)] for field in fields}
        record = _typed_dict("Record", cells, example)
        # The first mistake is enough. pydantic would keep all of them, which takes gigabytes for a body of 2 MB.
        limits = FailFast(), Described(max_length=max_rows)
        columns: Any = {name: Annotated[list[cell], *limits] for name, cell in cells.items()}  # type: ignore[valid-type]
        records: Any = Annotated[list[record], *limits]  # type: ignore[valid-type]
        self._records = TypeAdapter(records)
        self._columns = TypeAdapter(_typed_dict(COLUMNS, columns, {name: [value] for name, value in example.items()}))

    def read(self, body: bytes) -> Columns:
        """Return the columns of a JSON body.

        Raises
        ------
        RequestError
            400 if the body is not JSON; 413 if it has too many rows; 422 if a field is unknown, missing or of another
            type, or if there is no row.
        """
        start = body.lstrip(b" \t\r\n")[:1]
        if start == b"[":
            records = self._validate(self._records, body)
            check_n_rows(len(records), self.max_rows)
            for row, record in enumerate(records):
                self._check_names(record, row)
            return {name: _as_array([record[name] for record in records], self.fields[name]) for name in self.fields}
        lists = self._validate(self._columns, body)
        self._check_names(lists)
        lengths = {len(values) for values in lists.values()}
        if len(lengths) > 1:
            raise RequestError(422, f"The columns have different lengths: {sorted(lengths)}")
        check_n_rows(lengths.pop(), self.max_rows)
        return {name: _as_array(lists[name], field) for name, field in self.fields.items()}

    def json_schema(self, ref_template: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the JSON schema of a body, and the definitions that it refers to."""
        options: Any = {"mode": "validation", "ref_template": ref_template}
        records, columns = (adapter.json_schema(**options) for adapter in (self._records, self._columns))
        definitions = records.pop("$defs", {}) | {COLUMNS: columns}
        return {"oneOf": [records | {"minItems": 1}, {"$ref": ref_template.format(model=COLUMNS)}]}, definitions

    def _check_names(self, record: dict[str, Any], row: int | None = None) -> None:
        if record.keys() == self.fields.keys():
            return
        name = next((name for name in record if name not in self.fields), None)
        if name is not None:
            problem = f"is unknown; the model's fields are {', '.join(map(repr, self.fields))}"
        else:
            name = next(name for name in self.fields if name not in record)
            advice = "; send null if its value is missing" if self.fields[name].may_be_missing else ""
            problem = f"is absent{advice}"
        raise RequestError(422, f"{_place(name, row)} {problem}", name, row)

    def _validate(self, adapter: TypeAdapter, body: bytes) -> Any:
        try:
            return adapter.validate_json(body)
        except ValidationError as error:
            raise self._explain(error) from None

    def _explain(self, error: ValidationError) -> RequestError:
        """Return the first mistake in words, with its row and field."""
        mistake = error.errors(include_url=False, include_context=False)[0]
        kind, place, value = mistake["type"], mistake["loc"], mistake["input"]
        if kind == "json_invalid":
            return RequestError(400, f"The body is not valid JSON: {mistake['msg'].removeprefix('Invalid JSON: ')}")
        if kind == "too_long":
            return RequestError(413, f"There are too many rows for one request; send at most {self.max_rows:,} at once")
        row = next((part for part in place[:2] if isinstance(part, int)), None)
        name = next((part for part in place[:2] if isinstance(part, str)), None)
        if name is None:
            return RequestError(422, f"{BODY_FORMS}; got {_shorten(value)}", row=row)
        where = _place(name, row)
        if kind == "list_type":
            message = f"{where}: expected a list of values; for a single record send [{{...}}]; got {_shorten(value)}"
        else:
            message = f"{where}: expected {EXPECTED[self.fields[name].kind]}; got {_shorten(value)}"
        return RequestError(422, message, name, row)


def check_n_rows(n_rows: int, max_rows: int) -> None:
    """Raise an error if there are no rows, or too many."""
    if not n_rows:
        raise RequestError(422, "There are no rows; send at least one")
    if n_rows > max_rows:
        raise RequestError(413, f"{n_rows:,} rows are too many for one request; send at most {max_rows:,} at once")


def as_numbers(values: list[float | str | None]) -> np.ndarray:
    """Return numbers as float64. None, NaN and "" are missing, and become NaN."""
    try:
        return np.array(values, dtype=np.float64)  # None becomes NaN
    except ValueError:
        return np.array([None if value == "" else value for value in values], dtype=np.float64)


def _typed_dict(name: str, cells: dict[str, Any], example: dict[str, Any]) -> Any:
    """Return a type of dicts with these items.

    `RecordSchema` checks that none is absent and that there are no others. pydantic would keep a copy of the record
    with each such mistake, which takes gigabytes for a body of 2 MB.
    """
    record = TypedDict(name, cells, total=False)  # type: ignore[misc]
    described: Any = {"example": example, "required": list(cells), "additionalProperties": False}
    settings = ConfigDict(extra="allow", strict=True, json_schema_extra=described)
    record.__pydantic_config__ = settings  # type: ignore[attr-defined]
    return record


def _place(name: str, row: int | None) -> str:
    return f"Field {name!r}" + ("" if row is None else f" of row {row}")


def _cell_type(field: Field) -> Any:
    if field.kind == NUMBER:
        return float | Literal[""] | None
    if field.kind == CATEGORY:
        return _level_type(field.levels) | SkipJsonSchema[MissingNumber] | None
    return bool if field.kind == BOOLEAN else Annotated[int, Described(ge=-(2**63), lt=2**63)]


def _level_type(levels: tuple[str, ...]) -> Any:
    """Return the type of a category: also numbers or booleans if the training data had such categories."""
    if levels and all(level in ("True", "False") for level in levels):
        return str | bool
    if levels and all(_is_number(level) for level in levels):
        return str | int | float
    return str


def _is_number(level: str) -> bool:
    try:
        return math.isfinite(float(level))
    except ValueError:
        return False


def _describe(field: Field) -> Any:
    """Return what the OpenAPI document says about a field."""
    if field.kind == CATEGORY:
        if not field.levels:
            return Described(title=field.name, description="A category.")
        shown = (
            f"; the {len(field.levels)} most frequent are the examples" if field.n_levels > len(field.levels) else ""
        )
        text = f"A category: one of {field.n_levels} in the training data{shown}. Another one counts as unseen."
        return Described(title=field.name, description=text, examples=list(field.levels))
    if field.low is None:
        return Described(title=field.name, description=f"{EXPECTED[field.kind].partition(',')[0].capitalize()}.")
    text = f"From {field.low:g} to {field.high:g} in the training data, with median {field.middle:g}."
    return Described(title=field.name, description=text, examples=[field.middle])


def _as_array(values: list[Any], field: Field) -> np.ndarray:
    if field.kind == NUMBER:
        return as_numbers(values)
    return np.array(values, dtype=object if field.kind == CATEGORY else None)


def _shorten(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 80 else f"{text[:76]} ..."

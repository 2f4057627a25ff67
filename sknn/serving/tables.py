"""Rows as a CSV or Parquet file, read and written by pyarrow."""

import csv
import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from sknn.serving.errors import RequestError
from sknn.serving.fields import BOOLEAN, CATEGORY, INTEGER, NUMBER, Field
from sknn.serving.records import EXPECTED, Columns, check_n_rows

CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"
CSV_CELL = re.compile(r"In CSV column #(?P<column>\d+): .* invalid value (?P<value>'.*')", re.DOTALL)
MAX_UNPACKED_BYTES = 2**30
INSTALL = "tables need pyarrow, which this service lacks; install it with: pip install 'sknn[serve]'"


def read_file(body: bytes, media_type: str, fields: list[Field], max_rows: int) -> Columns:
    """Return the model's columns of a file. Further columns are ignored, as they are in a table of `OnnxPredictor`.

    Raises
    ------
    RequestError
        400 if the file can't be read; 413 if it has too many rows; 415 if pyarrow is not installed; 422 if it lacks a
        column, or if a value is of another type.
    """
    try:
        import pyarrow
    except ImportError:
        raise RequestError(415, INSTALL) from None
    try:
        table = READERS[media_type](body, fields, max_rows)
    except (pyarrow.ArrowException, csv.Error, UnicodeDecodeError, OSError) as error:
        what = "CSV" if media_type == CSV else "Parquet"
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise RequestError(400, f"The body is not a readable {what} file: {reason}") from None
    check_n_rows(table.num_rows, max_rows)
    return {field.name: _as_array(table.column(field.name), field) for field in fields}


def write_file(columns: dict[str, np.ndarray], media_type: str) -> bytes:
    """Return a table as the content of a file."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    buffer = io.BytesIO()
    table = pa.table(columns)
    if media_type == CSV:
        arrow_csv.write_csv(table, buffer)
    else:
        parquet.write_table(table, buffer)
    return buffer.getvalue()


def _read_csv(body: bytes, fields: list[Field], max_rows: int) -> Any:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    header = next(csv.reader(io.TextIOWrapper(io.BytesIO(body), "utf-8-sig", newline="")), [])
    _check_names(header, fields)
    types = {NUMBER: pa.float64(), INTEGER: pa.int64(), BOOLEAN: pa.bool_(), CATEGORY: pa.string()}
    options = arrow_csv.ConvertOptions(
        column_types={field.name: types[field.kind] for field in fields},
        include_columns=[field.name for field in fields],
        null_values=[""],  # only an empty cell is missing, because "NA" may be a category
        strings_can_be_null=True,
    )
    try:
        return arrow_csv.read_csv(pa.BufferReader(body), convert_options=options)
    except pa.ArrowInvalid as error:
        wrong = CSV_CELL.match(str(error))
        if wrong is None:
            raise
        name = header[int(wrong["column"])]
        kind = next(field.kind for field in fields if field.name == name)
        raise RequestError(422, f"Field {name!r}: expected {EXPECTED[kind]}; got {wrong['value']:.80}", name) from None


def _read_parquet(body: bytes, fields: list[Field], max_rows: int) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    schema = parquet.read_schema(pa.BufferReader(body))
    _check_names(schema.names, fields)
    for field in fields:
        _check_type(schema.field(field.name).type, field)
    # Strings stay in a dictionary, so that one long string in each of many rows takes the memory of one.
    strings = [field.name for field in fields if field.kind == CATEGORY]
    file = parquet.ParquetFile(pa.BufferReader(body), read_dictionary=strings)
    check_n_rows(file.metadata.num_rows, max_rows)
    n_bytes = sum(file.metadata.row_group(j).total_byte_size for j in range(file.metadata.num_row_groups))
    if n_bytes > MAX_UNPACKED_BYTES:
        raise RequestError(413, f"The file's {n_bytes:,} bytes are too many; send at most {MAX_UNPACKED_BYTES:,}")
    return file.read(columns=[field.name for field in fields])


READERS: dict[str, Callable[[bytes, list[Field], int], Any]] = {CSV: _read_csv, PARQUET: _read_parquet}


def _check_names(names: list[str], fields: list[Field]) -> None:
    for field in fields:
        if names.count(field.name) != 1:
            problem = "lacks the column" if field.name not in names else "has several columns called"
            raise RequestError(422, f"The file {problem} {field.name!r}; it has {names}", field.name)


def _check_type(kind: Any, field: Field) -> None:
    """Raise an error if a column of Parquet has not the type of a field. A category may be a number or a boolean."""
    from pyarrow import types

    value = kind.value_type if types.is_dictionary(kind) else kind
    is_text = types.is_string(value) or types.is_large_string(value) or types.is_string_view(value)
    is_number = types.is_integer(value) or types.is_floating(value) or types.is_decimal(value)
    fits = {CATEGORY: is_text or is_number or types.is_boolean(value), BOOLEAN: types.is_boolean(value)}
    if not (fits.get(field.kind, is_number) or types.is_null(value)):
        raise RequestError(
            422, f"Field {field.name!r}: expected {EXPECTED[field.kind]}; got the type {kind}", field.name
        )


def _as_array(column: Any, field: Field) -> np.ndarray:
    """Return a column as an array of numbers, or of Python strings with None for missing."""
    import pyarrow as pa
    from pyarrow import types

    if column.null_count and not field.may_be_missing:
        raise RequestError(
            422, f"Field {field.name!r}: expected {EXPECTED[field.kind]}; got missing values", field.name
        )
    if field.kind == NUMBER:
        return column.cast(pa.float64(), safe=False).to_numpy()  # integers above 2^53 are rounded, as in JSON
    if not types.is_dictionary(column.type):
        return np.array(column.to_pylist(), dtype=object) if field.kind == CATEGORY else column.to_numpy()
    column = column.unify_dictionaries().combine_chunks()
    levels = np.array([*column.dictionary.to_pylist(), None], dtype=object)
    return levels[column.indices.fill_null(len(levels) - 1).to_numpy(zero_copy_only=False)]

"""Rows as JSON: what is accepted, what is missing, and what is refused in which words."""

import json
import tracemalloc

import numpy as np
import pytest

from sknn.preprocessing.levels import is_missing
from sknn.serving.errors import RequestError
from sknn.serving.fields import Field
from sknn.serving.records import RecordSchema

FIELDS = [
    Field("age", "number", 18.0, 40.0, 90.0),
    Field("city", "category", levels=("Oslo", "Rome"), n_levels=2),
    Field("floor", "category", levels=("1", "2.5"), n_levels=2),
    Field("smokes", "category", levels=("True", "False"), n_levels=2),
    Field("children", "integer"),
    Field("owns", "boolean"),
]
RECORD = {"age": 3, "city": "Bern", "floor": "2", "smokes": "True", "children": 1, "owns": True}
SCHEMA = RecordSchema(FIELDS, RECORD, max_rows=3)


def read(body):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return SCHEMA.read(body)


def refusal(body):
    with pytest.raises(RequestError) as caught:
        read(body)
    return caught.value


def as_columns(record):
    return {name: [value] for name, value in record.items()}


def test_records_and_columns_are_the_same():
    records, columns = read([RECORD]), read(as_columns(RECORD))
    assert list(records) == list(columns) == [field.name for field in FIELDS]
    for name in records:
        np.testing.assert_array_equal(records[name], columns[name])
        assert records[name].dtype == columns[name].dtype


@pytest.mark.parametrize("form", [lambda record: [record], as_columns])
@pytest.mark.parametrize("missing", [None, "", float("nan")])
def test_null_nan_and_the_empty_string_are_missing_numbers(form, missing):
    assert np.isnan(read(form(RECORD | {"age": missing}))["age"]).tolist() == [True]


@pytest.mark.parametrize("missing", [None, "", float("nan")])
def test_null_nan_and_the_empty_string_are_missing_categories(missing):
    (value,) = read([RECORD | {"city": missing}])["city"]
    assert is_missing(value) or value == ""


def test_a_missing_value_beside_others_keeps_them():
    values = [3, None, ""]
    records = [RECORD | {"age": value} for value in values]
    np.testing.assert_array_equal(read(records)["age"], [3, np.nan, np.nan])


@pytest.mark.parametrize(("name", "value"), [("floor", 2), ("floor", 2.5), ("smokes", True)])
def test_numbers_and_booleans_are_categories_where_the_training_data_had_such(name, value):
    assert read([RECORD | {name: value}])[name].tolist() == [value]


@pytest.mark.parametrize(
    "body",
    [
        b"[%b{}]" % (b"{}," * 100_000),
        b"[%b1]" % (b"1," * 100_000),
        b'{"age": [%b1]}' % (b"{}," * 100_000),
        b"{%b}" % b",".join(b'"%d":1' % j for j in range(100_000)),
        b"[{%b}]" % b",".join(b'"%d":1' % j for j in range(100_000)),
    ],
    ids=["records", "numbers", "cells", "columns", "fields"],
)
def test_many_mistakes_take_no_more_memory_than_one(body):
    refusal(body)
    tracemalloc.start()
    try:
        refusal(body)
        assert tracemalloc.get_traced_memory()[1] < 60 * len(body)
    finally:
        tracemalloc.stop()


def test_the_first_mistake_is_told_although_an_absent_field_is_one_too():
    assert refusal([{"color": 1}]).field == "color"
    assert refusal({"color": 1}).field == "color"
    assert refusal({}).field == "age"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("age", "3", 'a number, or null or "" if it is missing'),
        ("age", True, 'a number, or null or "" if it is missing'),
        ("age", [1], 'a number, or null or "" if it is missing'),
        ("city", 3, 'a string, or null or "" if it is missing'),
        ("city", {}, 'a string, or null or "" if it is missing'),
        ("children", 2.5, "a whole number"),
        ("children", None, "a whole number"),
        ("children", 2**63, "a whole number"),
        ("owns", 1, "true or false"),
    ],
)
def test_a_wrong_type_is_refused_with_field_row_and_value(name, value, expected):
    error = refusal([RECORD, RECORD | {name: value}])
    assert (error.status, error.field, error.row) == (422, name, 1)
    assert error.message == f"Field {name!r} of row 1: expected {expected}; got {json.dumps(value)}"
    error = refusal(as_columns(RECORD | {name: value}))
    assert (error.status, error.field) == (422, name)


def test_an_unknown_and_an_absent_field_are_named():
    error = refusal([RECORD | {"color": 1}])
    assert error.body() == {
        "error": "Field 'color' of row 0 is unknown; the model's fields are 'age', 'city', 'floor', 'smokes', "
        "'children', 'owns'",
        "field": "color",
        "row": 0,
    }
    without_city = {name: value for name, value in RECORD.items() if name != "city"}
    error = refusal([RECORD, without_city])
    assert error.body() == {
        "error": "Field 'city' of row 1 is absent; send null if its value is missing",
        "field": "city",
        "row": 1,
    }
    assert refusal(as_columns(without_city)).field == "city"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "not valid JSON"),
        (b"nope", 400, "not valid JSON"),
        (b"[" * 100_000, 400, "recursion limit"),
        (b'[{"city": "\\ud800"}]', 400, "not valid JSON"),
        (b"\xff\xfe", 400, "not valid JSON"),
        (b"3", 422, "Expected a list of records"),
        (b"[1]", 422, "Expected a list of records"),
        (b"[]", 422, "no rows"),
        ([RECORD] * 4, 413, "at most 3"),
        (RECORD, 422, "for a single record send"),
        (as_columns(RECORD) | {"age": [1, 2]}, 422, "different lengths: [1, 2]"),
        ({name: [] for name in RECORD}, 422, "no rows"),
    ],
)
def test_a_bad_body_is_refused(body, status, words):
    error = refusal(body)
    assert error.status == status
    assert words in error.message


def test_a_long_value_is_shortened_in_the_message():
    assert len(refusal([RECORD | {"age": "x" * 10_000}]).message) < 200


def test_the_schema_tells_types_ranges_categories_and_an_example():
    body, definitions = SCHEMA.json_schema("#/components/schemas/{model}")
    assert [list(form) for form in body["oneOf"]] == [["items", "maxItems", "type", "minItems"], ["$ref"]]
    record = definitions["Record"]
    assert record["example"] == RECORD
    assert record["required"] == list(RECORD)
    assert record["additionalProperties"] is False
    age, city = record["properties"]["age"], record["properties"]["city"]
    assert [choice.get("type") for choice in age["anyOf"]] == ["number", "string", "null"]
    assert age["description"] == "From 18 to 90 in the training data, with median 40."
    assert city["examples"] == ["Oslo", "Rome"]
    assert definitions["Columns"]["example"] == as_columns(RECORD)

"""Rows as files: CSV and Parquet, read as JSON is, and refused in words."""

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sknn.serving import tables
from sknn.serving.errors import RequestError
from sknn.serving.fields import Field
from sknn.serving.tables import CSV, PARQUET, read_file, write_file

FIELDS = [Field("age", "number"), Field("city", "category"), Field("children", "integer"), Field("owns", "boolean")]
FRAME = pd.DataFrame({"age": [2.5, None], "city": ["Oslo", None], "children": [1, 2], "owns": [True, False]})


def parquet(frame):
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def refusal(body, media_type=CSV):
    with pytest.raises(RequestError) as caught:
        read_file(body, media_type, FIELDS, max_rows=5)
    return caught.value


@pytest.mark.parametrize("columns", [list(FRAME), list(FRAME)[::-1]])
def test_csv_and_parquet_are_the_same(columns):
    frame = FRAME[columns].assign(further="ignored")
    from_csv = read_file(frame.to_csv(index=False).encode(), CSV, FIELDS, 5)
    from_parquet = read_file(parquet(frame), PARQUET, FIELDS, 5)
    assert list(from_csv) == list(from_parquet) == list(FRAME)
    for name, values in from_csv.items():
        np.testing.assert_array_equal(values, from_parquet[name])
    np.testing.assert_array_equal(from_csv["age"], [2.5, np.nan])
    assert from_csv["city"].tolist() == ["Oslo", None]


def test_only_an_empty_cell_is_missing_so_na_is_a_category():
    body = b"age,city,children,owns\nNaN,NA,1,true\n,,1,true\n,nan,1,true\n"
    columns = read_file(body, CSV, FIELDS, 5)
    assert np.isnan(columns["age"]).all()
    assert columns["city"].tolist() == ["NA", None, "nan"]


def test_a_byte_order_mark_and_quoted_names_are_understood():
    columns = read_file('\ufeff"age",city,children,owns\n1,"a,b",2,true\n'.encode(), CSV, FIELDS, 5)
    assert columns["city"].tolist() == ["a,b"]


def test_categories_may_have_any_type_of_strings():
    for frame in (FRAME.astype({"city": "category"}), FRAME.astype({"city": "string"}), FRAME.astype({"city": object})):
        assert read_file(parquet(frame), PARQUET, FIELDS, 5)["city"].tolist() == ["Oslo", None]


@pytest.mark.parametrize(
    ("body", "status", "words", "field"),
    [
        (b"age,city,children,owns\nold,x,3,true", 422, "Field 'age': expected a number", "age"),
        (
            b"age,city,children,owns\n1,x,,true",
            422,
            "Field 'children': expected a whole number; got missing",
            "children",
        ),
        (b"age,city,children,owns\n1,x,1,maybe", 422, "Field 'owns': expected true or false; got 'maybe'", "owns"),
        (b"", 422, "lacks the column 'age'", "age"),
        (b"age\n1", 422, "lacks the column 'city'; it has ['age']", "city"),
        (b"age,age,city,children,owns\n1,1,x,3,true", 422, "several columns called 'age'", "age"),
        (b"age,city,children,owns\n", 422, "no rows", None),
        (b"age,city,children,owns\n1,2\n", 400, "not a readable CSV file", None),
        (b"\xff\xfe\x00", 400, "not a readable CSV file", None),
        (b"age,city,children,owns\n" + b"1,x,3,true\n" * 6, 413, "6 rows are too many", None),
    ],
)
def test_a_bad_csv_file_is_refused(body, status, words, field):
    error = refusal(body)
    assert (error.status, error.field) == (status, field)
    assert words in error.message


@pytest.mark.parametrize(
    ("frame", "status", "words"),
    [
        (FRAME.assign(age=["a", "b"]), 422, "Field 'age': expected a number"),
        (FRAME.assign(age=[[1], [2]]), 422, "Field 'age': expected a number"),
        (FRAME.assign(children=[1, None]), 422, "got missing values"),
        (FRAME.assign(owns=[1, 0]), 422, "Field 'owns': expected true or false; got the type int64"),
        (FRAME.drop(columns="owns"), 422, "lacks the column 'owns'"),
        (FRAME.iloc[:0], 422, "no rows"),
        (pd.concat([FRAME] * 3), 413, "6 rows are too many"),
    ],
)
def test_a_bad_parquet_file_is_refused(frame, status, words):
    error = refusal(parquet(frame), PARQUET)
    assert error.status == status
    assert words in error.message


@pytest.mark.parametrize("body", [b"", b"PAR1", b"PAR1aaaaaaaaPAR1", parquet(FRAME)[:-20], parquet(FRAME)[20:]])
def test_a_damaged_parquet_file_is_refused(body):
    assert refusal(body, PARQUET).status == 400


def written(**columns):
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


ONE = {"age": pa.array([1.0]), "city": pa.array(["x"]), "children": pa.array([1]), "owns": pa.array([True])}


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("age", pa.array(["a"])),
        ("age", pa.array(["a"]).dictionary_encode()),
        ("age", pa.array([0], pa.timestamp("s"))),
        ("city", pa.array([2**55], pa.timestamp("ms"))),
        ("city", pa.array([2**30], pa.date32())),
        ("city", pa.array([b"x"])),
        ("city", pa.array([["a"]])),
        ("city", pa.array([{"a": 1}])),
        ("children", pa.array(["1"])),
        ("owns", pa.array([1])),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.type),
)
def test_another_type_of_column_is_refused(name, column):
    error = refusal(written(**ONE | {name: column}), PARQUET)
    assert (error.status, error.field) == (422, name)
    assert f"Field {name!r}: expected" in error.message
    assert "got the type" in error.message


@pytest.mark.parametrize(
    ("name", "column", "expected"),
    [
        ("age", pa.array([2**60 + 1]), 2.0**60),
        ("age", pa.array([2**64 - 1], pa.uint64()), 2.0**64),
        ("age", pa.array([7]).dictionary_encode(), 7.0),
        ("age", pa.nulls(1), np.nan),
        ("city", pa.nulls(1), None),
        ("city", pa.array([3]), 3),
        ("city", pa.array(["x"], pa.string_view()), "x"),
        ("children", pa.array([3]).dictionary_encode(), 3),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else str(value),
)
def test_types_that_hold_the_same_values_are_taken(name, column, expected):
    values = read_file(written(**ONE | {name: column}), PARQUET, FIELDS, 5)[name]
    np.testing.assert_array_equal(values, [expected])


def test_a_csv_file_with_an_endless_name_is_refused():
    assert refusal(b"x" * 200_000).status == 400


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
def test_a_small_file_of_long_strings_stays_small(kind):
    """A file holds a string once, and rows share it: one of 10 MB in 1,000 rows would be 10 GB otherwise."""
    cities = pa.array(["x" * 10_000] * 1000, kind)
    columns = read_file(written(city=cities), PARQUET, FIELDS[1:2], 1000)
    assert len({id(city) for city in columns["city"]}) == 1


def test_a_file_that_unpacks_to_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(tables, "MAX_UNPACKED_BYTES", 100)
    assert refusal(parquet(FRAME), PARQUET).status == 413


@given(st.lists(st.tuples(st.floats(allow_infinity=False) | st.none(), st.text().filter(bool) | st.none()), min_size=1))
def test_any_parquet_file_comes_back(rows):
    ages, cities = ([row[j] for row in rows] for j in (0, 1))
    table = pa.table({"age": pa.array(ages, pa.float64()), "city": pa.array(cities, pa.string())})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    columns = read_file(buffer.getvalue(), PARQUET, FIELDS[:2], len(rows))
    np.testing.assert_array_equal(columns["age"], np.array(ages, dtype=float))
    assert columns["city"].tolist() == cities


@pytest.mark.parametrize(("media_type", "read"), [(CSV, pd.read_csv), (PARQUET, pd.read_parquet)])
def test_predictions_are_written_as_a_file(media_type, read):
    body = write_file({"id": np.array(["a", "b"], dtype=object), "prediction": np.array([1.5, 2.5])}, media_type)
    assert read(io.BytesIO(body)).to_dict("list") == {"id": ["a", "b"], "prediction": [1.5, 2.5]}

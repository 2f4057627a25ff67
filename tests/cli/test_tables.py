"""Tables as files."""

import os
import sys
from pathlib import Path

import pandas as pd
import pytest

from sknn.cli.tables import read_table, require_column, write_table

FRAME = pd.DataFrame({"size": [0.1, 2.0], "city": ["Oslo", "Rome, IT"], "shelf": [1, 2]})


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_a_table_is_read_as_it_was_written(name, tmp_path):
    write_table(FRAME, tmp_path / name)

    pd.testing.assert_frame_equal(read_table(tmp_path / name), FRAME)


def test_a_table_in_another_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"table.xlsx: the name of a table has to end in .csv or .parquet"):
        read_table(tmp_path / "table.xlsx")


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(ImportError, match=r"Tables need pandas; install it with: pip install 'sknn\[cli\]'"):
        read_table(tmp_path / "table.csv")


def test_a_column_of_codes_is_text_and_keeps_its_zeros(tmp_path):
    (tmp_path / "codes.csv").write_text("code,number\n007,0\n12,0.5\n,-0.25\n")
    frame = read_table(tmp_path / "codes.csv")

    assert frame["code"].dropna().tolist() == ["007", "12"]
    assert frame["number"].tolist() == [0, 0.5, -0.25]


def test_the_kinds_of_a_model_decide_how_columns_are_read(tmp_path):
    (tmp_path / "codes.csv").write_text("code,number\n1,007\n2,\n")
    frame = read_table(tmp_path / "codes.csv", {"code": "category", "number": "number"})

    assert frame["code"].tolist() == ["1", "2"]
    assert frame["number"].iloc[0] == 7
    assert frame["number"].isna().tolist() == [False, True]


def test_a_text_in_a_column_of_numbers_is_named_with_its_row(tmp_path):
    (tmp_path / "t.csv").write_text("age\n18\nold\n")

    with pytest.raises(ValueError, match=r"column 'age' of .*t\.csv has to hold numbers, and holds 'old' in row 2"):
        read_table(tmp_path / "t.csv", {"age": "number"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a,b\n", "has the names of columns and no rows"),
        (b"a,a\n1,2\n", "has several columns called 'a'"),
        (b"a;b\n1;2\n", "separates its columns by ';' instead of commas"),
        (b"a\tb\n1\t2\n", "separates its columns by tabs"),
        (b"a,b\n1,2,3\n", "has rows with more cells than it has names of columns"),
        (b"a,b\n1,2\n1,2,3\n", "is not a CSV table: Expected 2 fields in line 3, saw 3"),
        (b"name\n\xe9t\xe9\n", "is not a text file in UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is not a text file"),
    ],
)
def test_a_file_that_is_no_table_is_named(content, message, tmp_path):
    (tmp_path / "t.csv").write_bytes(content)

    with pytest.raises(ValueError, match=message):
        read_table(tmp_path / "t.csv")


def test_a_damaged_parquet_file_and_a_folder_are_named(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    (tmp_path / "folder.csv").mkdir()

    with pytest.raises(ValueError, match=r"t.parquet is not a Parquet file, or it is damaged"):
        read_table(tmp_path / "t.parquet")
    with pytest.raises(IsADirectoryError, match=r"folder.csv is a folder"):
        read_table(tmp_path / "folder.csv")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text("old")
    monkeypatch.setattr(os, "fsync", lambda descriptor: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        write_table(FRAME, tmp_path / "t.csv")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_missing_column_is_named_with_some_of_the_others():
    with pytest.raises(ValueError) as error:
        require_column(Path("t.csv"), [f"c{i}" for i in range(30)], "zzz")

    assert str(error.value).endswith("c18, c19 and 10 more")


def test_columns_that_are_called_by_numbers_are_called_by_text(tmp_path):
    pd.DataFrame({0: [1.0], 1: [2.0]}).to_parquet(tmp_path / "t.parquet")

    assert list(read_table(tmp_path / "t.parquet").columns) == ["0", "1"]


def test_a_mark_of_the_encoding_is_not_part_of_the_first_name(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfage,zip\n1,2\n")

    assert list(read_table(tmp_path / "t.csv", {"zip": "category"}).columns) == ["age", "zip"]


def test_an_index_of_a_parquet_file_is_a_column_if_it_has_a_name(tmp_path):
    FRAME.set_index("city").to_parquet(tmp_path / "named.parquet")
    FRAME.iloc[[1, 0]].to_parquet(tmp_path / "order.parquet")

    assert list(read_table(tmp_path / "named.parquet").columns) == ["city", "size", "shelf"]
    assert list(read_table(tmp_path / "order.parquet").index) == [0, 1]

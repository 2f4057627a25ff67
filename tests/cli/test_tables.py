"""Tables as files."""

import sys

import pandas as pd
import pytest

from sknn.cli.tables import read_table, write_table

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

    with pytest.raises(ImportError, match=r"Tables need pandas; install it with: pip install 'sknn\[pandas\]'"):
        read_table(tmp_path / "table.csv")

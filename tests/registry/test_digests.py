"""Digests of files."""

import subprocess

import pytest

from sknn.registry import file_digest


def test_a_digest_is_that_of_the_tool_everyone_has(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(bytes(range(256)) * 5000)
    printed = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout

    assert file_digest(path) == "sha256:" + printed.split()[0]


def test_a_missing_file_is_an_error_with_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.csv"):
        file_digest(tmp_path / "nothing.csv")

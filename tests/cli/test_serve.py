"""`sknn serve`: its arguments, and what it says if it can't start. tests/serving/test_server.py runs it."""

import pytest

from sknn.cli import main
from tests.serving.common import export_churn


def refused(capsys, *arguments):
    assert main(["serve", *map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("sknn serve: error: ")
    assert error.count("\n") == 1
    return error


def test_a_missing_model_is_named(capsys, tmp_path):
    assert f"{tmp_path}/none.onnx: No such file" in refused(capsys, tmp_path / "none.onnx")


def test_a_file_of_another_kind_is_refused(capsys, tmp_path):
    assert "is no .onnx file, no .sknn file, and no models:/NAME@ALIAS" in refused(capsys, tmp_path / "model.pkl")


def test_a_damaged_model_is_refused(capsys, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"nonsense")
    assert "is not an ONNX model that ONNX Runtime" in refused(capsys, tmp_path / "model.onnx")


def test_a_weak_token_is_refused(capsys, tmp_path):
    (tmp_path / "token").write_text("short")
    assert "at least 8 characters" in refused(capsys, "m.onnx", "--token-file", tmp_path / "token")


def test_an_address_that_is_not_here_is_refused(capsys, tmp_path):
    path = export_churn(tmp_path / "churn.onnx")
    assert "192.0.2.1:8080 can't be used" in refused(capsys, path, "--host", "192.0.2.1")


def test_a_missing_package_is_named_with_its_extra(capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "uvicorn", None)
    monkeypatch.delitem(__import__("sys").modules, "sknn.serving.server", raising=False)
    assert "pip install 'sknn[serve]'" in refused(capsys, "m.onnx")


@pytest.mark.parametrize(
    "arguments",
    [["--max-rows", "0"], ["--timeout", "-1"], ["--timeout", "inf"], ["--threads", "x"], ["--log-level", "loud"]],
)
def test_arguments_are_checked(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(["serve", "m.onnx", *arguments])
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err

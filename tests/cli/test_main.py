"""The command line: help, exit codes, and errors as one line."""

import importlib
import os
import tomllib
from pathlib import Path

import pytest

import sknn
from sknn.cli import main
from tests.cli.common import sknn_command


def test_an_error_is_one_line_and_exit_code_1(tmp_path):
    done = sknn_command("export", "nothing.sknn", "--to", "onnx", folder=tmp_path)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "sknn export: error: nothing.sknn: No such file or directory\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "sknn: error: the following arguments are required: command"),
        (["export", "model.sknn"], "sknn export: error: the following arguments are required: --to"),
        (["export", "model.sknn", "--to", "tflite"], "invalid choice: 'tflite' (choose from"),
        (["exprot"], "invalid choice: 'exprot'"),
    ],
)
def test_invalid_arguments_are_exit_code_2(arguments, message, tmp_path):
    done = sknn_command(*arguments, folder=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: sknn")
    assert message in done.stderr


def test_help_and_version_do_not_import_torch(tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    path = os.pathsep.join([str(tmp_path), str(Path(sknn.__file__).parent.parent)])
    shown = sknn_command("export", "--help", folder=tmp_path, PYTHONPATH=path, COLUMNS="80")

    assert shown.returncode == 0, shown.stderr
    assert "sknn export churn.sknn --to onnx --sample customers.parquet" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert sknn_command("--version", folder=tmp_path, PYTHONPATH=path).stdout == f"sknn {sknn.__version__}\n"


def test_the_installed_script_runs_the_same_function_as_the_module():
    project = Path(sknn.__file__).parent.parent / "pyproject.toml"
    module, _, function = tomllib.loads(project.read_text())["project"]["scripts"]["sknn"].partition(":")

    assert getattr(importlib.import_module(module), function) is main

"""The command line: help, exit codes, and errors as one line."""

import importlib
import os
import re
import shlex
import tomllib
import warnings
from pathlib import Path

import pytest

import sknn
from sknn.cli import info, main
from sknn.cli.main import COMMANDS
from tests.cli.common import sknn_command


def test_an_error_is_one_line_and_exit_code_2(tmp_path):
    done = sknn_command("export", "nothing.sknn", "--to", "onnx", folder=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
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


def test_help_and_version_do_not_import_large_packages(tmp_path):
    for package in ("torch", "sklearn", "pandas"):
        (tmp_path / f"{package}.py").write_text(f"raise SystemExit('{package} was imported')")
    path = os.pathsep.join([str(tmp_path), str(Path(sknn.__file__).parent.parent)])
    shown = sknn_command("export", "--help", folder=tmp_path, PYTHONPATH=path)

    assert shown.returncode == 0, shown.stderr
    assert sknn_command("--version", folder=tmp_path, PYTHONPATH=path).stdout == f"sknn {sknn.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_the_help_of_a_command_fits_a_terminal_and_its_examples_are_valid(command, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    name = command.__name__.rpartition(".")[2]
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    shown = capsys.readouterr().out
    examples = re.findall(rf"^  sknn ({name} .*?)(?: \|.*)?$", shown.partition("\nexamples:\n")[2], re.MULTILINE)

    assert max(map(len, shown.splitlines())) <= 80
    assert examples
    run = []
    monkeypatch.setattr(command, "run", run.append)
    assert [main(shlex.split(example)) for example in examples] == [0] * len(examples)
    assert len(run) == len(examples)


@pytest.mark.parametrize(
    ("outcome", "code", "text"),
    [
        (None, 0, ""),
        (3, 3, ""),
        (ValueError("two\n  lines"), 2, "sknn info: error: two lines\n"),
        (KeyError(), 2, "sknn info: error: KeyError\n"),
        (FileNotFoundError(2, "No such file", "f.csv"), 2, "sknn info: error: f.csv: No such file\n"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_an_outcome_has_its_exit_code_and_its_line(outcome, code, text, monkeypatch, capfd):
    def run(options):
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(info, "run", run)

    assert main(["info", "m.sknn"]) == code
    assert capfd.readouterr() == ("", text)


@pytest.mark.filterwarnings("default")
def test_a_warning_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(info, "run", lambda options: warnings.warn("take care", stacklevel=1))

    assert main(["info", "m.sknn"]) == 0
    assert capsys.readouterr().err == "sknn info: warning: take care\n"


def test_the_installed_script_runs_the_same_function_as_the_module():
    project = Path(sknn.__file__).parent.parent / "pyproject.toml"
    module, _, function = tomllib.loads(project.read_text())["project"]["scripts"]["sknn"].partition(":")

    assert getattr(importlib.import_module(module), function) is main

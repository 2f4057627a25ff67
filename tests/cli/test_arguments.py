"""Outputs that can be written, and the values of --set."""

import argparse
import os

import pytest

from sknn import NeuralClassifier
from sknn.cli.arguments import fraction, parse_settings, prepare_output


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.3", 0.3),
        ("64", 64),
        ("64,32", (64, 32)),
        ("[64, 32]", [64, 32]),
        ("false", False),
        ("None", None),
        ("relu", "relu"),
        ("'relu'", "relu"),
        ("a=b", "a=b"),
        ("__import__('os')", "__import__('os')"),
        ("", ""),
    ],
)
def test_a_setting_is_a_value_of_python_or_a_text(text, value):
    assert parse_settings([f"activation={text}"], NeuralClassifier) == {"activation": value}


def test_the_last_setting_of_a_parameter_counts():
    assert parse_settings(["alpha = 1", "alpha=2"], NeuralClassifier) == {"alpha": 2}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("alpha", "--set alpha has no value; write --set name=value"),
        ("alhpa=1", "NeuralClassifier has no parameter 'alhpa'. Did you mean 'alpha'?"),
        ("zzz=1", "NeuralClassifier has no parameter 'zzz'."),
        ("=1", "NeuralClassifier has no parameter ''."),
    ],
)
def test_a_setting_without_a_parameter_is_an_error(setting, message):
    with pytest.raises(ValueError) as error:
        parse_settings([setting], NeuralClassifier)

    assert str(error.value) == message


@pytest.mark.parametrize("text", ["1", "-0.1", "nan"])
def test_a_fraction_is_at_least_0_and_below_1(text):
    with pytest.raises(argparse.ArgumentTypeError, match="has to be at least 0 and below 1"):
        fraction(text)


def test_the_folder_of_an_output_is_created(tmp_path):
    prepare_output(tmp_path / "a" / "b" / "out.csv", tmp_path / "in.csv")

    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_link_to_the_input_is_no_output(tmp_path):
    (tmp_path / "in.csv").write_text("a\n")
    (tmp_path / "out.csv").symlink_to(tmp_path / "in.csv")

    with pytest.raises(ValueError, match=r"--output .*out\.csv is the file that is read; use another path"):
        prepare_output(tmp_path / "out.csv", tmp_path / "in.csv")


def test_a_folder_is_an_output_only_if_one_is_written(tmp_path):
    prepare_output(tmp_path, tmp_path / "in.csv", is_folder=True)

    with pytest.raises(IsADirectoryError, match="is a folder; give the path of a file"):
        prepare_output(tmp_path, tmp_path / "in.csv")


def test_a_folder_that_can_not_be_written_to_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write to every folder

    with pytest.raises(PermissionError, match=r"--output .*out\.csv: the folder .* can't be written to"):
        prepare_output(tmp_path / "out.csv", tmp_path / "in.csv")

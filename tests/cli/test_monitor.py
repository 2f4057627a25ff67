"""`sknn monitor`: tables against tables and against exported models, its page, its exit codes and its errors."""

import json

import numpy as np
import pandas as pd
import pytest

from sknn import NeuralClassifier
from sknn.cli import main
from sknn.export import to_onnx
from sknn.monitoring import DriftMonitor
from tests.cli.common import sknn_command
from tests.common import TINY

RNG = np.random.default_rng(0)
TRAIN = pd.DataFrame(
    {
        "age": RNG.normal(40, 10, 600).round(1),
        "city": RNG.choice(["Oslo", "Rome", None], 600),
        "zip": RNG.choice(["01067", "10115", "20095"], 600),
    }
)
ALL_DROPPED = ("--drop", "age", "--drop", "city", "--drop", "zip")
LIVE = TRAIN[:300].assign(age=TRAIN["age"] + 10)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder with tables and an exported model."""
    folder = tmp_path_factory.mktemp("tables")
    for suffix, write in ((".csv", "to_csv"), (".parquet", "to_parquet")):
        getattr(TRAIN, write)(folder / f"train{suffix}", index=False)
        getattr(LIVE, write)(folder / f"live{suffix}", index=False)
    TRAIN.assign(day=pd.Timestamp("2025-01-01")).to_parquet(folder / "dated.parquet")
    LIVE.assign(id=1).drop(columns="city").to_csv(folder / "short.csv", index=False)
    LIVE.assign(id=1, age="old").to_csv(folder / "words.csv", index=False)
    LIVE.assign(id=1).to_csv(folder / "long.csv", index=False)
    model = NeuralClassifier(**TINY).fit(TRAIN, RNG.choice(["stays", "leaves"], 600))
    to_onnx(model, TRAIN, path=folder / "model.onnx")
    return folder


def monitor(capsys, *arguments):
    """Run the command in this process; return its exit code and output."""
    code = main(["monitor", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_are_compared(files, capsys, suffix):
    code, out, err = monitor(capsys, files / f"train{suffix}", files / f"live{suffix}")
    expected = DriftMonitor.from_reference(TRAIN).update(LIVE).report()

    assert (code, err) == (0, "")
    assert out == f"{expected}\n"
    assert out.startswith("1 of 3 columns has drifted: age.\n")


def test_a_model_is_a_reference_and_predicts_the_rows(files, capsys):
    code, out, _ = monitor(capsys, files / "model.onnx", files / "live.csv", "--json")
    report = json.loads(out)

    assert (code, report["drifted"][0], report["n_rows"], report["reference_rows"]) == (0, "age", 300, 600)
    assert {column["name"]: column["part"] for column in report["columns"]}["prediction"] == "predictions"


@pytest.mark.service
def test_a_page_is_written_and_drift_has_its_exit_code(files, tmp_path):
    """In a process of its own, as a pipeline calls it."""
    page = tmp_path / "new" / "drift.html"
    arguments = ("monitor", files / "train.parquet", files / "live.parquet", "-o", page, "--fail-on-drift")
    done = sknn_command(*arguments, folder=tmp_path)

    assert (done.returncode, done.stderr) == (3, "")
    assert "live.parquet, 300 rows" in page.read_text()
    assert "1 of 3 columns no longer looks like the reference" in page.read_text()


@pytest.mark.parametrize("reference", ["train.csv", "model.onnx"])
def test_dropped_columns_are_not_compared(files, capsys, reference):
    code, out, _ = monitor(
        capsys, files / reference, files / "live.csv", "--drop", "age", "--drop", "zip", "--json", "--fail-on-drift"
    )
    names = {column["name"] for column in json.loads(out)["columns"]}

    assert names - {"prediction"} == {"city"}
    assert (code == 3) == bool(json.loads(out)["drifted"])


def test_dates_can_be_dropped(files, capsys):
    dated = files / "dated.parquet"
    code, _, err = monitor(capsys, dated, dated)
    assert (code, err.count("\n")) == (2, 1)
    assert "Column 'day' has the dtype datetime64" in err

    assert monitor(capsys, dated, dated, "--drop", "day", "--fail-on-drift")[0] == 0


def test_columns_without_a_reference_are_named(files, capsys):
    out = monitor(capsys, files / "train.csv", files / "long.csv")[1]

    assert out.endswith("not compared, because the reference lacks them: id\n")


def test_options_of_the_report(files, capsys):
    arguments = ("--correction", "benjamini-hochberg", "--alpha", "0.2")
    report = json.loads(monitor(capsys, files / "train.csv", files / "live.csv", "--json", *arguments)[1])

    assert (report["correction"], report["alpha"]) == ("benjamini-hochberg", 0.2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train.csv", "short.csv"), "short.csv has no column 'city'"),
        (("model.onnx", "short.csv"), "short.csv lacks columns of the model: 'city'."),
        (("train.csv", "words.csv"), "column 'age' of"),
        (("train.csv", "gone.csv"), "No such file or directory"),
        (("train.csv", "live.csv", "--drop", "Age"), "train.csv has no column 'Age'. Did you mean 'age'?"),
        (("train.csv", "live.csv", *ALL_DROPPED), "--drop names all columns; leave at least one to compare"),
        (("train.csv", "live.csv", "--alpha", "2"), "alpha=2.0 has to be between 0 and 1."),
        (("train.csv", "live.csv", "-o", "live.csv"), "live.csv is the file that is read"),
    ],
    ids=["column", "column of a model", "words", "file", "dropped", "all dropped", "alpha", "output"],
)
def test_errors_are_one_line_that_names_the_column(files, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(files)
    code, _, err = monitor(capsys, *arguments)

    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("sknn monitor: error: ")
    assert message in err

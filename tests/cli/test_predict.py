"""`sknn predict`: the table that it writes, and its errors."""

import io

import numpy as np
import pandas as pd
import pytest

import sknn
from sknn.cli import main
from tests.cli.common import CUSTOMERS, FEATURES, sknn_command
from tests.common import TINY


@pytest.mark.parametrize("model", ["m.sknn", "m.onnx"])
def test_codes_are_read_as_in_fit_and_columns_are_copied_as_written(customers, model, tmp_path, capsys):
    (tmp_path / "new.csv").write_text("id,zip,age,spend\n007,1201,40,\n,1201,60,90\n")
    assert main(["predict", str(customers.folder / model), str(tmp_path / "new.csv"), "--keep", "id"]) == 0

    result = pd.read_csv(io.StringIO(capsys.readouterr().out), dtype={"id": str})
    rows = pd.DataFrame({"age": [40, 60], "zip": ["1201", "1201"], "spend": [np.nan, 90]})
    expected = sknn.load(customers.folder / "m.sknn").predict_proba(rows)
    assert list(result.columns) == ["id", "prediction", "probability_no", "probability_yes"]
    assert result["id"].iloc[0] == "007"
    np.testing.assert_allclose(result[["probability_no", "probability_yes"]], expected, atol=1e-6)


@pytest.mark.service
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_process_writes_a_file_with_a_row_for_each_row(customers, suffix, tmp_path):
    output = tmp_path / "new" / f"p{suffix}"
    done = sknn_command("predict", "m.onnx", f"t{suffix}", "--keep-all", "-o", output, folder=customers.folder)

    assert (done.returncode, done.stderr) == (0, "")
    names = "age, zip, spend, churn, prediction, probability_no, probability_yes"
    assert done.stdout == f"{output}: 120 rows, columns {names}\n"
    result = sknn.cli.tables.read_table(output)
    assert result["zip"].tolist() == CUSTOMERS["zip"].tolist()
    assert (result["prediction"] == sknn.load(customers.folder / "m.sknn").predict(CUSTOMERS[FEATURES])).all()
    assert [path.name for path in output.parent.iterdir()] == [output.name]


def test_an_error_leaves_the_old_file(customers, tmp_path, capsys):
    (tmp_path / "p.csv").write_text("old")
    CUSTOMERS.drop(columns="age").to_csv(tmp_path / "t.csv", index=False)

    assert main(["predict", str(customers.folder / "m.sknn"), str(tmp_path / "t.csv"), "-o", str(tmp_path / "p.csv")])
    assert (tmp_path / "p.csv").read_text() == "old"
    assert "lacks columns of the model: 'age'" in capsys.readouterr().err


def test_a_regressor_of_two_columns_has_two_predictions(tmp_path, capsys):
    y = CUSTOMERS[["age", "spend"]].to_numpy()
    sknn.save(sknn.NeuralRegressor(**TINY).fit(CUSTOMERS[["zip"]], y), tmp_path / "m.sknn")
    CUSTOMERS.to_csv(tmp_path / "t.csv", index=False)
    assert main(["predict", str(tmp_path / "m.sknn"), str(tmp_path / "t.csv")]) == 0

    result = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert list(result.columns) == ["prediction_1", "prediction_2"]
    np.testing.assert_allclose(result, sknn.load(tmp_path / "m.sknn").predict(CUSTOMERS[["zip"]]))


def test_a_model_without_column_names_takes_all_columns(tmp_path, capsys):
    X = CUSTOMERS[["age", "spend"]].to_numpy(dtype=float)
    reg = sknn.NeuralRegressor(**TINY).fit(X, CUSTOMERS["spend"])
    sknn.save(reg, tmp_path / "m.sknn")
    CUSTOMERS[["age", "spend"]].to_csv(tmp_path / "t.csv", index=False)
    assert main(["predict", str(tmp_path / "m.sknn"), str(tmp_path / "t.csv")]) == 0

    printed = pd.read_csv(io.StringIO(capsys.readouterr().out))
    np.testing.assert_allclose(printed["prediction"], reg.predict(X))


@pytest.mark.service
def test_a_reader_that_has_seen_enough_is_no_error(customers):
    import subprocess
    import sys

    command = [sys.executable, "-m", "sknn", "predict", "m.sknn", "t.csv"]
    process = subprocess.Popen(command, cwd=customers.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()

    assert (process.stderr.read(), process.wait()) == (b"", 0)
    process.stderr.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["t.csv", "--keep", "idd"], "t.csv has no column 'idd'. It has age, zip, spend, churn"),
        (["t.csv", "-o", "out.xlsx"], "out.xlsx: the name of a table has to end in .csv or .parquet"),
        (["t.csv", "-o", "t.csv"], "--output t.csv is the file that is read; use another path"),
        (["t.csv", "-o", "folder.csv"], "--output folder.csv is a folder; give the path of a file"),
        (["p.csv", "--keep-all"], "p.csv has a column 'prediction', too; rename it, or do not keep it"),
        (["folder.csv"], "folder.csv is a folder; give a file in it"),
        (["nothing.csv"], "nothing.csv: No such file or directory"),
    ],
)
def test_errors_are_one_line(customers, arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(customers.folder)
    (customers.folder / "folder.csv").mkdir(exist_ok=True)
    CUSTOMERS.assign(prediction=1).to_csv("p.csv", index=False)

    assert main(["predict", "m.sknn", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"sknn predict: error: {message}\n")

"""`sknn fit`: what it prints, the model that it saves, and its errors."""

import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

import sknn
from sknn.cli import main
from sknn.cli.report import format_size
from tests.cli.common import CUSTOMERS, FEATURES, QUICK


def test_fit_prints_its_choices_columns_curve_scores_and_what_comes_next(customers):
    printed = customers.printed

    assert "t.csv: 120 rows, 4 columns\n" in printed
    assert "target churn: classification, it holds 'no' and 'yes' (--task regression overrides this)\n" in printed
    assert "left out: 3 rows without a value of churn\n" in printed
    assert "82 rows to train, 17 to validate, 18 to test\n" in printed
    assert "  zip    category  3 levels: 0150, 0187, 1201\n" in printed
    assert "loss after each epoch, mean of 2 networks (the best epoch is kept)\n" in printed
    assert (
        "\nmembers of the ensemble, and their weight in the predictions\n  batch norm: 1 member, weight 0." in printed
    )
    assert "scores on the 18 test rows\n" in printed
    assert "most frequent class  linear model  network\n" in printed
    size = format_size((customers.folder / "m.sknn").stat().st_size)
    assert f"saved m.sknn ({size})\nnext:\n  sknn predict m.sknn new.csv -o predictions.csv\n" in printed


def test_the_printed_accuracy_is_that_of_rows_that_were_not_trained_on(customers):
    from sknn.cli.training_data import prepare_target, split_off_test_rows

    known = CUSTOMERS.iloc[3:]
    _, test = split_off_test_rows(prepare_target(known["churn"], None), 0.15, 0)
    rows = known.iloc[test]
    accuracy = accuracy_score(rows["churn"], sknn.load(customers.folder / "m.sknn").predict(rows[FEATURES]))

    line = next(line for line in customers.printed.splitlines() if line.startswith("accuracy"))
    assert line.split()[3] == f"{accuracy:.3f}"


def test_the_model_remembers_its_target_and_prints_nothing_in_later_fits(customers):
    model = sknn.load(customers.folder / "m.sknn")

    assert (model.target_name_, model.verbose, model.hidden_layer_sizes) == ("churn", False, 8)
    assert model.validation_fraction == round(0.15 / 0.85, 4)


def test_the_same_seed_gives_the_same_model(customers, tmp_path):
    table = str(customers.folder / "t.parquet")
    assert main(["fit", table, "--target", "churn", "-o", str(tmp_path / "again.sknn"), *QUICK]) == 0

    first, again = sknn.load(customers.folder / "m.sknn"), sknn.load(tmp_path / "again.sknn")
    np.testing.assert_array_equal(first.predict_proba(CUSTOMERS[FEATURES]), again.predict_proba(CUSTOMERS[FEATURES]))


def test_a_regressor_without_a_test_part_is_saved_beside_the_table(tmp_path, monkeypatch, capsys):
    CUSTOMERS.to_csv(tmp_path / "t.csv", index=False)
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "t.csv", "--target", "spend", "--drop", "churn", "--test-size", "0", *QUICK]) == 0

    printed = capsys.readouterr().out
    assert "target spend: regression, it holds numbers with fractions (--task classification overrides this)" in printed
    assert "102 rows to train, 18 to validate, 0 to test" in printed
    assert "scores" not in printed
    assert list(sknn.load("t.sknn").feature_names_in_) == ["age", "zip"]


def test_the_task_can_be_overridden(tmp_path, capsys):
    CUSTOMERS.assign(stars=np.arange(120) % 5).to_csv(tmp_path / "t.csv", index=False)
    arguments = ["fit", str(tmp_path / "t.csv"), "--target", "stars", "--task", "regression"]
    assert main([*arguments, *QUICK]) == 0

    assert "target stars: regression, as --task says\n" in capsys.readouterr().out
    assert isinstance(sknn.load(tmp_path / "t.sknn"), sknn.NeuralRegressor)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "chrun"], "t.csv has no column 'chrun'. Did you mean 'churn'? It has age, zip, spend, churn"),
        (["--target", "churn", "--drop", "agee"], "t.csv has no column 'agee'. Did you mean 'age'?"),
        (["--target", "churn", "--drop", "churn"], "--drop churn names the target"),
        (
            ["--target", "churn", "--drop", "age", "--drop", "zip", "--drop", "spend"],
            "t.csv has no column besides 'churn' to predict it from",
        ),
        (["--target", "churn", "--set", "droput=1"], "NeuralClassifier has no parameter 'droput'. Did you mean 'drop"),
        (["--target", "churn", "--set", "dropout=7"], "The 'dropout' parameter of NeuralClassifier must be"),
        (["--target", "spend", "--set", "quantile=0.1,0.9"], "--set quantile takes one number"),
        (["--target", "churn", "--random-state", "-1"], "The 'random_state' parameter"),
        (["--target", "churn", "--task", "regression"], "column 'churn' holds 'no', which is not a number"),
        (["--target", "churn", "-o", "m.onnx"], "--output m.onnx: the name of a model has to end in .sknn"),
        (["--target", "churn", "-o", "folder.sknn"], "--output folder.sknn is a folder; give the path of a file"),
    ],
)
def test_errors_are_one_line_before_anything_is_printed(customers, arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(customers.folder)
    (customers.folder / "folder.sknn").mkdir(exist_ok=True)

    assert main(["fit", "t.csv", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"sknn fit: error: {message}")


def test_a_missing_package_is_an_error_before_the_training(customers, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)

    assert main(["fit", str(customers.folder / "t.csv"), "--target", "churn", "-o", str(tmp_path / "m.sknn")]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "need safetensors; install it with: pip install 'sknn[persistence]'" in err


@pytest.mark.filterwarnings("default")
def test_a_column_that_only_identifies_rows_is_a_warning(tmp_path, capsys):
    CUSTOMERS.assign(customer=[f"C{i}" for i in range(120)]).to_csv(tmp_path / "t.csv", index=False)

    assert main(["fit", str(tmp_path / "t.csv"), "--target", "churn", *QUICK]) == 0
    err = capsys.readouterr().err
    assert "sknn fit: warning: column 'customer' has another value in every row" in err
    assert "holds no level that was seen in fit" not in err


@pytest.mark.filterwarnings("default")
def test_a_table_of_missing_values_is_trained(tmp_path, capsys):
    table = pd.DataFrame({"empty": [np.nan] * 40, "x": [1.0, np.nan] * 20, "y": ["a", "b"] * 20})
    table.to_csv(tmp_path / "t.csv", index=False)

    assert main(["fit", str(tmp_path / "t.csv"), "--target", "y", *QUICK]) == 0
    out, err = capsys.readouterr()
    assert "  empty  number  100 % missing\n  x      number  1 to 1, 50 % missing\n" in out
    assert "warning: column 'empty' is empty; leave it out: --drop 'empty'" in err

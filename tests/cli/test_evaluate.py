"""`sknn evaluate`: the scores of both kinds of models, and its errors."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, mean_absolute_error, roc_auc_score

import sknn
from sknn.cli import main
from tests.cli.common import CUSTOMERS, FEATURES, sknn_command
from tests.common import TINY


@pytest.mark.parametrize("table", ["t.csv", "t.parquet"])
@pytest.mark.parametrize("model", ["m.sknn", "m.onnx"])
def test_the_scores_of_a_classifier_are_those_of_scikit_learn(customers, model, table, monkeypatch, capsys):
    monkeypatch.chdir(customers.folder)
    assert main(["evaluate", model, table, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)

    known, clf = CUSTOMERS.iloc[3:], sknn.load("m.sknn")
    p = clf.predict_proba(known[FEATURES]).astype(float)
    predicted = clf.classes_[p.argmax(1)]
    assert (result["task"], result["target"]) == ("classification", "churn")
    assert (result["rows"], result["rows_without_target"], result["rows_of_unknown_classes"]) == (117, 3, 0)
    assert result["scores"]["accuracy"] == accuracy_score(known["churn"], predicted)
    assert result["scores"]["log loss"] == pytest.approx(log_loss(known["churn"], p), rel=1e-4)
    assert result["scores"]["ROC AUC"] == pytest.approx(roc_auc_score(known["churn"] == "yes", p[:, 1]), abs=1e-3)
    assert result["confusion"]["classes"] == ["no", "yes"]
    assert result["confusion"]["counts"] == confusion_matrix(known["churn"], predicted).tolist()


@pytest.mark.service
def test_the_process_prints_scores_and_errors(customers):
    done = sknn_command("evaluate", "m.onnx", "t.csv", folder=customers.folder)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("m.onnx on t.csv: 117 rows, target churn (3 rows without it left out)\n\n")
    assert "higher is better\n" in done.stdout
    assert "rows of each class (line), and the class that is predicted (column)\n     no  yes\n" in done.stdout


def test_a_regressor_is_scored_on_numbers_that_a_file_holds_as_text(tmp_path, capsys):
    sknn.save(sknn.NeuralRegressor(**TINY).fit(CUSTOMERS[["age", "zip"]], CUSTOMERS["spend"]), tmp_path / "r.sknn")
    table = CUSTOMERS.assign(spend=CUSTOMERS["spend"].map("{:07.1f}".format))  # 00093.4
    table.to_csv(tmp_path / "t.csv", index=False)
    assert main(["evaluate", str(tmp_path / "r.sknn"), str(tmp_path / "t.csv"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)

    residuals = CUSTOMERS["spend"] - sknn.load(tmp_path / "r.sknn").predict(CUSTOMERS[["age", "zip"]])
    assert result["scores"]["MAE"] == pytest.approx(mean_absolute_error(residuals, np.zeros(120)))
    assert result["residuals"]["95 %"] == pytest.approx(np.quantile(residuals, 0.95))
    assert main(["evaluate", str(tmp_path / "r.sknn"), str(tmp_path / "t.csv")]) == 0
    assert "true value - prediction\n" in capsys.readouterr().out


def test_unknown_classes_are_errors_and_are_named(customers, tmp_path, capsys):
    table = CUSTOMERS.assign(churn=CUSTOMERS["churn"].where(CUSTOMERS.index % 4 > 0, "perhaps"))
    table.to_csv(tmp_path / "t.csv", index=False)
    assert main(["evaluate", str(customers.folder / "m.sknn"), str(tmp_path / "t.csv")]) == 0

    assert "30 rows of a class that the model does not know (perhaps): counted as errors" in capsys.readouterr().out


def test_a_model_that_does_not_know_its_target_takes_its_name(tmp_path, capsys):
    clf = sknn.NeuralClassifier(**TINY).fit(CUSTOMERS[FEATURES], CUSTOMERS["churn"].to_numpy())
    sknn.save(clf, tmp_path / "m.sknn")
    CUSTOMERS.to_csv(tmp_path / "t.csv", index=False)
    arguments = ["evaluate", str(tmp_path / "m.sknn"), str(tmp_path / "t.csv")]

    assert main(arguments) == 2
    assert "does not know the name of its target; name the column: --target COLUMN" in capsys.readouterr().err
    assert main([*arguments, "--target", "churn"]) == 0


@pytest.mark.parametrize("model", ["m.sknn", "m.onnx"])
@pytest.mark.parametrize(
    ("table", "message"),
    [
        (CUSTOMERS.drop(columns="churn"), "t.csv has no column 'churn'. It has age, zip, spend"),
        (CUSTOMERS.drop(columns="age"), "t.csv lacks columns of the model: 'age'."),
        (CUSTOMERS.rename(columns={"age": "Age"}), "t.csv lacks columns of the model: 'age'. Did you mean 'Age'?"),
        (CUSTOMERS.assign(age="old"), "column 'age' of t.csv has to hold numbers, and holds 'old' in row 1"),
        (CUSTOMERS.assign(churn="?"), "column 'churn' holds no class of the model (no, yes); it holds ?"),
        (CUSTOMERS.assign(churn=None), "column 'churn' of t.csv is empty"),
    ],
)
def test_errors_name_the_column(customers, model, table, message, tmp_path, monkeypatch, capsys):
    table.to_csv(tmp_path / "t.csv", index=False)
    monkeypatch.chdir(tmp_path)

    assert main(["evaluate", str(customers.folder / model), "t.csv"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith(f"sknn evaluate: error: {message}")


def test_several_predictions_for_a_row_are_refused(tmp_path, capsys):
    y = CUSTOMERS[["age", "spend"]].to_numpy()
    sknn.save(sknn.NeuralRegressor(**TINY).fit(pd.get_dummies(CUSTOMERS["zip"]), y), tmp_path / "m.sknn")
    CUSTOMERS.join(pd.get_dummies(CUSTOMERS["zip"])).to_csv(tmp_path / "t.csv", index=False)

    assert main(["evaluate", str(tmp_path / "m.sknn"), str(tmp_path / "t.csv"), "--target", "age"]) == 2
    assert "the model predicts 2 columns; only a single one can be evaluated" in capsys.readouterr().err

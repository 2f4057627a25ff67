"""`sknn export`: the files it writes, and its errors."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import sknn
from sknn import NeuralClassifier, NeuralRegressor, OnnxPredictor
from sknn.cli import main
from sknn.export.torch.encoder import raw_tensors
from tests.cli.common import sknn_command
from tests.common import TINY

rng = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "size": rng.normal(size=60),
        "city": rng.choice(["Oslo", "Rome", None], 60),
        "shelf": rng.integers(0, 4, 60),
    }
)
LABELS = rng.choice(["u", "v"], 60)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return a folder with a saved estimator, a pipeline, an estimator fitted on an array, and two tables."""
    folder = tmp_path_factory.mktemp("models")
    columns = make_column_transformer((StandardScaler(), ["size", "shelf"]), (OneHotEncoder(), ["city"]))
    sknn.save(NeuralClassifier(**TINY).fit(FRAME, LABELS), folder / "model.sknn")
    known = FRAME.assign(city=FRAME["city"].fillna("?"))
    sknn.save(make_pipeline(columns, NeuralClassifier(**TINY)).fit(known, LABELS), folder / "pipeline.sknn")
    sknn.save(NeuralRegressor(**TINY).fit(FRAME[["size", "shelf"]].to_numpy(), FRAME["size"]), folder / "array.sknn")
    FRAME.assign(label=LABELS)[["label", "shelf", "city", "size"]].to_csv(folder / "table.csv", index=False)
    known.to_parquet(folder / "known.parquet")
    return folder


def test_a_model_is_exported_with_the_types_of_a_table(models, tmp_path):
    done = sknn_command("export", models / "model.sknn", "--to", "onnx", "--sample", models / "table.csv", "--output",
               tmp_path / "new" / "m.onnx", folder=tmp_path)  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path / 'new' / 'm.onnx'}: NeuralClassifier with 3 columns\n"
    predictor, model = OnnxPredictor(tmp_path / "new" / "m.onnx"), sknn.load(models / "model.sknn")
    np.testing.assert_allclose(predictor.predict_proba(FRAME), model.predict_proba(FRAME), atol=1e-6)
    assert [feature["type"] for feature in predictor.metadata["features"]] == ["double", "string", "int64"]
    assert predictor.metadata["data"]["n_rows"] == 60


def test_a_single_estimator_needs_no_sample(models, capsys):
    assert main(["export", str(models / "model.sknn"), "--to", "onnx"]) == 0

    predictor, model = OnnxPredictor(models / "model.onnx"), sknn.load(models / "model.sknn")
    np.testing.assert_allclose(predictor.predict_proba(FRAME), model.predict_proba(FRAME), atol=1e-6)
    assert [feature["type"] for feature in predictor.metadata["features"]] == ["double", "string", "double"]
    assert predictor.metadata["data"] is None
    assert capsys.readouterr().out == f"{models / 'model.onnx'}: NeuralClassifier with 3 columns\n"


def test_an_estimator_that_was_fitted_on_an_array_needs_no_sample(models):
    assert main(["export", str(models / "array.sknn"), "--to", "onnx"]) == 0

    X, model = FRAME[["size", "shelf"]].to_numpy(), sknn.load(models / "array.sknn")
    np.testing.assert_allclose(OnnxPredictor(models / "array.onnx").predict(X), model.predict(X), rtol=1e-4, atol=1e-6)


def test_a_pipeline_is_exported_with_a_sample(models):
    arguments = ["export", str(models / "pipeline.sknn"), "--to", "onnx"]
    assert main([*arguments, "--sample", str(models / "known.parquet")]) == 0

    known = pd.read_parquet(models / "known.parquet")
    predictor, model = OnnxPredictor(models / "pipeline.onnx"), sknn.load(models / "pipeline.sknn")
    np.testing.assert_allclose(predictor.predict_proba(known), model.predict_proba(known), atol=1e-5)


def test_the_members_are_another_output(models, tmp_path):
    arguments = ["export", str(models / "model.sknn"), "--to", "onnx", "-o", str(tmp_path / "members.onnx")]
    assert main([*arguments, "--members"]) == 0

    predictor = OnnxPredictor(tmp_path / "members.onnx")
    assert [output.name for output in predictor.outputs] == ["label", "probabilities", "member_probabilities"]


@pytest.mark.parametrize("sample", [[], ["--sample", "table.csv"]])
def test_a_torch_program_has_the_suffix_pt2(models, sample, monkeypatch):
    monkeypatch.chdir(models)
    assert main(["export", "model.sknn", "--to", "pt2", *sample]) == 0

    model, files = sknn.load("model.sknn"), {"sknn.json": ""}
    program = torch.export.load("model.pt2", extra_files=files).module()
    expected = model.predict_proba(FRAME)
    np.testing.assert_allclose(program(*raw_tensors(model._features, FRAME)).numpy(), expected, atol=1e-6)
    assert json.loads(files["sknn.json"])["numbers"] == ["size", "shelf"]


def test_a_model_repository_has_a_model_with_the_name_of_the_file(models, tmp_path, capsys):
    arguments = ["export", str(models / "model.sknn"), "--to", "triton", "--sample", str(models / "table.csv")]
    versions = [tmp_path / "repository" / "model" / version for version in ("1", "2")]

    for version in versions:
        assert main([*arguments, "-o", str(tmp_path / "repository")]) == 0
        assert capsys.readouterr().out == f"{version}: NeuralClassifier with 3 columns\n"

    model = sknn.load(models / "model.sknn")
    for version in versions:
        predicted = OnnxPredictor(version / "model.onnx").predict_proba(FRAME)
        np.testing.assert_allclose(predicted, model.predict_proba(FRAME), atol=1e-6)
    assert 'name: "model"\n' in (tmp_path / "repository" / "model" / "config.pbtxt").read_text()


def test_a_model_repository_lies_beside_the_model_by_default(models, monkeypatch):
    monkeypatch.chdir(models)
    assert main(["export", "array.sknn", "--to", "triton"]) == 0

    assert Path("array_triton", "array", "1", "model.onnx").is_file()


@pytest.mark.tensorflow
@pytest.mark.parametrize("sample", [[], ["--sample", "table.csv"]])
def test_a_saved_model_is_a_folder(models, sample, tmp_path):
    import tensorflow as tf

    output = tmp_path / "serving" / "1"
    done = sknn_command(
        "export", "model.sknn", "--to", "savedmodel", "--output", output, *sample, folder=models, PYTHONWARNINGS=""
    )

    assert done.returncode == 0, done.stderr
    assert "serving_default" in tf.saved_model.load(str(output)).signatures
    metadata = json.loads((output / "assets.extra" / "sknn.json").read_text())
    assert (metadata["data"] is None) == (not sample)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pipeline.sknn", "--to", "onnx"], "A Pipeline does not know the types of its columns; give some rows"),
        (["pipeline.sknn", "--to", "pt2"], "got Pipeline; give the last step of a pipeline, or export all of it"),
        (["table.csv", "--to", "onnx"], "'table.csv' can't be loaded: it"),
        (
            ["model.sknn", "--to", "onnx", "--sample", "table.xlsx"],
            "table.xlsx: the name of a table has to end in .csv or .parquet",
        ),
        (["model.sknn", "--to", "onnx", "--sample", "nothing.csv"], "nothing.csv: No such file or directory"),
        (
            ["model.sknn", "--to", "onnx", "--sample", "label.csv"],
            "lacks columns that the model was fitted with: ['size",
        ),
        (
            ["model.sknn", "--to", "pt2", "--members"],
            "--members needs --to onnx or triton; --to pt2 has no such",
        ),
        (
            ["model.sknn", "--to", "triton", "-o", "taken"],
            "'taken/model' exists, and is not a model of Triton with config",
        ),
        (["model.sknn", "--to", "triton", "-o", "label.csv"], "path='label.csv' is a file; give the folder of a model"),
        (
            ["array.sknn", "--to", "onnx", "--sample", "table.csv"],
            "X has 4 features, but NeuralRegressor is expecting 2",
        ),
    ],
)
def test_export_errors_are_one_line(models, arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(models)
    Path("label.csv").write_text("label\nu\n")
    Path("taken", "model").mkdir(parents=True, exist_ok=True)

    assert main(["export", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("sknn export: error: ")
    assert message in err


def test_a_missing_package_is_named_with_its_extra(models, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorflow", None)

    assert main(["export", str(models / "model.sknn"), "--to", "savedmodel"]) == 2
    assert capsys.readouterr().err == (
        "sknn export: error: to_saved_model needs tensorflow; install it with: pip install 'sknn[tensorflow]'\n"
    )


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_a_folder_as_output_is_refused(models, kind, monkeypatch, capsys):
    monkeypatch.chdir(models)

    assert main(["export", "model.sknn", "--to", kind, "-o", "."]) == 2
    assert capsys.readouterr().err == "sknn export: error: --output . is a folder; give the path of a file\n"


def test_a_folder_as_model_is_refused(models, monkeypatch, capsys):
    monkeypatch.chdir(models)

    assert main(["export", ".", "--to", "onnx"]) == 2
    assert "path='.' is a folder" in capsys.readouterr().err


def test_an_export_never_overwrites_the_model(models, tmp_path, capsys):
    path = tmp_path / "model.pt2"
    path.write_bytes((models / "model.sknn").read_bytes())

    assert main(["export", str(path), "--to", "pt2"]) == 2
    assert "is the file that is read; use another path" in capsys.readouterr().err
    assert sknn.load(path).n_features_in_ == 3

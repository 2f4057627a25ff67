"""Saved models as the commands see them."""

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sknn
from sknn.cli.models import load_model
from sknn.export import to_onnx
from tests.cli.common import CUSTOMERS, FEATURES
from tests.common import TINY


@pytest.mark.parametrize("name", ["m.sknn", "m.onnx"])
def test_a_model_knows_its_columns_kinds_classes_and_target(customers, name):
    model = load_model(customers.folder / name)

    assert model.columns == FEATURES
    assert model.kinds == {"age": "number", "zip": "category", "spend": "number"}
    assert (model.classes, model.target) == (["no", "yes"], "churn")


@pytest.mark.parametrize("suffix", [".sknn", ".onnx"])
def test_a_pipeline_knows_its_columns_and_target(tmp_path, suffix):
    X, path = CUSTOMERS[["age", "spend"]].astype(float), tmp_path / f"p{suffix}"
    pipeline = make_pipeline(StandardScaler(), sknn.NeuralRegressor(**TINY))
    pipeline.fit(X, CUSTOMERS["spend"])
    sknn.save(pipeline, path) if suffix == ".sknn" else to_onnx(pipeline, X, path=path)
    model = load_model(path)

    assert (model.columns, model.classes, model.target) == (["age", "spend"], None, "spend")
    assert model.kinds == ({} if suffix == ".sknn" else {"age": "number", "spend": "number"})


@pytest.mark.parametrize("suffix", [".sknn", ".onnx"])
def test_a_model_of_arrays_has_no_names(tmp_path, suffix):
    X, path = CUSTOMERS[["age", "spend"]].to_numpy(dtype=float), tmp_path / f"a{suffix}"
    clf = sknn.NeuralClassifier(**TINY).fit(X, CUSTOMERS.index % 3)
    sknn.save(clf, path) if suffix == ".sknn" else to_onnx(clf, X, path=path)
    model = load_model(path)

    assert (model.columns, model.kinds, model.classes, model.target) == (None, {}, [0, 1, 2], None)
    np.testing.assert_array_equal(model.select(CUSTOMERS[["age", "spend"]], path), X)


def test_a_target_of_codes_is_read_as_the_classes_are(tmp_path):
    y = pd.Series(["01", "1", "10"] * 40, name="code")
    sknn.save(sknn.NeuralClassifier(**TINY).fit(CUSTOMERS[["age"]], y), tmp_path / "m.sknn")
    pd.DataFrame({"age": [30, 40], "code": ["1", "10"]}).to_csv(tmp_path / "t.csv", index=False)
    frame = load_model(tmp_path / "m.sknn").read(tmp_path / "t.csv", "code")

    assert frame["code"].tolist() == ["1", "10"]


def test_a_target_of_numbers_names_the_row_of_a_text(tmp_path):
    sknn.save(sknn.NeuralClassifier(**TINY).fit(CUSTOMERS[["age"]], CUSTOMERS.index % 3), tmp_path / "m.sknn")
    (tmp_path / "t.csv").write_text("age,y\n30,1\n40,one\n")

    with pytest.raises(ValueError, match=r"column 'y' of .* has to hold numbers, and holds 'one' in row 2"):
        load_model(tmp_path / "m.sknn").read(tmp_path / "t.csv", "y")


def test_only_the_columns_of_the_model_are_selected_in_their_order(customers):
    model = load_model(customers.folder / "m.sknn")
    frame = CUSTOMERS.assign(more=0)[["more", "spend", "zip", "age"]]

    assert list(model.select(frame, "t.csv").columns) == FEATURES


def test_missing_columns_are_named_with_the_nearest_other_one(customers):
    model = load_model(customers.folder / "m.onnx")

    with pytest.raises(ValueError, match=r"t\.csv lacks columns of the model: 'age', 'zip'\. Did you mean 'Age'\?"):
        model.select(CUSTOMERS.rename(columns={"age": "Age"}).drop(columns="zip"), "t.csv")


def test_a_folder_is_no_model(tmp_path):
    with pytest.raises(IsADirectoryError, match=r"is a folder; give a \.sknn or \.onnx file"):
        load_model(tmp_path)

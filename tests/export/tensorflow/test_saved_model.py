"""A SavedModel has the predictions of its pipeline, and inputs named after the columns."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from sknn import NeuralClassifier, NeuralRegressor
from sknn.export import to_saved_model
from sknn.export.tensorflow.saved_model import signature_names
from tests.common import ALIKE

rng = np.random.default_rng(0)
QUICK = {"hidden_layer_sizes": (8, 4), "max_iter": 2, "ensemble_size": 2, "random_state": 0}
FRAME = pd.DataFrame(
    {
        "mean size": rng.normal(1e3, 1, 80),
        "class": np.where(np.arange(80) % 7, rng.integers(0, 5, 80), np.nan),
        "city": rng.choice(["Oslo", "Größe", None], 80),
        "many": rng.choice([f"level {i}" for i in range(12)], 80),
        "shelf": rng.integers(0, 9, 80),
        "new": rng.random(80) > 0.5,
    }
)
NUMBERS = rng.normal(size=(80, 3))
LABELS = rng.choice(["u", "v", "ü"], 80)
VALUES = 1e4 + 100 * rng.normal(size=80)
PREPARED = make_column_transformer(
    (make_pipeline(SimpleImputer(), StandardScaler(), PCA(2)), ["class", "mean size"]),
    (OneHotEncoder(handle_unknown="ignore"), ["many"]),
    (MinMaxScaler(), ["shelf"]),
)
ORDINAL = make_column_transformer((OrdinalEncoder(), ["many"]), ("passthrough", ["shelf"]))

CASES = {
    "raw frame": (NeuralClassifier(), FRAME, LABELS),
    "two classes, integers": (NeuralClassifier(ensemble_size=1), FRAME, (LABELS == "u").astype(int)),
    "booleans": (NeuralClassifier(activation="gelu"), FRAME, LABELS == "u"),
    "multilabel": (NeuralClassifier(), FRAME, np.c_[LABELS == "u", LABELS == "v"].astype(int)),
    "array": (NeuralClassifier(), NUMBERS, LABELS),
    "array of float32": (NeuralClassifier(scaling="quantile"), NUMBERS.astype(np.float32), LABELS),
    "embeddings": (NeuralClassifier(numeric_embedding="periodic", batch_norm=True), FRAME, LABELS),
    "bins": (NeuralRegressor(numeric_embedding="piecewise_linear"), FRAME, VALUES),
    "one kind": (NeuralClassifier(**ALIKE), FRAME, LABELS),
    "five members": (NeuralRegressor(ensemble_size=5), FRAME, VALUES),
    "regressor": (NeuralRegressor(), FRAME, VALUES),
    "two outputs": (NeuralRegressor(), NUMBERS, np.c_[VALUES, -VALUES]),
    "quantiles": (NeuralRegressor(loss="quantile", quantile=(0.1, 0.5, 0.9)), FRAME, VALUES),
    "log link": (NeuralRegressor(loss="poisson"), FRAME, VALUES),
    "double precision": (NeuralClassifier(precision="float64", activation="selu"), FRAME, LABELS),
    "low precision": (NeuralClassifier(precision="bfloat16", scaling="robust"), FRAME, LABELS),
    "pipeline": (make_pipeline(PREPARED, NeuralClassifier()), FRAME, LABELS),
    "ordinal pipeline": (make_pipeline(ORDINAL, NeuralRegressor()), FRAME, VALUES),
}


def fitted(model, X, y):
    estimator = model.steps[-1][1] if hasattr(model, "steps") else model
    usual = type(estimator)()
    estimator.set_params(**{k: v for k, v in QUICK.items() if getattr(estimator, k) == getattr(usual, k)})
    return model.fit(X, y)


def tensors_of(X, names):
    """Return the tensors that a program without sknn would send."""
    import tensorflow as tf

    if not hasattr(X, "columns"):
        return {"X": tf.constant(X)}
    columns = {name: X[name].fillna("") if X[name].dtype.kind == "O" else X[name] for name in X}
    columns = {name: column.fillna("") if column.dtype == "str" else column for name, column in columns.items()}
    return {names[name]: tf.constant(column.to_numpy()[:, None]) for name, column in columns.items()}


@pytest.mark.tensorflow
@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
def test_a_saved_model_predicts_what_the_model_predicts(case, tmp_path):
    import tensorflow as tf

    model, X, y = case
    model = fitted(model, X, y)
    names = to_saved_model(model, X, tmp_path / "model")
    loaded = tf.saved_model.load(str(tmp_path / "model"))

    for rows in (X, X[:1]):
        results = loaded.signatures["serving_default"](**tensors_of(rows, names))
        results = {name: value.numpy() for name, value in results.items()}
        if hasattr(model, "classes_"):
            assert sorted(results) == ["label", "probabilities"]
            labels = results["label"]
            labels = np.array([text.decode() for text in labels]) if labels.dtype == object else labels
            is_low = getattr(model, "precision", "") == "bfloat16"
            if not is_low:
                np.testing.assert_array_equal(labels, model.predict(rows))
            tolerance = 2e-2 if is_low else 1e-5
            np.testing.assert_allclose(results["probabilities"], model.predict_proba(rows), atol=tolerance)
        else:
            (values,) = results.values()
            np.testing.assert_allclose(values.reshape(model.predict(rows).shape), model.predict(rows), rtol=1e-5)


@pytest.mark.tensorflow
def test_inputs_have_names_and_types_and_the_folder_holds_the_metadata(tmp_path):
    import tensorflow as tf

    model = NeuralClassifier(**QUICK).fit(FRAME, LABELS)
    names = to_saved_model(model, FRAME, tmp_path / "new folder" / "model")
    loaded = tf.saved_model.load(str(tmp_path / "new folder" / "model"))
    inputs = loaded.signatures["serving_default"].structured_input_signature[1]

    assert {name: (spec.shape.as_list(), spec.dtype.name) for name, spec in inputs.items()} == {
        "mean_size": ([None, 1], "float64"),
        "class_": ([None, 1], "float64"),
        "city": ([None, 1], "string"),
        "many": ([None, 1], "string"),
        "shelf": ([None, 1], "int64"),
        "new": ([None, 1], "bool"),
    }
    metadata = json.loads((tmp_path / "new folder" / "model" / "assets.extra" / "sknn.json").read_text())
    assert metadata["classes"] == ["u", "v", "ü"]
    assert metadata["signature_names"] == names


@pytest.mark.tensorflow
def test_a_column_may_have_the_name_of_an_output(tmp_path):
    import tensorflow as tf

    frame = pd.DataFrame(NUMBERS, columns=["label", "probabilities", "X"])
    model = NeuralClassifier(**QUICK).fit(frame, LABELS)
    names = to_saved_model(model, frame, tmp_path / "model")
    results = tf.saved_model.load(str(tmp_path / "model")).signatures["serving_default"](**tensors_of(frame, names))

    np.testing.assert_allclose(results["probabilities_"], model.predict_proba(frame), atol=1e-5)


@pytest.mark.tensorflow
def test_a_failed_export_leaves_no_files(tmp_path, monkeypatch):
    model = NeuralClassifier(**QUICK).fit(NUMBERS, LABELS)
    monkeypatch.setitem(
        sys.modules["sknn.export.tensorflow.saved_model"].FUNCTIONS, "Sigmoid", lambda tf, x: tf.tanh(x)
    )
    monkeypatch.setitem(sys.modules["sknn.export.tensorflow.saved_model"].FUNCTIONS, "Softmax", lambda tf, x, axis: x)

    with pytest.raises(ValueError, match="The SavedModel does not do what the model does: predict_proba gives"):
        to_saved_model(model, NUMBERS, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.tensorflow
def test_operators_that_cannot_be_translated_are_named(tmp_path):
    tree = DecisionTreeClassifier(max_depth=2).fit(NUMBERS, LABELS)

    with pytest.raises(ValueError, match="operators that are not translated to TensorFlow: TreeEnsembleClassifier"):
        to_saved_model(tree, NUMBERS.astype(np.float32), tmp_path / "model")


@pytest.mark.tensorflow
def test_a_folder_is_never_overwritten(tmp_path):
    model = NeuralClassifier(**QUICK).fit(NUMBERS, LABELS)

    with pytest.raises(FileExistsError, match=r"exists; remove it, or give another"):
        to_saved_model(model, NUMBERS, tmp_path)


def test_without_tensorflow_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)

    with pytest.raises(ImportError, match=r"needs tensorflow; install it with: pip install 'sknn\[tensorflow\]'"):
        to_saved_model(NeuralClassifier(), NUMBERS, tmp_path / "model")


@given(st.lists(st.text(max_size=6) | st.sampled_from(["a b", "a_b", "a-b", "class", "self", "2"]), unique=True))
def test_the_names_of_a_signature_are_different_python_names(names):
    given = signature_names(names)

    assert list(given) == names
    assert len(set(given.values())) == len(names)
    for name, new in given.items():
        assert new.isascii()
        assert new.isidentifier()
        assert new != "self"
        compile(f"def predict(self, {new}): pass", "", "exec")
        if name.isidentifier() and name.isascii() and name[0] != "_" and name not in ("self", "class"):
            assert new in (name, f"{name}_")  # a keyword gets an underscore

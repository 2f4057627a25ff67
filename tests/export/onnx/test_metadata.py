"""The metadata of a graph."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

import sknn
from sknn import NeuralClassifier, NeuralRegressor
from sknn.export import to_onnx
from tests.common import TINY

X = np.random.default_rng(0).normal(size=(60, 2))
FRAME = pd.DataFrame({"size": X[:, 0], "city": ["Oslo", "Rome", None] * 20})


def document(model, X):
    (entry,) = to_onnx(model, X).metadata_props
    assert entry.key == "sknn"
    return json.loads(entry.value)


def test_columns_outputs_and_classes():
    metadata = document(NeuralClassifier(**TINY).fit(FRAME, np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)]), FRAME)

    assert metadata["format"] == 2
    assert metadata["sknn_version"] == sknn.__version__
    assert (metadata["estimator"], metadata["task"], metadata["classes"]) == (
        "NeuralClassifier",
        "binary",
        ["no", "yes"],
    )
    assert metadata["features"] == [{"name": "size", "type": "double"}, {"name": "city", "type": "string"}]
    assert metadata["inputs"][0] == {"name": "size", "type": "double", "shape": [None, 1]}
    assert metadata["outputs"] == ["label", "probabilities"]
    assert metadata["quantiles"] is None


def test_an_array_has_one_input_and_a_feature_per_column():
    metadata = document(NeuralRegressor(**TINY).fit(X, X[:, 0]), X)

    assert metadata["inputs"] == [{"name": "X", "type": "double", "shape": [None, 2]}]
    assert metadata["features"] == [{"name": "x0", "type": "double"}, {"name": "x1", "type": "double"}]
    assert (metadata["outputs"], metadata["classes"]) == (["variable"], None)


def test_the_data_are_summarised():
    frame = FRAME.assign(size=FRAME["size"].where(FRAME.index % 6 > 0))
    metadata = document(NeuralRegressor(**TINY).fit(frame, X[:, 0]), frame)["data"]
    size, city = metadata["columns"]
    present = frame["size"].dropna()

    assert metadata["n_rows"] == 60
    assert (size["kind"], size["count"], size["missing"]) == ("number", 50, pytest.approx(1 / 6))
    assert (size["mean"], size["std"]) == pytest.approx((present.mean(), present.std(ddof=0)))
    assert size["deciles"] == pytest.approx(present.quantile(np.linspace(0, 1, 11)).tolist())
    third = pytest.approx(1 / 3)
    assert city == {
        "name": "city",
        "kind": "category",
        "missing": third,
        "n_levels": 2,
        "levels": {"Oslo": third, "Rome": third},
        "other": 0.0,
    }


def test_summaries_of_an_empty_column_and_of_many_levels():
    frame = pd.DataFrame({"none": np.full(150, np.nan), "name": [f"n{i}" for i in range(150)]})
    none, name = document(NeuralRegressor(**TINY).fit(frame, np.arange(150.0)), frame)["data"]["columns"]

    assert (none["count"], none["missing"], none["mean"], none["deciles"], none["centres"]) == (0, 1, None, None, None)
    assert (name["n_levels"], len(name["levels"])) == (150, 100)


def test_numbers_of_any_size_are_summarised():
    tiny, large = np.array([1.0, 2, 3] * 20) * 5e-324, np.linspace(-1.0, 1.0, 60) * np.finfo(float).max
    frame = pd.DataFrame({"tiny": tiny, "large": large, "zero": 0.0, "far": np.linspace(1e9, 1e9 + 1, 60)})
    metadata = document(NeuralRegressor(**TINY).fit(frame, X[:, 0]), frame)["data"]["columns"]

    assert [column["deciles"] for column in metadata] == [
        [1 * 5e-324] * 4 + [2 * 5e-324] * 3 + [3 * 5e-324] * 4,
        pytest.approx((np.linspace(-1.0, 1.0, 11) * np.finfo(float).max).tolist()),
        [0.0] * 11,
        pytest.approx(np.linspace(1e9, 1e9 + 1, 11).tolist(), abs=1e-6),
    ]
    assert [column["mean"] for column in metadata] == [2 * 5e-324, pytest.approx(0, abs=1e294), 0.0, 1e9 + 0.5]
    expected = [1 * 5e-324, (large / 1e300).std() * 1e300, 0.0, (frame["far"] - 1e9).std(ddof=0)]
    assert [column["std"] for column in metadata] == pytest.approx(expected, rel=1e-6, abs=0)


def test_the_moments_agree_with_numpy():
    metadata = document(NeuralRegressor(**TINY).fit(X, X[:, 0]), X)["data"]["columns"]

    assert [(column["mean"], column["std"]) for column in metadata] == [
        (x.mean(), x.std()) for x in np.ascontiguousarray(X.T)
    ]
    assert [column["deciles"] for column in metadata] == np.quantile(X, np.linspace(0, 1, 11), axis=0).T.tolist()


@pytest.mark.parametrize(
    ("model", "y", "task"),
    [
        (NeuralClassifier(**TINY), np.digitize(X[:, 0], [-0.5, 0.5]), "multiclass"),
        (NeuralClassifier(**TINY), (X > 0).astype(int), "multilabel"),
        (NeuralRegressor(**TINY), X, "regression"),
        (NeuralRegressor(loss="quantile", quantile=(0.1, 0.9), **TINY), X[:, 0], "quantiles"),
        (LogisticRegression(), np.digitize(X[:, 0], [0]), "binary"),
        (LinearRegression(), X[:, 0], "regression"),
    ],
    ids=["multiclass", "multilabel", "multi-output", "quantiles", "foreign classifier", "foreign regressor"],
)
def test_the_metadata_hold_the_task(model, y, task):
    metadata = document(model.fit(X, y), X)

    assert metadata["task"] == task
    assert metadata["quantiles"] == ([0.1, 0.9] if task == "quantiles" else None)
    assert metadata["classes"] == (model.classes_.tolist() if hasattr(model, "classes_") else None)


def test_numeric_classes_stay_numbers_and_bools_stay_bools():
    assert document(NeuralClassifier(**TINY).fit(X, X[:, 0] > 0), X)["classes"] == [False, True]


def test_rows_of_more_dimensions_have_no_columns():
    import torch

    images = X.reshape(60, 1, 2).astype(np.float32)
    param_buffer = lambda shape, k: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, k))  # noqa: E731
    metadata = document(NeuralRegressor(module=param_buffer, ensemble_size=1, max_iter=1).fit(images, X[:, 0]), images)

    assert metadata["inputs"] == [{"name": "X", "type": "float", "shape": [None, 1, 2]}]
    assert (metadata["features"], metadata["data"]["n_rows"], metadata["data"]["columns"]) == ([], 60, [])


@pytest.mark.parametrize(
    ("model", "y", "names", "kind"),
    [
        (NeuralClassifier(**TINY), np.digitize(X[:, 0], [-0.5, 0.5]), ["prediction"], "category"),
        (NeuralClassifier(**TINY), (X > 0).astype(int), ["prediction_0", "prediction_1"], "category"),
        (NeuralRegressor(**TINY), X[:, 0], ["prediction"], "number"),
    ],
    ids=["classes", "several labels", "values"],
)
def test_the_predictions_for_the_sample_are_described(model, y, names, kind):
    described = document(model.fit(X, y), X)["data"]["predictions"]
    expected = pd.DataFrame(model.predict(X), columns=names)

    assert [(column["name"], column["kind"]) for column in described] == [(name, kind) for name in names]
    for column in described:
        predicted = expected[column["name"]]
        if kind == "category":
            shares = predicted.astype(str).value_counts(normalize=True)
            assert column["levels"] == pytest.approx(shares.to_dict())
        else:
            assert column["mean"] == pytest.approx(predicted.mean())

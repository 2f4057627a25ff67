"""The card in the metadata describes the training, in plain JSON."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sknn
from sknn import NeuralClassifier, NeuralRegressor
from sknn.export import to_onnx
from sknn.export.onnx.card import changed_parameters, describe_training
from tests.common import ALIKE, SMALL

X = np.random.default_rng(0).normal(size=(60, 3))
CODES = np.digitize(X[:, 0], [-0.5, 0.5])
FRAME = pd.DataFrame(X, columns=["a", "b", "c"])


def card(model, table, **options):
    return json.loads(to_onnx(model, table, **options).metadata_props[0].value)["card"]


def test_the_card_of_a_classifier():
    clf = NeuralClassifier(**SMALL | {"hidden_layer_sizes": (8, 6)}).fit(FRAME, pd.Series(CODES, name="grade"))

    assert card(clf, FRAME) == {
        "Estimator": "NeuralClassifier",
        "Task": "Classification",
        "Target": "grade",
        "Classes": ["0", "1", "2"],
        "Rows of the sample": 60,
        "Columns": 3,
        "Members": 2,
        "Layers": "3 → 8 → 6 → 3",
        "Weights of a member": (3 * 8 + 8) + (8 * 6 + 6) + (6 * 3 + 3) + len(clf.net_.module_.layers[0].scale[0]),
        "Epochs": clf.n_iter_,
        "Validation score": -clf.best_validation_score_,
        "Validation metric": "loss",
        "Changed parameters": {
            "batch_norm": "False", "ensemble_size": "2", "hidden_layer_sizes": "(8, 6)", "max_iter": "4",
            "numeric_embedding": "None", "random_state": "0", "target_means": "False",
        },
        "sknn version": sknn.__version__,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("scoring", "metric"), [(None, "accuracy"), ("roc_auc_ovr", "roc_auc_ovr"), ("f1_macro", "f1_macro")]
)
def test_a_score_is_that_of_the_estimator_and_has_the_name_of_its_metric(scoring, metric):
    clf = NeuralClassifier(**SMALL, scoring=scoring).fit(X, CODES)

    found = card(clf, X)
    assert (found["Validation score"], found["Validation metric"]) == (clf.best_validation_score_, metric)


@pytest.mark.parametrize(
    ("parameters", "metric"), [({}, "r2"), ({"loss": "quantile", "quantile": (0.1, 0.9)}, "d2")], ids=["r2", "d2"]
)
def test_the_score_of_a_regressor(parameters, metric):
    reg = NeuralRegressor(**SMALL, scoring=None, **parameters).fit(X, X[:, 0])

    assert card(reg, X)["Validation metric"] == metric


def test_what_is_not_known_is_left_out():
    reg = NeuralRegressor(**SMALL, early_stopping=False).fit(X, X[:, 0])
    found = card(reg, None)

    assert not {"Validation score", "Validation metric", "Rows of the sample", "Steps", "Target", "Classes"} & set(
        found
    )
    assert found["Task"] == "Regression"


def test_the_card_of_a_pipeline_names_its_steps():
    found = card(make_pipeline(StandardScaler(), NeuralRegressor(**SMALL)).fit(X, X[:, 0]), X, members=True)

    assert found["Steps"] == ["StandardScaler", "NeuralRegressor"]
    assert found["Changed parameters"]["ensemble_size"] == "2"


def test_the_card_of_a_model_without_a_network():
    found = card(LogisticRegression(C=2.0).fit(X, CODES > 0), X)

    assert found["Classes"] == ["False", "True"]
    assert found["Changed parameters"] == {"C": "2.0"}
    assert "Members" not in found
    assert "Task" not in card(StandardScaler().fit(X), X)


def test_the_layers_of_a_custom_module_are_not_listed():
    module = lambda d, k: torch.nn.Linear(d, k)  # noqa: E731
    found = card(NeuralClassifier(module=module, ensemble_size=2, max_iter=1).fit(X, CODES), X)

    assert "Layers" not in found
    assert found["Weights of a member"] == 3 * 3 + 3


def test_the_card_of_several_kinds_of_members():
    kinds = SMALL | dict.fromkeys(ALIKE, "auto") | {"ensemble_size": 3}
    reg = NeuralRegressor(**kinds).fit(FRAME, X[:, 0])
    found, weights = card(reg, FRAME), reg.member_weights_

    first, second = reg.module_.parts
    n_scales = [len(part.layers[0].scale[0]) for part in (first, second)]
    assert found["Members"] == 3
    assert found["Kinds of members"] == [
        f"batch norm: 2 members, weight {weights[:2].sum():.2f}",
        f"piecewise linear: 1 member, weight {weights[2]:.2f}",
    ]
    assert found["Layers"] == ["batch norm: 3 → 6 → 1", "piecewise linear: 24 → 6 → 1"]
    assert found["Weights of a member"] == [
        f"batch norm: {(3 * 6 + 6 + 2 * 6) + (6 + 1) + n_scales[0]:,}",
        f"piecewise linear: {3 * (48 * 8 + 8) + (24 * 6 + 6) + (6 + 1) + n_scales[1]:,}",
    ]


def test_a_saved_model_has_the_same_card(tmp_path):
    clf = NeuralClassifier(**SMALL, scoring=None).fit(X, CODES)
    sknn.save(clf, tmp_path / "model.sknn")
    loaded = sknn.load(tmp_path / "model.sknn")

    assert describe_training(loaded, loaded, 60) == describe_training(clf, clf, 60)


def test_parameters_are_texts_without_addresses():
    def smooth(x):
        return x

    clf = NeuralClassifier(activation=smooth, tol=np.float64("inf"), random_state=np.random.RandomState(0), alpha=1e-9)

    assert changed_parameters(clf) == {
        "activation": "smooth", "alpha": "1e-09", "random_state": "RandomState", "tol": "inf",
    }  # fmt: skip
    long = changed_parameters(NeuralClassifier(class_weight=dict.fromkeys(range(100), 1.5)))["class_weight"]
    assert (len(long), long[-3:]) == (80, "...")

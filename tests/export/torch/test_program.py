"""A `torch.export` program has the predictions of the estimator, also in a process without sknn."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.export.passes import move_to_device_pass

from sknn import NeuralClassifier, NeuralRegressor
from sknn.export.torch import program
from sknn.export.torch.encoder import raw_tensors
from sknn.export.torch.program import to_torch_program
from sknn.network.activations import ACTIVATIONS
from tests.common import ALIKE, printed

rng = np.random.default_rng(0)
QUICK = {"hidden_layer_sizes": (8, 4), "max_iter": 2, "ensemble_size": 2, "random_state": 0}
FRAME = pd.DataFrame(
    {
        "far": rng.normal(1e6, 1, 120),
        "city": rng.choice(["Oslo", "Rome", None], 120),
        "gaps": np.where(np.arange(120) % 7, rng.integers(0, 5, 120), np.nan),
        "many": rng.choice([f"level {i}" for i in range(12)], 120),
        "three": rng.choice(list("pqr"), 120),
    }
)
NUMBERS = FRAME[["far", "gaps"]].to_numpy()
LABELS = rng.choice(["u", "v", "w"], 120)
VALUES = 1e4 + 100 * rng.normal(size=120)

CASES = {
    "several classes": (NeuralClassifier(), FRAME, LABELS),
    "two classes": (NeuralClassifier(scaling="standard"), FRAME, LABELS == "u"),
    "multilabel": (NeuralClassifier(), FRAME[["city", "many"]], np.c_[LABELS == "u", LABELS == "v"].astype(int)),
    "quantile scaling": (NeuralClassifier(scaling="quantile"), FRAME, LABELS),
    "no scaling, no hidden layer": (NeuralClassifier(scaling=None, hidden_layer_sizes=()), NUMBERS % 1, LABELS),
    "periodic": (NeuralClassifier(numeric_embedding="periodic"), FRAME, LABELS),
    "piecewise linear": (NeuralClassifier(numeric_embedding="piecewise_linear"), FRAME, LABELS),
    "batch norm and dropout": (NeuralClassifier(batch_norm=True, dropout=0.3), FRAME, LABELS),
    "double precision": (NeuralClassifier(precision="float64"), FRAME, LABELS),
    "sparse": (NeuralClassifier(), sp.csr_array(rng.random((120, 5)) * (rng.random((120, 5)) < 0.3)), LABELS),
    "one kind": (NeuralClassifier(**ALIKE), FRAME, LABELS),
    "kinds of equal weight": (NeuralClassifier(early_stopping=False), FRAME, LABELS),
    "five members": (NeuralRegressor(ensemble_size=5), FRAME, VALUES),
    "one member": (NeuralRegressor(ensemble_size=1), FRAME, VALUES),
    "a column of values": (NeuralRegressor(), NUMBERS, VALUES[:, None]),
    "two outputs": (NeuralRegressor(), NUMBERS, np.c_[VALUES, -VALUES]),
    "quantiles": (NeuralRegressor(loss="quantile", quantile=(0.1, 0.5, 0.9)), FRAME, VALUES),
    "log link": (NeuralRegressor(loss="poisson"), FRAME, VALUES),
    "tiny values": (NeuralRegressor(), NUMBERS, VALUES * 1e-9),
}


def with_quick(estimator):
    parameters = {
        name: value for name, value in QUICK.items() if getattr(estimator, name) == getattr(type(estimator)(), name)
    }
    return estimator.set_params(**parameters)


def predictions(estimator, X):
    return estimator.predict_proba(X) if hasattr(estimator, "classes_") else estimator.predict(X)


@pytest.mark.sample(3)
@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
def test_a_program_predicts_what_the_estimator_predicts(case):
    estimator, X, y = case
    estimator = with_quick(estimator).fit(X, y)
    program = to_torch_program(estimator).module()

    for rows in (X, X[:1]):
        expected = predictions(estimator, rows)
        actual = program(*raw_tensors(estimator._features, rows)).numpy()
        assert actual.dtype == np.float64
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_every_activation_agrees_with_that_of_torch(name):
    x = torch.linspace(-30, 30, 601, dtype=torch.float64, requires_grad=True)  # ours overwrite other tensors

    torch.testing.assert_close(program.ACTIVATIONS[name]()(x), ACTIVATIONS[name][0](x)[0], rtol=1e-12, atol=1e-12)


def test_a_saved_program_runs_without_sknn_and_has_a_description(tmp_path):
    estimator = NeuralClassifier(**QUICK).fit(FRAME, LABELS)
    to_torch_program(estimator, FRAME, tmp_path / "model.pt2")
    torch.save(raw_tensors(estimator._features, FRAME), tmp_path / "rows.pt")
    code = """
import sys, torch
files = {"sknn.json": ""}
program = torch.export.load("model.pt2", extra_files=files).module()
torch.save(program(*torch.load("rows.pt")), "predicted.pt")
print(files["sknn.json"])
assert not {"sknn", "sklearn", "skorch"} & set(sys.modules)
"""
    output = printed("-P", "-W", "error", "-c", code, cwd=tmp_path)

    predicted = torch.load(tmp_path / "predicted.pt").numpy()
    np.testing.assert_allclose(predicted, estimator.predict_proba(FRAME), atol=1e-6)
    assert json.loads(output) == {
        "classes": ["u", "v", "w"],
        "numbers": ["far", "gaps"],
        "codes": {
            "city": ["Oslo", "Rome"],
            "many": sorted(f"level {i}" for i in range(12)),
            "three": ["p", "q", "r"],
        },
    }


def test_codes_out_of_range_count_as_unknown():
    estimator = NeuralClassifier(**QUICK).fit(FRAME[["many", "three"]], LABELS)
    program = to_torch_program(estimator).module()
    numbers = torch.zeros(4, 0, dtype=torch.float64)

    unknown = estimator.predict_proba(pd.DataFrame({"many": ["?"], "three": ["?"]}))
    codes = torch.tensor([[0, 0], [-1, 4], [13, -5], [10**9, 4]])
    np.testing.assert_allclose(program(numbers, codes).numpy(), np.repeat(unknown, 4, 0), atol=1e-6)


def test_a_program_can_be_moved_to_another_device():
    """The device `meta` replaces a GPU: like a GPU it refuses tensors of other devices."""
    estimator = NeuralClassifier(scaling="quantile", **QUICK).fit(FRAME, LABELS)
    program = move_to_device_pass(to_torch_program(estimator), "meta").module()

    assert program(*(tensor.to("meta") for tensor in raw_tensors(estimator._features, FRAME))).shape == (120, 3)


@pytest.mark.parametrize("rows", [1, 120])
def test_a_sample_may_have_any_number_of_rows(rows):
    estimator = NeuralClassifier(**QUICK).fit(FRAME, LABELS)
    program = to_torch_program(estimator, FRAME.head(rows)).module()

    actual = program(*raw_tensors(estimator._features, FRAME)).numpy()
    np.testing.assert_allclose(actual, estimator.predict_proba(FRAME), atol=1e-6)


def test_the_program_overflows_where_the_estimator_does(tmp_path):
    estimator = NeuralRegressor(loss="poisson", scaling=None, **QUICK).fit(NUMBERS % 1, VALUES)
    for part in estimator.net_.module_.parts:
        part.param_buffer.mul_(1e3)

    to_torch_program(estimator, path=tmp_path / "model.pt2")
    assert (tmp_path / "model.pt2").exists()


def flat_network(in_features, out_features):
    size = in_features if isinstance(in_features, int) else int(np.prod(in_features))
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(size, out_features))


def test_a_custom_module_is_exported_with_its_shape():
    images = rng.normal(size=(60, 1, 4, 4))
    estimator = NeuralClassifier(module=flat_network, max_iter=2, random_state=0).fit(images, LABELS[:60])

    with pytest.raises(ValueError, match="X_sample is needed for a module whose rows have more than one dimension"):
        to_torch_program(estimator)
    program = to_torch_program(estimator, images[:3]).module()
    np.testing.assert_allclose(program(torch.tensor(images)).numpy(), estimator.predict_proba(images), atol=1e-6)


class Forgetful(torch.nn.Module):
    """A module that computes something else when it is exported."""

    def __init__(self, in_features, out_features):
        super().__init__()
        self.linear = torch.nn.Linear(in_features, out_features)

    def forward(self, x):
        return self.linear(x) + (1 if torch.compiler.is_exporting() else 0) * torch.arange(3)


def test_a_program_with_different_predictions_is_not_written(tmp_path):
    estimator = NeuralClassifier(module=Forgetful, max_iter=1, random_state=0).fit(NUMBERS, LABELS)

    with pytest.raises(RuntimeError, match="The program's predictions differ from the estimator's by up to"):
        to_torch_program(estimator, path=tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_program_of_a_bfloat16_network_stays_within_its_tolerance():
    estimator = NeuralClassifier(precision="bfloat16", **QUICK).fit(NUMBERS, LABELS)
    program = to_torch_program(estimator).module()

    np.testing.assert_allclose(program(torch.tensor(NUMBERS)).numpy(), estimator.predict_proba(NUMBERS), atol=2e-2)


def test_objects_that_cannot_be_exported_are_refused():
    pipeline = make_pipeline(StandardScaler(), NeuralClassifier())

    with pytest.raises(
        TypeError, match="got Pipeline; give the last step of a pipeline, or export all of it with to_onnx"
    ):
        to_torch_program(pipeline)
    with pytest.raises(NotFittedError):
        to_torch_program(NeuralClassifier())


def test_an_export_does_not_change_the_estimator():
    estimator = NeuralClassifier(**QUICK).fit(FRAME, LABELS)
    before = estimator.predict_proba(FRAME)
    to_torch_program(estimator)

    np.testing.assert_array_equal(estimator.predict_proba(FRAME), before)
    np.testing.assert_array_equal(estimator.partial_fit(FRAME, LABELS).predict(FRAME).shape, (120,))
    assert all(p.requires_grad for p in estimator.module_.parameters())

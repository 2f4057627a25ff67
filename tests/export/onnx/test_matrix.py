"""Every task with every type of table: the graph's predictions of new rows against the estimator's."""

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sknn import NeuralClassifier, NeuralRegressor
from sknn.export import to_onnx
from sknn.export.onnx.inputs import infer_inputs, make_feed
from tests.common import ALIKE

N = 80
SMALL = {"hidden_layer_sizes": (8,), "max_iter": 2, "random_state": 0}


class TwoLayers(torch.nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.first = torch.nn.Linear(in_features, 6)
        self.norm = torch.nn.BatchNorm1d(6)
        self.last = torch.nn.Linear(6, out_features)

    def forward(self, x):
        return self.last(torch.nn.functional.dropout(torch.tanh(self.norm(self.first(x))), 0.2, self.training))


def table(seed, new=False):
    """Return rows with missing values; new rows also have categories that the fit has not seen."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "height": rng.normal(size=N),
            "year": rng.integers(1990, 2020, N),
            "plan": rng.choice(["free", "paid"], N),
            "city": rng.choice(["Oslo", "Rome", "Bern"], N),
            "shop": rng.choice([f"shop {i}" for i in range(12)], N),
            "member": rng.random(N) < 0.5,
            "far": rng.normal(1e6, 3, N),
        }
    )
    frame.loc[::9, "height"] = np.nan
    frame.loc[::7, ["plan", "city"]] = np.nan  # pandas 2 keeps None, which an imputer takes for a category
    frame.loc[::5, "shop"] = None
    if new:
        frame.loc[::4, ["plan", "city", "shop"]] = "never seen"
        frame.loc[1, ["height", "far"]] = np.nan
    return frame


def mixed_pipeline(est):
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    words = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    return make_pipeline(make_column_transformer((numbers, ["height", "far"]), (words, ["plan", "city"])), est)


def numbers(seed):
    return np.random.default_rng(seed).normal(3.0, 2.0, (N, 4))


def sparse(seed):
    rng = np.random.default_rng(seed)
    return sp.csr_array(rng.random((N, 6)) * (rng.random((N, 6)) < 0.3))


# Parameters, function that wraps the estimator, training rows, new rows.
TABLES = {
    "numbers": ({"ensemble_size": 1}, None, numbers(0), numbers(1)),
    "float32 numbers": ({"ensemble_size": 1}, None, numbers(0).astype(np.float32), numbers(1).astype(np.float32)),
    "mixed": ({"ensemble_size": 1}, None, table(0), table(1, new=True)),
    "sparse": ({"ensemble_size": 1}, None, sparse(0), sparse(1)),
    "ensemble": ({"ensemble_size": 3, "batch_norm": True}, None, table(0), table(1, new=True)),
    "alike": ({"ensemble_size": 3} | ALIKE, None, table(0), table(1, new=True)),
    "kinds": ({"ensemble_size": 3}, None, table(0), table(1, new=True)),
    "kinds in float64": ({"ensemble_size": 3, "precision": "float64"}, None, table(0), table(1, new=True)),
    "kinds with bins": (
        {"ensemble_size": 4, "numeric_embedding": "piecewise_linear"},
        None,
        table(0),
        table(1, new=True),
    ),
    "kinds without numbers": (
        {"ensemble_size": 2},
        None,
        *(t[["plan", "shop"]] for t in (table(0), table(1, new=True))),
    ),
    "periodic": ({"ensemble_size": 2, "numeric_embedding": "periodic"}, None, table(0), table(1, new=True)),
    "piecewise": (
        {"ensemble_size": 2, "numeric_embedding": "piecewise_linear", "batch_norm": False},
        None,
        table(0),
        table(1, new=True),
    ),
    "one with all embeddings": (
        {"ensemble_size": 1, "numeric_embedding": "periodic", "hidden_layer_sizes": ()},
        None,
        table(0),
        table(1, new=True),
    ),
    "custom module": ({"ensemble_size": 2, "module": TwoLayers}, None, table(0), table(1, new=True)),
    "pipeline of numbers": ({"ensemble_size": 2}, lambda e: make_pipeline(StandardScaler(), e), numbers(0), numbers(1)),
    "pipeline": ({"ensemble_size": 2}, mixed_pipeline, table(0), table(1, new=True)),
}
CODES = np.random.default_rng(2).integers(0, 3, N)
VALUES = np.random.default_rng(3).normal(5.0, 2.0, (N, 2))
TASKS = {
    "binary": (NeuralClassifier(**SMALL), (CODES > 0).astype(int)),
    "multiclass": (NeuralClassifier(**SMALL), CODES),
    "strings": (NeuralClassifier(**SMALL), np.array(["low", "mid", "high"])[CODES]),
    "multilabel": (NeuralClassifier(**SMALL), np.stack([CODES == 0, CODES != 1], 1).astype(int)),
    "regressor": (NeuralRegressor(**SMALL), VALUES[:, 0]),
    "multi-output": (NeuralRegressor(**SMALL), VALUES),
    "counts": (NeuralRegressor(loss="poisson", **SMALL), CODES),
    "quantiles": (NeuralRegressor(loss="quantile", quantile=(0.1, 0.5, 0.9), **SMALL), VALUES[:, 0]),
}


def run(program, X, sample):
    session = onnxruntime.InferenceSession(program.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, make_feed(X, infer_inputs(sample)))


# Every task with every table. Except for one task for each table, and the default kinds, they are marked as slow.
PAIRS = [
    pytest.param(task, table, marks=[] if i % len(TASKS) == j or table == "kinds" else pytest.mark.slow)
    for i, table in enumerate(TABLES)
    for j, task in enumerate(TASKS)
]


@pytest.mark.parametrize(("task", "table"), PAIRS)
def test_the_graph_predicts_new_rows_as_the_estimator_does(task, table):
    est, y = TASKS[task]
    parameters, wrap, X, new = TABLES[table]
    est = type(est)(**est.get_params()).set_params(**parameters)
    model = (wrap(est) if wrap else est).fit(X, y)
    X, new = (rows.toarray() if sp.issparse(rows) else rows for rows in (X, new))

    program = to_onnx(model, X)
    onnx.checker.check_model(program, full_check=True)
    outputs = run(program, new, X)

    if hasattr(model, "predict_proba"):
        p = model.predict_proba(new)
        np.testing.assert_allclose(outputs[1], p, rtol=0, atol=1e-5)
        distances = np.abs(p - 0.5) if task == "multilabel" else np.diff(np.sort(p, 1)[:, -2:])[:, 0]
        clear = distances > 2e-5
        np.testing.assert_array_equal(outputs[0][clear], model.predict(new)[clear])
    else:
        np.testing.assert_allclose(outputs[0], model.predict(new).reshape(N, -1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("opset", range(15, 23))
@pytest.mark.parametrize(
    ("task", "table"),
    [
        ("quantiles", "ensemble"),
        ("quantiles", "kinds"),
        ("strings", "one with all embeddings"),
        ("strings", "pipeline"),
    ],
)
def test_every_opset_gives_a_valid_graph_of_that_opset(task, table, opset):
    est, y = TASKS[task]
    parameters, wrap, X, new = TABLES[table]
    est = type(est)(**est.get_params()).set_params(**parameters, max_iter=1)
    model = (wrap(est) if wrap else est).fit(X, y)

    program = to_onnx(model, X, target_opset=opset)

    onnx.checker.check_model(program, full_check=True)
    assert {entry.domain: entry.version for entry in program.opset_import}[""] == opset
    reference = model.predict_proba(new) if task == "strings" else model.predict(new)
    np.testing.assert_allclose(run(program, new, X)[-1], reference, rtol=1e-5, atol=1e-5)

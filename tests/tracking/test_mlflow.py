"""Fits as runs of MLflow in a real database, and models that are loaded from it."""

import importlib.metadata
import json
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_matrix
from sklearn.datasets import make_classification
from skorch.callbacks import Callback
from torch import nn

import sknn.tracking.mlflow as mlflow_tracking
from sknn import NeuralClassifier, NeuralRegressor
from sknn.callbacks import MLflowTracker
from tests.common import SMALL
from tests.tracking.mlflow_store import MLFLOW_WARNINGS, artifacts_of, curve, models_of, new_experiment, runs_of

pytestmark = [pytest.mark.filterwarnings(warning) for warning in MLFLOW_WARNINGS]
X, Y = make_classification(60, 5, random_state=0)
FRAME = pd.DataFrame(X, columns=list("abcde")).assign(
    city=[["Oslo", "Rome", None][i % 3] for i in range(60)], n=range(60), big=X[:, 0] > 0
)
BARE = {"log_dataset": False, "log_model": False}


@pytest.fixture
def experiment(request):
    with new_experiment(request.node.nodeid) as experiment_id:
        yield experiment_id


def test_a_run_holds_parameters_epochs_and_results(experiment):
    clf = NeuralClassifier(**SMALL, metrics=["accuracy"], callbacks=[MLflowTracker(**BARE)]).fit(X, Y)
    (run,) = runs_of(experiment)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "NeuralClassifier")
    assert run.data.params.keys() == clf.get_params().keys()
    assert run.data.params["hidden_layer_sizes"] == "[6]"
    assert run.data.params["callbacks"] == "['MLflowTracker']"
    for name in ("train_loss", "valid_loss", "train_accuracy", "valid_accuracy", "learning_rate", "seconds", "gap"):
        assert curve(run, name) == ([1, 2, 3, 4], pytest.approx([row[name] for row in clf.history_]))
    assert run.data.metrics["n_iter"] == 4
    assert run.data.metrics["best_validation_score"] == pytest.approx(clf.best_validation_score_)
    assert (models_of(run), run.inputs.dataset_inputs) == ([], [])


def test_the_weights_of_the_kinds_of_members_are_results(experiment):
    clf = NeuralClassifier(**SMALL | {"batch_norm": "auto"}, callbacks=[MLflowTracker(**BARE)]).fit(X, Y)
    (run,) = runs_of(experiment)
    weights = [run.data.metrics[f"weight_{kind}"] for kind in ("plain", "batch_norm")]
    assert weights == pytest.approx(clf.member_weights_.tolist())
    assert "training_curve.png" in artifacts_of(run)


def test_the_training_is_drawn_without_pyplot(experiment):
    from matplotlib import pyplot as plt

    before = plt.get_fignums()
    NeuralClassifier(**SMALL, metrics=["accuracy"], callbacks=[MLflowTracker(**BARE)]).fit(X, Y)
    (run,) = runs_of(experiment)
    picture = mlflow.artifacts.download_artifacts(f"{run.info.artifact_uri}/training_curve.png")
    height, width, _ = plt.imread(picture).shape
    assert (width, height) == (1650, 400)  # losses, accuracies, learning rate
    assert plt.get_fignums() == before


def test_without_matplotlib_there_is_no_picture(experiment, monkeypatch):
    monkeypatch.setattr(mlflow_tracking.importlib.util, "find_spec", lambda name: None)
    NeuralClassifier(**SMALL, callbacks=[MLflowTracker(**BARE)]).fit(X, Y)
    (run,) = runs_of(experiment)
    assert artifacts_of(run) == []
    assert run.info.status == "FINISHED"


@pytest.mark.parametrize(
    ("X", "y", "columns"),
    [
        (FRAME, pd.Series(Y, name="bought"), [*FRAME.columns, "bought"]),
        (FRAME.rename(columns={"n": "target"}), Y, [*FRAME.columns[:6], "target", "big", "target_"]),
        (pl.DataFrame(X, schema=list("abcde")), Y, [*"abcde", "target"]),
        (X, Y, None),
        (X.tolist(), Y.tolist(), None),
    ],
    ids=["frame", "frame with a column named target", "polars", "array", "list"],
)
def test_the_training_data_is_described(experiment, X, y, columns):
    NeuralClassifier(**SMALL, callbacks=[MLflowTracker(log_model=False)]).fit(X, y)
    (run,) = runs_of(experiment)
    (entry,) = run.inputs.dataset_inputs
    assert {tag.key: tag.value for tag in entry.tags} == {"mlflow.data.context": "training"}
    schema, profile = json.loads(entry.dataset.schema), json.loads(entry.dataset.profile)
    if columns is None:
        features = json.loads(schema["mlflow_tensorspec"]["features"])
        assert features[0]["tensor-spec"] == {"dtype": "float64", "shape": [-1, 5]}
        assert profile["features_shape"] == [60, 5]
    else:
        assert [column["name"] for column in schema["mlflow_colspec"]] == columns
        assert profile["num_rows"] == 60


def test_a_sparse_table_is_not_described(experiment):
    NeuralClassifier(**SMALL, callbacks=[MLflowTracker(log_model=False)]).fit(csr_matrix(X), Y)
    (run,) = runs_of(experiment)
    assert run.inputs.dataset_inputs == []


def linear(in_features, out_features):
    return nn.Linear(int(np.prod(in_features)), out_features)


def flattening(in_features, out_features):
    return nn.Sequential(nn.Flatten(), linear(in_features, out_features))


@pytest.mark.parametrize(
    ("X", "params", "inputs"),
    [
        (X, {}, "Tensor('float64', (-1, 5))"),
        (FRAME, {}, "'city': string (optional)"),
        (FRAME, {"metrics": ["accuracy"], "class_weight": "balanced", "solver": "adam"}, "'n': long (required)"),
        (X.reshape(60, 1, 5), {"module": flattening}, "Tensor('float64', (-1, 1, 5))"),
    ],
    ids=["array", "frame", "other settings", "images"],
)
def test_the_loaded_model_predicts_the_same(experiment, X, params, inputs):
    clf = NeuralClassifier(**SMALL, **params, callbacks=[MLflowTracker(log_dataset=False)]).fit(X, Y)
    (uri,) = models_of(runs_of(experiment)[0])
    loaded, served = mlflow.sklearn.load_model(uri), mlflow.pyfunc.load_model(uri)
    np.testing.assert_array_equal(loaded.predict_proba(X), clf.predict_proba(X))
    np.testing.assert_array_equal(served.predict(X), clf.predict(X))
    assert inputs in str(served.metadata.signature.inputs)
    assert loaded.get_params().keys() == clf.get_params().keys()


def test_a_function_of_the_users_main_program_is_loaded_with_the_model(experiment):
    program = {"__name__": "__main__"}
    exec("def loss(z, y):\n    return (z - y).abs().mean(1)", program)
    reg = NeuralRegressor(**SMALL, loss=program["loss"], callbacks=[MLflowTracker(log_dataset=False)]).fit(X, X[:, 0])
    (uri,) = models_of(runs_of(experiment)[0])
    np.testing.assert_array_equal(mlflow.sklearn.load_model(uri).predict(X), reg.predict(X))


def test_the_model_names_the_versions_that_trained_it(experiment):
    NeuralClassifier(**SMALL, callbacks=[MLflowTracker(log_dataset=False)]).fit(X, Y)
    (uri,) = models_of(runs_of(experiment)[0])
    lines = Path(mlflow.pyfunc.get_model_dependencies(uri)).read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    assert pinned["scikit-learn"] == importlib.metadata.version("scikit-learn")
    assert pinned["torch"] == importlib.metadata.version("torch").partition("+")[0]
    assert {"sknn", "skorch", "numpy", "scipy"} <= pinned.keys()


def test_two_fits_are_two_runs_and_a_missing_experiment_is_created(experiment):
    name = f"made at {time.time_ns()}"
    reg = NeuralRegressor(**SMALL, early_stopping=False, callbacks=[MLflowTracker(name, "mine", **BARE)])
    reg.fit(X, X[:, 0]).fit(X, X[:, 1])
    runs = runs_of(mlflow.get_experiment_by_name(name).experiment_id)
    assert [run.info.run_name for run in runs] == ["mine", "mine"]
    assert curve(runs[1], "train_loss")[1] == pytest.approx(reg.loss_curve_)
    assert runs_of(experiment) == []


class FailingCallback(Callback):
    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise RuntimeError("no more")


def test_a_failed_fit_is_a_failed_run_with_its_epochs(experiment):
    with pytest.raises(RuntimeError, match="no more"):
        NeuralClassifier(**SMALL, callbacks=[FailingCallback(), MLflowTracker(**BARE)]).fit(X, Y)
    (run,) = runs_of(experiment)
    assert run.info.status == "FAILED"
    assert curve(run, "train_loss")[0] == [1]
    assert mlflow.active_run() is None


def test_an_open_run_is_written_to_and_left_open(experiment):
    clf = NeuralClassifier(**SMALL, callbacks=[MLflowTracker()])
    with mlflow.start_run() as open_run:
        for _ in range(3):
            clf.partial_fit(X, Y, classes=[0, 1])
        assert mlflow.active_run() is open_run
    (run,) = runs_of(experiment)
    assert curve(run, "train_loss") == ([1, 2, 3], pytest.approx(clf.loss_curve_))
    assert len(run.inputs.dataset_inputs) == 1
    assert models_of(run) == []


def test_epochs_are_written_during_the_training(experiment, monkeypatch):
    monkeypatch.setattr(mlflow_tracking, "FLUSH_SECONDS", 0.0)
    seen = []

    class ReadingCallback(Callback):
        def on_epoch_end(self, net, **kwargs):
            (run,) = runs_of(experiment)
            seen.append((run.info.status, len(curve(run, "train_loss")[0])))

    NeuralClassifier(**SMALL, callbacks=[MLflowTracker(**BARE), ReadingCallback()]).fit(X, Y)
    assert seen == [("RUNNING", epoch) for epoch in (1, 2, 3, 4)]


def test_more_values_and_parameters_than_the_limits_of_one_call(experiment, monkeypatch):
    monkeypatch.setattr(mlflow_tracking, "MAX_METRICS", 7)
    monkeypatch.setattr(mlflow_tracking, "MAX_PARAMS", 7)
    clf = NeuralClassifier(**SMALL, callbacks=[MLflowTracker(**BARE)]).fit(X, Y)
    (run,) = runs_of(experiment)
    assert run.data.params.keys() == clf.get_params().keys()
    assert curve(run, "seconds")[0] == [1, 2, 3, 4]


def test_a_store_that_fails_during_the_training_gives_a_warning(experiment, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr(mlflow_tracking, "log_params", refuse)
    with pytest.warns(UserWarning, match="MLflow did not log everything.*no space left.*The fit is not affected"):
        clf = NeuralClassifier(**SMALL, callbacks=[MLflowTracker(**BARE)]).fit(X, Y)
    (run,) = runs_of(experiment)
    assert (clf.n_iter_, run.info.status, curve(run, "train_loss")[0]) == (4, "FINISHED", [1, 2, 3, 4])


def test_without_mlflow_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow.sklearn", None)
    with pytest.raises(ImportError, match=r"MLflowTracker needs MLflow; .*'sknn\[mlflow\]'"):
        NeuralClassifier(**SMALL, callbacks=[MLflowTracker()]).fit(X, Y)

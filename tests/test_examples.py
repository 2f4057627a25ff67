"""Run every example as a user does, and check its output."""

import os
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from tests.common import printed

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name, folder, ignored=()):
    """Run the program in this folder, with warnings as errors except `ignored`; return what it prints."""
    filters = [part for each in ("error", *ignored) for part in ("-W", each)]
    settings = {"MPLBACKEND": "Agg", "MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_ERROR_REPORTING": "false"}
    return printed(*filters, EXAMPLES / name, cwd=folder, env=os.environ | settings)


def load(name):
    """Return the functions of an example."""
    return runpy.run_path(str(EXAMPLES / name))


def test_every_example_has_a_test_here():
    source = Path(__file__).read_text()

    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in source] == []


def test_reference_program_stops_early_and_prints_its_splits(tmp_path):
    printed = run("reference_program.py", tmp_path)

    assert "Synthetic data: 1000 rows, 20 columns; stopped after" in printed
    assert "Breast cancer: 398 training rows, 85 validation rows, 86 test rows" in printed


def test_reference_program_is_better_than_a_guess_and_records_its_metrics():
    clf, X_new = load("reference_program.py")["run_on_synthetic_data"]()
    probabilities = clf.predict_proba(X_new[:5])

    assert clf.n_iter_ < 50
    assert clf.best_validation_score_ > -np.log(2)
    assert {"train_accuracy", "valid_accuracy", "train_roc_auc", "valid_roc_auc"} <= set(clf.history_[0])
    assert probabilities.shape == (5, 2)
    np.testing.assert_allclose(probabilities.sum(1), 1)


@pytest.mark.slow
def test_raw_table_searches_over_strings_and_missing_values(tmp_path):
    printed = run("raw_table.py", tmp_path)

    assert "NaN" in printed
    assert "GridSearchCV chose {'dropout':" in printed


def test_raw_table_has_strings_categories_and_missing_values():
    X, _ = load("raw_table.py")["table"]()

    assert X["sex"].map(type).eq(str).all()
    assert isinstance(X["age"].dtype, pd.CategoricalDtype)
    assert X["s1"].isna().any()


def test_convolutional_network_classifies_digits():
    clf, X_test, y_test = load("custom_module.py")["main"]()

    assert clf.score(X_test, y_test) > 0.95


def test_quantiles_never_cross_and_are_drawn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    intervals = load("quantiles.py")["main"]()

    assert (intervals["10 %"] <= intervals["50 %"]).all()
    assert (intervals["50 %"] <= intervals["90 %"]).all()
    assert (tmp_path / "demo" / "quantiles.png").stat().st_size > 10_000


@pytest.fixture
def demo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return load("demo.py")


def test_demo_compares_models_in_a_table(demo, capsys):
    models = {name: demo["REGRESSORS"][name] for name in ("mean of y", "ridge regression")}
    demo["compare"]("Diabetes", *demo["patients"](), models, demo["REGRESSOR_SCORES"])
    lines = capsys.readouterr().out.splitlines()
    r2 = [float(line[26:].split()[0]) for line in lines[-2:]]

    assert "442 rows, 10 columns, 291 missing values" in lines[1]
    assert r2[0] <= 0 < r2[1]


def test_demo_draws_the_training_and_saves_a_model_that_predicts_the_same(demo, tmp_path):
    X, y = demo["tumours"]()
    settings = {"ensemble_size": 2, "max_iter": 3, "metrics": ["accuracy"], "random_state": 0}
    clf = demo["NeuralClassifier"](**settings).fit(X, y)
    demo["draw"](clf, tmp_path / "training.png")
    loaded = demo["save_and_load"](clf, tmp_path / "model.sknn")

    assert (tmp_path / "training.png").stat().st_size > 10_000
    np.testing.assert_array_equal(loaded.predict_proba(X), clf.predict_proba(X))


@pytest.mark.slow
def test_search_compares_three_searches(tmp_path):
    printed = run("search.py", tmp_path)

    assert "grid: 46 fits in the time of" in printed
    assert "groups trained jointly: 1" in printed
    assert "halving: [4, 2, 1] candidates with [5, 10, 20] epochs" in printed
    assert float(printed.split("nested cross-validation: accuracy ")[1]) > 0.9


@pytest.mark.slow
def test_optuna_searches_in_three_ways(tmp_path):
    printed = run("optuna_search.py", tmp_path)

    losses = [float(line.split("log loss ")[1]) for line in printed.splitlines() if "log loss" in line]
    assert len(losses) == 2
    assert max(losses) < 0.3
    assert "of 12 trials ended early" in printed


@pytest.mark.slow
def test_ensemble_search_prints_a_table_of_losses(tmp_path, capsys):
    results = load("ensemble_search.py")["main"](seconds=0.5)

    assert all(np.isfinite(loss) for loss in results.values())
    assert "EnsembleSearchCV" in capsys.readouterr().out


@pytest.mark.slow
def test_flaml_uses_the_network_as_a_learner(tmp_path):
    printed = run("flaml_search.py", tmp_path)

    assert "'sknn'" in printed
    assert float(printed.split("accuracy ")[1]) > 0.9


@pytest.mark.parametrize(("name", "n_pictures"), [("training_curve.py", 2), ("displays.py", 1)])
def test_displays_are_drawn_and_closed(name, n_pictures, tmp_path):
    open_before = plt.get_fignums()
    load(name)["main"](tmp_path / "pictures")
    drawn = list((tmp_path / "pictures").glob("*.png"))

    assert len(drawn) == n_pictures
    assert all(10_000 < path.stat().st_size < 200_000 for path in drawn)
    assert plt.get_fignums() == open_before


@pytest.mark.slow
def test_tensorboard_gets_a_run_for_each_fit(tmp_path):
    printed = run("tracking_tensorboard.py", tmp_path)

    runs = [folder.name for folder in (tmp_path / "runs").iterdir()]
    assert len(runs) == 3
    assert all(f"  {name}\n" in printed for name in runs)


@pytest.mark.slow
def test_weights_and_biases_needs_no_connection(tmp_path):
    printed = run("tracking_wandb.py", tmp_path)

    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    assert next(folder.glob("run-*.wandb")).stat().st_size > 1000
    assert f"Now type: wandb sync wandb/{folder.name}" in printed


# Warnings from MLflow: from its sqlalchemy queries, from its digest of a pandas table, and at its import.
MLFLOW_WARNINGS = [
    "ignore::DeprecationWarning:mlflow.store.tracking.sqlalchemy_store",
    "ignore::DeprecationWarning:mlflow.data.digest_utils",
    "ignore::UserWarning:mlflow.types.type_hints",
]


@pytest.mark.slow
def test_mlflow_logs_a_fit_and_a_search(tmp_path):
    printed = run("tracking_mlflow.py", tmp_path, MLFLOW_WARNINGS)

    assert "The stored model predicts the same: True" in printed
    assert [line.split()[0] for line in printed.splitlines()[2:4]] == ["watched", "RandomizedSearchCV"]
    assert printed.count("candidate") == 4
    assert (tmp_path / "mlflow.db").exists()


def test_onnx_graph_predicts_the_same_as_the_model(tmp_path):
    printed = run("onnx_pipeline.py", tmp_path)

    assert "Inputs: age (double), sex (string)" in printed
    assert float(printed.split("Largest difference from predict: ")[1].split()[0]) < 1e-3
    assert "12 levels, most frequent 'clinic 11'" in printed
    assert (tmp_path / "diabetes.onnx").stat().st_size > 10_000


def test_serve_trains_a_model_that_can_be_served(tmp_path):
    """tests/serving/test_server.py starts servers; here is the model."""
    from sknn import OnnxPredictor

    example = load("serve.py")
    example["train"](tmp_path / "diabetes.onnx")
    predictor = OnnxPredictor(tmp_path / "diabetes.onnx")
    X, y = example["patients"]()

    predictor.self_check()
    assert (predictor.predict(X) == y).mean() > 0.5
    assert predictor.predict_proba_members(X).shape == (len(X), 8, 3)

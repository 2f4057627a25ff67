"""Fits of estimators, pipelines and searches that are logged once, without a callback."""

import inspect
import sys
import threading

import mlflow
import numpy as np
import pytest
import torch
from joblib import parallel_config
from sklearn import model_selection as sklearn_search
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

import sknn
import sknn.tracking.autolog as autologging
from sknn import NeuralClassifier, NeuralRegressor
from sknn import model_selection as sknn_search
from sknn.callbacks import MLflowTracker
from tests.common import SMALL
from tests.tracking.mlflow_store import MLFLOW_WARNINGS, artifacts_of, curve, models_of, new_experiment, runs_of

pytestmark = [pytest.mark.filterwarnings(warning) for warning in MLFLOW_WARNINGS]
X, Y = make_classification(60, 5, random_state=0)
FITS = {cls: cls.fit for cls in (NeuralClassifier, Pipeline, sklearn_search.GridSearchCV)}


@pytest.fixture
def experiment(request):
    with new_experiment(request.node.nodeid) as experiment_id:
        yield experiment_id


@pytest.fixture
def logging(experiment):
    """Log fits without models, since writing them takes most of the time."""
    sknn.autolog(log_models=False)
    yield experiment
    sknn.autolog(disable=True)
    assert {cls: cls.fit for cls in FITS} == FITS


def parent_of(run):
    return run.data.tags.get("mlflow.parentRunId")


def split(runs):
    """Return the only run without a parent, and its children."""
    (parent,) = [run for run in runs if parent_of(run) is None]
    children = [run for run in runs if parent_of(run) == parent.info.run_id]
    assert len(children) == len(runs) - 1
    return parent, sorted(children, key=lambda run: run.info.run_name)


def test_the_run_of_an_estimator_has_everything_that_the_tracker_logs(logging):
    sknn.autolog()
    clf = NeuralClassifier(**SMALL, metrics=["accuracy"])
    assert clf.fit(X, Y) is clf
    (run,) = runs_of(logging)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "NeuralClassifier")
    assert run.data.params.keys() == clf.get_params().keys()
    for name in ("train_loss", "valid_loss", "valid_accuracy", "learning_rate", "seconds"):
        assert curve(run, name) == ([1, 2, 3, 4], pytest.approx([row[name] for row in clf.history_]))
    assert len(run.inputs.dataset_inputs) == 1
    assert artifacts_of(run) == ["training_curve.png"]
    (uri,) = models_of(run)
    np.testing.assert_array_equal(mlflow.sklearn.load_model(uri).predict_proba(X), clf.predict_proba(X))


def test_datasets_and_models_can_be_left_out(experiment):
    sknn.autolog(log_datasets=False, log_models=False)
    NeuralRegressor(**SMALL).fit(X=X, y=X[:, 0])
    sknn.autolog(disable=True)
    (run,) = runs_of(experiment)
    assert (models_of(run), run.inputs.dataset_inputs) == ([], [])


def test_the_times_of_epochs_differ_by_their_duration(logging):
    clf = NeuralClassifier(**SMALL).fit(X, Y)
    (run,) = runs_of(logging)
    times = [point.timestamp for point in mlflow.MlflowClient().get_metric_history(run.info.run_id, "train_loss")]
    seconds = [row["seconds"] for row in clf.history_]
    np.testing.assert_allclose(np.diff(times), 1000 * np.array(seconds[1:]), atol=1)


def test_a_pipeline_is_one_run_and_its_model_takes_unprocessed_rows(logging):
    sknn.autolog()
    pipeline = make_pipeline(StandardScaler(), NeuralClassifier(**SMALL)).fit(X, Y)
    (run,) = runs_of(logging)
    assert run.info.run_name == "Pipeline"
    assert run.data.params["standardscaler__with_mean"] == "True"
    assert run.data.params["neuralclassifier__max_iter"] == "4"
    assert curve(run, "train_loss")[1] == pytest.approx(pipeline[-1].loss_curve_)
    (uri,) = models_of(run)
    np.testing.assert_array_equal(mlflow.pyfunc.load_model(uri).predict(X), pipeline.predict(X))


SEARCHES = [
    (sklearn_search.GridSearchCV, {"param_grid": {"alpha": [0.0, 1.0]}, "cv": 3}),
    (sknn_search.GridSearchCV, {"param_grid": {"alpha": [0.0, 1.0]}, "cv": 3}),
    (sknn_search.RandomizedSearchCV, {"param_distributions": {"alpha": [0.0, 1.0]}, "n_iter": 2, "cv": 3}),
    (
        sknn_search.HalvingGridSearchCV,
        {"param_grid": {"alpha": [0.0, 1.0]}, "cv": 3, "factor": 2, "random_state": 0},
    ),
]


@pytest.mark.parametrize(("cls", "params"), SEARCHES, ids=lambda value: getattr(value, "__module__", ""))
def test_a_search_is_a_run_with_a_child_for_each_candidate(logging, cls, params):
    search = cls(NeuralClassifier(**SMALL), **params).fit(X, Y)
    parent, children = split(runs_of(logging))
    assert parent.info.run_name == cls.__name__
    assert parent.data.params["estimator__max_iter"] == "4"
    assert parent.data.params["best_alpha"] == str(search.best_params_["alpha"])
    assert parent.data.metrics["best_score"] == search.best_score_
    assert curve(parent, "train_loss")[1] == pytest.approx(search.best_estimator_.loss_curve_)
    assert [child.info.run_name for child in children] == [f"candidate {i}" for i in range(len(children))]
    for i, child in enumerate(children):
        assert child.data.params == {"alpha": str(search.cv_results_["params"][i]["alpha"])}
        for name in ("mean_test_score", "std_test_score", "split2_test_score", "rank_test_score", "mean_fit_time"):
            assert child.data.metrics[name] == search.cv_results_[name][i]
        assert child.info.status == "FINISHED"


@pytest.mark.parametrize("GridSearchCV", [sklearn_search.GridSearchCV, sknn_search.GridSearchCV])
def test_a_search_over_a_pipeline_logs_the_best_pipeline_as_its_model(logging, GridSearchCV):
    sknn.autolog()
    pipeline = make_pipeline(StandardScaler(), NeuralClassifier(**SMALL))
    search = GridSearchCV(pipeline, {"neuralclassifier__dropout": [0.0, 0.5]}, cv=2).fit(X, Y)
    parent, children = split(runs_of(logging))
    assert len(children) == 2
    (uri,) = models_of(parent)
    model = mlflow.sklearn.load_model(uri)
    assert type(model) is Pipeline
    np.testing.assert_array_equal(model.predict_proba(X), search.predict_proba(X))


def test_several_scores_without_a_refit(logging):
    search = sknn_search.GridSearchCV(
        NeuralClassifier(**SMALL), {"alpha": [0, 1]}, cv=2, scoring=["accuracy", "neg_log_loss"], refit=False
    ).fit(X, Y)
    parent, children = split(runs_of(logging))
    assert "train_loss" not in parent.data.metrics
    assert children[1].data.metrics["mean_test_neg_log_loss"] == search.cv_results_["mean_test_neg_log_loss"][1]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning", "ignore:One or more of the test scores")
def test_a_failed_candidate_is_a_failed_child_run(logging):
    sknn_search.GridSearchCV(NeuralClassifier(**SMALL), {"hidden_layer_sizes": [(6,), (-1,)]}, cv=2).fit(X, Y)
    parent, children = split(runs_of(logging))
    assert [child.info.status for child in children] == ["FINISHED", "FAILED"]
    assert parent.info.status == "FINISHED"


def test_logging_does_not_change_the_joint_training_of_a_search(logging):
    def search():
        grid = {"alpha": [0.0, 0.5, 1.0]}
        return sknn_search.GridSearchCV(NeuralClassifier(**SMALL), grid, cv=2).fit(X, Y)

    logged = search()
    sknn.autolog(disable=True)
    plain = search()
    np.testing.assert_array_equal(logged.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"])
    assert set(logged.cv_results_["group"]) == {0}
    assert torch.equal(logged.best_estimator_.module_.param_buffer, plain.best_estimator_.module_.param_buffer)


@pytest.mark.parametrize("GridSearchCV", [sklearn_search.GridSearchCV, sknn_search.GridSearchCV])
def test_fits_of_a_search_in_other_threads_are_part_of_the_search(logging, GridSearchCV):
    with parallel_config("threading", n_jobs=2):
        GridSearchCV(NeuralClassifier(**SMALL), {"alpha": [0, 1]}, cv=2).fit(X, Y)
    _, children = split(runs_of(logging))
    assert len(children) == 2


def test_fits_in_several_threads_are_each_a_run(logging):
    threads = [threading.Thread(target=NeuralClassifier(**SMALL).fit, args=(X, Y)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runs = runs_of(logging)
    assert [run.info.status for run in runs] == ["FINISHED"] * 3
    assert all(curve(run, "train_loss")[0] == [1, 2, 3, 4] for run in runs)


def test_a_fit_in_an_open_run_writes_to_it(logging):
    with mlflow.start_run() as open_run:
        sknn_search.GridSearchCV(NeuralClassifier(**SMALL), {"alpha": [0, 1]}, cv=2).fit(X, Y)
        assert mlflow.active_run() is open_run
        mlflow.log_metric("more", 1)
    parent, children = split(runs_of(logging))
    assert parent.info.run_id == open_run.info.run_id
    assert len(children) == 2


@pytest.mark.parametrize("tracker", [MLflowTracker(log_model=False), ("mine", MLflowTracker(log_model=False))])
def test_an_estimator_with_a_tracker_is_only_logged_by_the_tracker(logging, tracker):
    clf = NeuralClassifier(**SMALL, callbacks=[tracker]).fit(X, Y)
    (run,) = runs_of(logging)
    assert curve(run, "train_loss") == ([1, 2, 3, 4], pytest.approx(clf.loss_curve_))

    sklearn_search.GridSearchCV(clf, {"alpha": [0.0, 1.0]}, cv=2, refit=False).fit(X, Y)
    assert [parent_of(run) for run in runs_of(logging)] == [None] * 5


def test_a_pipeline_that_ends_in_a_search_logs_the_search(logging):
    search = sknn_search.GridSearchCV(NeuralClassifier(**SMALL), {"alpha": [0.0, 1.0]}, cv=2)
    pipeline = make_pipeline(StandardScaler(), search).fit(X, Y)
    parent, children = split(runs_of(logging))
    assert [run.data.params["alpha"] for run in children] == ["0.0", "1.0"]
    assert parent.data.metrics["best_score"] == pipeline[-1].best_score_
    assert curve(parent, "train_loss")[1] == pytest.approx(pipeline[-1].best_estimator_.loss_curve_)


class FailingCallback(Callback):
    def on_epoch_end(self, net, **kwargs):
        raise RuntimeError("no more")


def test_a_failed_fit_is_a_failed_run_and_the_next_fit_is_logged(logging):
    with pytest.raises(RuntimeError, match="no more"):
        NeuralClassifier(**SMALL, callbacks=[FailingCallback()]).fit(X, Y)
    NeuralClassifier(**SMALL).fit(X, Y)
    assert [run.info.status for run in runs_of(logging)] == ["FAILED", "FINISHED"]


@pytest.mark.filterwarnings("ignore:The filesystem tracking backend")
def test_an_unreachable_store_gives_a_warning_and_the_fit_is_kept(logging, tmp_path):
    (tmp_path / "file").write_text("no folder")
    mlflow.set_tracking_uri(f"file://{tmp_path}/file/store")
    with pytest.warns(UserWarning, match="MLflow did not log everything"):
        clf = NeuralClassifier(**SMALL).fit(X, Y)
    assert clf.n_iter_ == 4


def test_other_estimators_are_not_logged(logging):
    make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    sklearn_search.GridSearchCV(LogisticRegression(), {"C": [1, 2]}).fit(X, Y)
    Pipeline([("last", "passthrough")]).fit(X)
    assert runs_of(logging) == []


def test_partial_fit_is_not_logged(logging):
    NeuralClassifier(**SMALL).partial_fit(X, Y, classes=[0, 1])
    assert runs_of(logging) == []


def test_nothing_is_logged_after_disabling(logging):
    sknn.autolog(log_models=False)
    sknn.autolog(disable=True)
    sknn.autolog(disable=True)
    NeuralClassifier(**SMALL).fit(X, Y)
    assert runs_of(logging) == []


def test_a_wrapped_fit_has_the_signature_and_docstring_of_the_original(logging):
    for cls, fit in FITS.items():
        assert cls.fit is not fit
        assert inspect.signature(cls.fit) == inspect.signature(fit)
        assert cls.fit.__doc__ == fit.__doc__
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        NeuralClassifier().fit(X, Y, z=1)


def test_without_mlflow_the_extra_is_named_and_nothing_is_wrapped(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow.sklearn", None)
    with pytest.raises(ImportError, match=r"sknn.autolog needs MLflow; .*'sknn\[mlflow\]'"):
        sknn.autolog()
    assert autologging._original_fits == {}

"""Searches and cross-validations: the answers of scikit-learn's own, from networks that train together."""

import contextlib
import gc
import inspect
import os
import pickle
import signal
import threading
import time
import weakref

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn.model_selection as theirs
import torch
from scipy.stats import loguniform
from sklearn.base import clone, is_classifier
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import make_scorer, recall_score
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import sknn.model_selection.joblib_backend as batched_fits_module
from sknn import NeuralClassifier, NeuralRegressor
from sknn import model_selection as ours
from sknn.training.net import TrainingNet

X, y = load_breast_cancer(return_X_y=True)
X, y = X[:240, :8], y[:240]
LABELS = np.array(["malignant", "benign"])[y]
SMALL = {"hidden_layer_sizes": (8,), "ensemble_size": 2, "max_iter": 4, "random_state": 0, "n_threads": 1}
CLF = NeuralClassifier(**SMALL)
REG = NeuralRegressor(**SMALL)
PIPE = Pipeline([("scale", StandardScaler()), ("net", CLF)])
GRID = {"learning_rate_init": [1e-3, 1e-2], "dropout": [0.0, 0.3], "alpha": [0.0, 0.1]}
PIPE_GRID = {f"net__{name}": values for name, values in GRID.items()}


NOT_FINITE = pytest.mark.filterwarnings("ignore:One or more of the test scores")


class Counted(StandardScaler):
    """Counts its fits."""

    fits = 0

    def fit(self, X, y=None, sample_weight=None):
        Counted.fits += 1
        return super().fit(X, y, sample_weight)


def trainings(monkeypatch):
    """The numbers of members of all trainings from now on."""
    sizes, whole = [], TrainingNet.fit_loop

    def noted(self, *args, **kwargs):
        sizes.append(self.module_.n_members)
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(TrainingNet, "fit_loop", noted)
    return sizes


def assert_equal_results(ours_, theirs_):
    assert set(ours_) - set(theirs_) == {"group"}
    assert set(theirs_) <= set(ours_)
    for name, values in theirs_.items():
        if "time" not in name:
            np.testing.assert_array_equal(ours_[name], values, err_msg=name)


# --- The same answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "grid", "fit_params"),
    [
        (CLF, GRID, {}),
        (CLF, {"label_smoothing": [0.0, 0.1], "class_weight": [None, "balanced", {"benign": 3.0}]}, {}),
        (CLF, {"early_stopping": [True, False], "validation_fraction": [0.1, 0.3]}, {}),
        (CLF, {"n_iter_no_change": [1, 5], "tol": [0.0, 10.0], "random_state": [0, 1]}, {}),
        (CLF, {"hidden_layer_sizes": [(8,), (4, 4)], "activation": ["relu", "tanh"], "max_iter": [2, 3]}, {}),
        (CLF, GRID, {"sample_weight": np.random.default_rng(0).uniform(0, 2, len(y))}),
        (PIPE, PIPE_GRID, {}),
        (PIPE, {"scale__with_mean": [True, False], "net__weight_decay": [0.0, 0.1]}, {}),
        (make_pipeline(SelectKBest(), CLF), {"selectkbest__k": [3, 5], "neuralclassifier__dropout": [0.1, 0.2]}, {}),
        (PIPE, {"net": [CLF, LogisticRegression(), clone(CLF).set_params(solver="lbfgs")]}, {}),
        (Pipeline([("none", "passthrough"), ("inner", PIPE)]), {"inner__net__alpha": [0.0, 1.0]}, {}),
        (LogisticRegression(), {"C": [0.1, 1.0]}, {}),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else ",".join(value) if value else "",
)
@pytest.mark.filterwarnings("ignore:Maximum iterations", "ignore:lbfgs failed", "ignore:lbfgs ended")
def test_scores_are_those_of_scikit_learn_bit_for_bit(estimator, grid, fit_params):
    settings = {"scoring": "neg_log_loss", "cv": 3, "return_train_score": True}
    serial = theirs.GridSearchCV(estimator, grid, **settings).fit(X, LABELS, **fit_params)
    together = ours.GridSearchCV(estimator, grid, **settings).fit(X, LABELS, **fit_params)
    assert_equal_results(together.cv_results_, serial.cv_results_)
    assert together.best_params_ == serial.best_params_ or "net" in grid
    assert together.best_score_ == serial.best_score_
    np.testing.assert_array_equal(together.predict_proba(X), serial.predict_proba(X))


def test_of_regressors_too():
    X, y = load_diabetes(return_X_y=True)
    grid = {"learning_rate_init": [1e-3, 1e-2], "hidden_layer_sizes": [(8,), (5, 5)]}
    serial, together = (module.GridSearchCV(REG, grid, cv=3).fit(X, y) for module in (theirs, ours))
    assert_equal_results(together.cv_results_, serial.cv_results_)
    assert together.n_features_in_ == 10


def test_a_raw_table_whose_folds_have_other_categories():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"number": X[:, 0], "city": rng.choice([f"c{i}" for i in range(30)], len(X)), "few": y})
    frame.loc[:5, "number"] = np.nan
    serial, together = (m.GridSearchCV(CLF, {"alpha": [0, 1]}, cv=4).fit(frame, LABELS) for m in (theirs, ours))
    assert_equal_results(together.cv_results_, serial.cv_results_)
    assert together.feature_names_in_.tolist() == ["number", "city", "few"]


def test_a_column_transformer_with_its_own_processes_before_the_network():
    frame = pd.DataFrame({"a": X[:, 0], "b": np.where(y, "u", "v")})
    steps = make_column_transformer((OneHotEncoder(), ["b"]), (StandardScaler(), ["a"]), n_jobs=2)
    pipe = Pipeline([("columns", steps), ("net", CLF)])
    serial, together = (m.GridSearchCV(pipe, {"net__alpha": [0, 1]}, cv=2).fit(frame, y) for m in (theirs, ours))
    assert_equal_results(together.cv_results_, serial.cv_results_)


def test_randomized_search():
    space = {"learning_rate_init": loguniform(1e-3, 1e-1), "dropout": [0.0, 0.2, 0.5]}
    settings = {"n_iter": 5, "random_state": 3, "cv": 3}
    serial, together = (m.RandomizedSearchCV(CLF, space, **settings).fit(X, y) for m in (theirs, ours))
    assert_equal_results(together.cv_results_, serial.cv_results_)


@pytest.mark.parametrize("resource", ["n_samples", "max_iter"])
@pytest.mark.parametrize("name", ["HalvingGridSearchCV", "HalvingRandomSearchCV"])
def test_halving(name, resource):
    grid = {"learning_rate_init": [1e-3, 3e-3, 1e-2, 3e-2]}
    limits = {"min_resources": 60} if resource == "n_samples" else {"min_resources": 1, "max_resources": 4}
    settings = {"resource": resource, "cv": 2, "factor": 2, "random_state": 0, **limits}
    serial, together = (getattr(m, name)(CLF, grid, **settings).fit(X, y) for m in (theirs, ours))
    assert_equal_results(together.cv_results_, serial.cv_results_)
    assert together.n_resources_ == serial.n_resources_
    assert together.best_params_ == serial.best_params_


def test_cross_validation():
    settings = {"cv": 4, "scoring": ["accuracy", "roc_auc"], "return_train_score": True}
    extra = {"return_estimator": True, "return_indices": True}
    serial, together = (m.cross_validate(PIPE, X, y, **settings, **extra) for m in (theirs, ours))
    assert serial.keys() == together.keys()
    for name in [name for name in serial if name.startswith(("test", "train"))]:
        np.testing.assert_array_equal(serial[name], together[name])
    for one, other in zip(serial["estimator"], together["estimator"], strict=True):
        np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
        assert "fit" not in vars(other)  # an ordinary estimator again
        assert clone(other).get_params().keys() == one.get_params().keys()
    np.testing.assert_array_equal(*(m.cross_val_score(CLF, X, y, cv=3) for m in (theirs, ours)))
    for method in ("predict", "predict_proba"):
        np.testing.assert_array_equal(
            *(m.cross_val_predict(PIPE, X, LABELS, cv=3, method=method) for m in (theirs, ours))
        )


def test_groups_and_splitters_are_passed_on():
    groups = np.arange(len(y)) % 5
    settings = {"cv": theirs.GroupKFold(5), "groups": groups}
    np.testing.assert_array_equal(*(m.cross_val_score(CLF, X, y, **settings) for m in (theirs, ours)))
    searches = [m.GridSearchCV(CLF, {"alpha": [0, 1]}, cv=theirs.GroupKFold(5)) for m in (theirs, ours)]
    serial, together = (search.fit(X, y, groups=groups) for search in searches)
    assert_equal_results(together.cv_results_, serial.cv_results_)
    assert together.n_splits_ == 5


def test_whatever_of_scikit_learn_fits_several_times_can_be_batched(monkeypatch):
    call = {"param_name": "alpha", "param_range": [0, 1, 10], "cv": 3}
    serial = theirs.validation_curve(CLF, X, y, **call)
    sizes = trainings(monkeypatch)
    with ours.batched_fits():
        together = theirs.validation_curve(CLF, X, y, **call)
    np.testing.assert_array_equal(serial, together)
    assert sizes == [3 * 3 * 2]


def test_nested_cross_validation():
    inner, outer = {"cv": 2}, {"cv": 3}
    serial = theirs.cross_val_score(theirs.GridSearchCV(CLF, {"alpha": [0, 1]}, **inner), X, y, **outer)
    together = ours.cross_val_score(ours.GridSearchCV(CLF, {"alpha": [0, 1]}, **inner), X, y, **outer)
    np.testing.assert_array_equal(serial, together)


# --- Few trainings ----------------------------------------------------------------------------------------------------


def test_candidates_and_folds_are_one_training(monkeypatch):
    sizes = trainings(monkeypatch)
    ours.GridSearchCV(CLF, GRID, cv=3, refit=False).fit(X, y)
    assert sizes == [8 * 3 * 2]


def test_networks_of_other_shapes_are_other_groups(monkeypatch):
    sizes = trainings(monkeypatch)
    grid = [{"hidden_layer_sizes": [(8,), (4,)], "alpha": [0, 1]}, {"max_iter": [3], "alpha": [0, 1, 2]}]
    search = ours.GridSearchCV(CLF, grid, cv=2, refit=False).fit(X, y)
    assert search.cv_results_["group"].tolist() == [0, 1, 0, 1, 2, 2, 2]
    assert sorted(sizes) == [8, 8, 12]


def test_a_fit_time_is_a_share_of_the_groups_time():
    started = time.perf_counter()
    search = ours.GridSearchCV(CLF, GRID, cv=3, refit=False).fit(X, y)
    whole = time.perf_counter() - started
    times = search.cv_results_["mean_fit_time"]
    assert (times > 0).all()
    assert 3 * times.sum() <= whole


def test_steps_before_are_fitted_once_for_a_fold_and_setting():
    pipe = Pipeline([("scale", Counted()), ("net", CLF)])
    Counted.fits = 0
    ours.GridSearchCV(pipe, PIPE_GRID | {"scale__with_mean": [True, False]}, cv=3, refit=False).fit(X, y)
    assert Counted.fits == 2 * 3


def test_a_large_group_trains_in_parts(monkeypatch):
    expected = ours.GridSearchCV(CLF, GRID, cv=3, refit=False).fit(X, y)
    monkeypatch.setattr(batched_fits_module, "BATCH_VALUES", 5 * 2 * 113)
    sizes = trainings(monkeypatch)
    search = ours.GridSearchCV(CLF, GRID, cv=3, refit=False).fit(X, y)
    assert len(sizes) > 4
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])
    assert set(search.cv_results_["group"]) == {0}


def test_what_does_not_fit_in_memory_is_halved(monkeypatch):
    expected = ours.cross_val_score(CLF, X, y, cv=6)
    sizes, whole = [], TrainingNet.fit_loop

    def with_little_memory(self, *args, **kwargs):
        sizes.append(self.module_.n_members)
        if self.module_.n_members > 4:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(TrainingNet, "fit_loop", with_little_memory)
    np.testing.assert_array_equal(ours.cross_val_score(CLF, X, y, cv=6), expected)
    assert sizes == [12, 6, 4, 6, 4, 2, 2]


def test_tables_that_do_not_fit_in_memory_are_encoded_in_turn(monkeypatch):
    expected = ours.cross_val_score(CLF, X, y, cv=6)
    monkeypatch.setattr(batched_fits_module, "memory", lambda device=None: 4 * 4 * 1.5 * X.size)
    sizes = trainings(monkeypatch)
    np.testing.assert_array_equal(ours.cross_val_score(CLF, X, y, cv=6), expected)
    assert len(sizes) >= 3


# --- Other processes --------------------------------------------------------------------------------------------------


class WhereItTrained(StandardScaler):
    """Remembers the process in which it was fitted."""

    def fit(self, X, y=None, sample_weight=None):
        self.process_ = os.getpid()
        return super().fit(X, y, sample_weight)


def test_n_jobs_shares_the_fits_out():
    pipe = Pipeline([("scale", WhereItTrained()), ("net", CLF)])
    call = {"cv": 6, "return_estimator": True}
    alone, shared = (ours.cross_validate(pipe, X, y, n_jobs=n_jobs, **call) for n_jobs in (1, 2))
    np.testing.assert_array_equal(alone["test_score"], shared["test_score"])
    assert {est["scale"].process_ for est in alone["estimator"]} == {os.getpid()}
    processes = {est["scale"].process_ for est in shared["estimator"]}
    assert len(processes) == 2
    assert os.getpid() not in processes


@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_of_two_workers():
    distributed = pytest.importorskip("distributed")
    pipe = Pipeline([("scale", WhereItTrained()), ("net", CLF)])
    expected = ours.cross_val_score(pipe, X, y, cv=6)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
        joblib.parallel_config("dask", n_jobs=-1),
    ):
        workers = set(client.run(os.getpid).values())
        result = ours.cross_validate(pipe, X, y, cv=6, return_estimator=True)
    np.testing.assert_array_equal(result["test_score"], expected)
    assert {est["scale"].process_ for est in result["estimator"]} == workers
    assert len(workers) == 2


@pytest.mark.filterwarnings("ignore")
def test_a_ray_cluster_of_two_workers(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # which would leave a token in the home folder
    ray = pytest.importorskip("ray")  # 200 MB, that the project's own environments do without
    from ray.util.joblib import register_ray

    register_ray()
    pipe = Pipeline([("scale", WhereItTrained()), ("net", CLF)])
    expected = ours.cross_val_score(pipe, X, y, cv=6)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        with joblib.parallel_config("ray", n_jobs=2):
            result = ours.cross_validate(pipe, X, y, cv=6, return_estimator=True)
    finally:
        ray.shutdown()
    np.testing.assert_array_equal(result["test_score"], expected)
    processes = {est["scale"].process_ for est in result["estimator"]}
    assert len(processes) == 2
    assert os.getpid() not in processes


class Gpus:
    """Stands in for `torch.cuda.device`: notes which thread computes on which of two GPUs, that are the CPU."""

    def __init__(self, monkeypatch):
        self.threads = {}
        monkeypatch.setattr(batched_fits_module, "gpus_of", lambda *args: [0, 1])
        monkeypatch.setattr(torch.cuda, "device", self.entered)

    @contextlib.contextmanager
    def entered(self, gpu):
        self.threads[gpu] = threading.current_thread()
        yield


def test_on_several_gpus_each_takes_its_share(monkeypatch):
    search = ours.GridSearchCV(CLF, {"hidden_layer_sizes": [(8,), (4, 4)], **GRID}, cv=2, refit=False)
    expected = search.fit(X, y).cv_results_
    gpus, trained = Gpus(monkeypatch), []
    whole = TrainingNet.fit_loop
    monkeypatch.setattr(
        TrainingNet, "fit_loop", lambda *args, **k: trained.append(threading.current_thread()) or whole(*args, **k)
    )
    results = search.fit(X, y).cv_results_

    assert_equal_results(results, {name: values for name, values in expected.items() if name != "group"})
    assert set(gpus.threads) == {0, 1}
    assert set(trained) == set(gpus.threads.values())
    assert threading.current_thread() not in trained


def test_an_error_on_one_gpu_ends_the_search(monkeypatch):
    Gpus(monkeypatch)
    shares = []

    def failing(tasks):
        shares.append(tasks)
        raise OSError("the driver has gone")

    monkeypatch.setattr(batched_fits_module, "run_part", failing)
    with pytest.raises(OSError, match="the driver has gone"):
        ours.cross_val_score(CLF, X, y, cv=theirs.ShuffleSplit(64, random_state=0))
    assert len(shares) <= 2


def test_the_gpus_are_all_there_are_or_the_one_that_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)

    def gpus_for(device):
        tasks = [batched_fits_module.Task(None, {"estimator": clone(CLF).set_params(device=device), "train": None})]
        return batched_fits_module.gpus_of(tasks, [0])

    assert gpus_for("cpu") == []
    assert gpus_for("auto") == gpus_for("cuda") == [0, 1, 2]
    assert gpus_for("cuda:1") == [1]


# --- What scikit-learn's searches do with any estimator -------------------------------------------------------------


def test_they_are_scikit_learns():
    for name in ("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV"):
        cls, base = getattr(ours, name), getattr(theirs, name)
        assert issubclass(cls, base)
        assert str(inspect.signature(cls)) == str(inspect.signature(base))
        assert "param" in cls.__doc__
        assert "trained alone" in cls.__doc__ or "becomes alone" in cls.__doc__
    for name in ("cross_validate", "cross_val_score", "cross_val_predict"):
        assert str(inspect.signature(getattr(ours, name))) == str(inspect.signature(getattr(theirs, name)))
    search = ours.GridSearchCV(CLF, GRID)
    assert is_classifier(search)
    assert "NeuralClassifier" in search._repr_html_()
    assert clone(search).get_params()["param_grid"] == GRID


def test_results_before_fit_are_an_error():
    with pytest.raises(NotFittedError):
        ours.GridSearchCV(CLF, GRID).predict(X)


@pytest.mark.parametrize("refit", ["recall", lambda results: 1, False])
def test_several_scores_and_ways_to_refit(refit):
    scoring = {"recall": make_scorer(recall_score), "accuracy": "accuracy"}
    settings = {"scoring": scoring, "refit": refit, "cv": 2}
    serial, together = (m.GridSearchCV(CLF, {"alpha": [0, 1, 9]}, **settings).fit(X, y) for m in (theirs, ours))
    assert_equal_results(together.cv_results_, serial.cv_results_)
    assert together.multimetric_
    assert together.scorer_.keys() == scoring.keys()
    assert hasattr(together, "best_estimator_") == (refit is not False)
    if refit is not False:
        assert together.best_index_ == serial.best_index_
        np.testing.assert_array_equal(together.predict(X), serial.predict(X))


def test_a_refit_that_is_no_score_is_refused():
    with pytest.raises(ValueError, match="refit"):
        ours.GridSearchCV(CLF, GRID, scoring=["accuracy", "recall"], refit=True).fit(X, y)


@NOT_FINITE
def test_failed_candidates_get_the_error_score():
    grid = {"learning_rate_init": [0.01, -1.0], "hidden_layer_sizes": [(8,)]}
    with pytest.warns(FitFailedWarning, match="2 fits failed"):
        search = ours.GridSearchCV(CLF, grid, cv=2).fit(X, y)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True]
    assert search.best_params_["learning_rate_init"] == 0.01
    with pytest.raises(ValueError, match="learning_rate_init"):
        ours.GridSearchCV(CLF, grid, cv=2, error_score="raise").fit(X, y)
    with pytest.raises(ValueError, match="All the 2 fits failed"):
        ours.GridSearchCV(CLF, {"learning_rate_init": [-1.0]}, cv=2).fit(X, y)


@NOT_FINITE
def test_one_candidate_that_diverges_fails_alone():
    grid = {"learning_rate_init": [0.01, 1e30]}
    clf = clone(CLF).set_params(scaling=None)
    with pytest.warns(FitFailedWarning, match="became NaN"):
        search = ours.GridSearchCV(clf, grid, cv=2, error_score=-7).fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    assert scores[1] == -7
    assert scores[0] > 0


def test_an_unknown_parameter_is_named():
    with pytest.raises(ValueError, match="learning_rate_int"):
        ours.GridSearchCV(CLF, {"learning_rate_int": [1]}).fit(X, y)


@NOT_FINITE
def test_a_step_that_fails_is_the_error_of_its_candidates():
    pipe = Pipeline([("pca", PCA()), ("net", CLF)])
    with pytest.warns(FitFailedWarning, match="n_components"):
        search = ours.GridSearchCV(pipe, {"pca__n_components": [2, 500]}, cv=2).fit(X, y)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True]


def test_steps_that_cannot_be_hashed_are_fitted_for_each(monkeypatch):
    pipe = Pipeline([("both", FeatureUnion([("a", StandardScaler()), ("b", PCA(2))])), ("net", CLF)])
    monkeypatch.setattr("joblib.hash", lambda value: 1 / 0)
    scores = ours.GridSearchCV(pipe, {"net__alpha": [0, 1]}, cv=2, refit=False).fit(X, y)
    assert scores.cv_results_["mean_test_score"][0] == theirs.cross_val_score(pipe, X, y, cv=2).mean()


def test_nothing_of_the_context_is_left_behind():
    before = joblib.parallel.get_active_backend()
    with pytest.raises(ValueError, match="alpha"):
        ours.GridSearchCV(CLF, {"alpha": [-1]}, error_score="raise").fit(X, y)
    assert type(joblib.parallel.get_active_backend()[0]) is type(before[0])


def test_a_network_that_one_scorer_cannot_take_fails_alone():
    def undefined_on_twelve_rows(estimator, X, y):
        if len(y) == 12:
            raise ValueError("not on these")
        return estimator.score(X, y)

    rows = slice(0, 140)
    folds = theirs.PredefinedSplit(np.repeat([0, 1, 2], [20, 60, 60]))
    clf = clone(CLF).set_params(scoring=undefined_on_twelve_rows, validation_fraction=0.15)
    with pytest.warns(FitFailedWarning, match="1 fits failed|2 fits failed"):
        scores = ours.cross_validate(clf, X[rows], y[rows], cv=folds)["test_score"]
    assert np.isnan(scores).any()
    assert np.isfinite(scores).any()


def test_functions_that_cannot_be_pickled_are_told_apart():
    scalings = [lambda X, k=k: X * (np.arange(X.shape[1]) != k) for k in range(20)]
    pipe = Pipeline([("own", FunctionTransformer()), ("net", clone(CLF).set_params(max_iter=1, ensemble_size=1))])
    settings = {"cv": 2, "refit": False, "scoring": "neg_log_loss"}
    serial, together = (m.GridSearchCV(pipe, {"own__func": scalings}, **settings).fit(X, y) for m in (theirs, ours))
    assert_equal_results(together.cv_results_, serial.cv_results_)


class Blind(NeuralClassifier):
    """Sees nothing but 0."""

    def _check_X(self, X, reset):
        return super()._check_X(np.asarray(X) * 0, reset)


def test_subclasses_encode_for_themselves():
    pipe = Pipeline([("net", CLF)])
    grid = {"net": [CLF, Blind(**SMALL)]}
    serial, together = (m.GridSearchCV(pipe, grid, cv=2, refit=False).fit(X, y) for m in (theirs, ours))
    np.testing.assert_array_equal(serial.cv_results_["mean_test_score"], together.cv_results_["mean_test_score"])
    assert together.cv_results_["group"].tolist() == [0, 1]


def test_a_scorer_sees_an_ordinary_estimator():
    def looks_closely(estimator, X, y):
        assert not {"fit", "set_params"} & set(vars(estimator))
        restored = pickle.loads(pickle.dumps(estimator))
        return restored.set_params(max_iter=1).fit(X, y).score(X, y)

    np.testing.assert_array_equal(*(m.cross_val_score(CLF, X, y, cv=2, scoring=looks_closely) for m in (theirs, ours)))


def test_what_prefers_threads_or_shared_memory_gets_them():
    """SGDClassifier's processes would write into copies of its weights."""
    X, y = load_iris(return_X_y=True)
    linear = SGDClassifier(n_jobs=2, random_state=0)
    settings = {"param_grid": {"alpha": [1e-3]}, "cv": 3}
    serial, together = (m.GridSearchCV(linear, **settings).fit(X, y) for m in (theirs, ours))
    np.testing.assert_array_equal(serial.best_estimator_.coef_, together.best_estimator_.coef_)
    with ours.batched_fits():
        forest = RandomForestClassifier(10, n_jobs=2, random_state=0).fit(X, y)
        assert joblib.effective_n_jobs(None) == 1
    np.testing.assert_array_equal(
        forest.predict_proba(X), RandomForestClassifier(10, random_state=0).fit(X, y).predict_proba(X)
    )


@pytest.mark.parametrize("backend", ["multiprocessing", "threading"])
def test_other_backends_of_joblib(backend):
    expected = ours.cross_val_score(CLF, X, y, cv=3)
    with joblib.parallel_config(backend, n_jobs=2):
        np.testing.assert_array_equal(ours.cross_val_score(CLF, X, y, cv=3), expected)


def test_texts_before_the_network():
    documents = [["a"] * (k % 3 + 1) + ["b"] * (k % 5) for k in range(60)]
    pipe = make_pipeline(FeatureHasher(8, input_type="string"), CLF)
    labels = np.arange(60) % 2
    np.testing.assert_array_equal(*(m.cross_val_score(pipe, documents, labels, cv=3) for m in (theirs, ours)))


def test_nothing_of_a_fit_is_kept_once_it_is_scored(monkeypatch):
    alive, scored = [], []

    def count(estimator, X, y):
        alive.append(weakref.ref(estimator))
        gc.collect()
        scored.append(sum(ref() is not None for ref in alive))
        return estimator.score(X, y)

    monkeypatch.setattr(batched_fits_module, "BATCH_VALUES", 1)
    ours.GridSearchCV(CLF, {"alpha": [0, 1, 2, 3]}, cv=2, scoring=count, refit=False).fit(X, y)
    assert max(scored) <= 2


# --- What is seen of it -----------------------------------------------------------------------------------------------


def test_a_bar_shows_the_best_score(capsys):
    ours.GridSearchCV(CLF, {"alpha": [0, 1, 2]}, cv=2, verbose=1, refit=False).fit(X, y)
    out = capsys.readouterr().out
    assert "Fitting 2 folds for each of 3 candidates, totalling 6 fits" in out
    assert "6/6" in out
    assert "best=0." in out
    assert "1 group" in out


def test_quiet_by_default(capsys):
    ours.GridSearchCV(CLF, {"alpha": [0, 1]}, cv=2).fit(X, y)
    assert capsys.readouterr() == ("", "")


def interrupted_search(search, monkeypatch, after):
    """Fit a search that gets a real SIGINT in the second epoch of its training number `after`."""
    nets, whole = [], TrainingNet.run_single_epoch

    def interrupted(self, *args, **kwargs):
        if self not in nets:
            nets.append(self)
        if len(nets) == after and len(self.history) == 2:
            signal.raise_signal(signal.SIGINT)
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(TrainingNet, "run_single_epoch", interrupted)
    return search.fit(X, y)


@NOT_FINITE
@pytest.mark.usefixtures("ctrl_c_raises")
def test_ctrl_c_keeps_what_is_finished(monkeypatch):
    grid = {"hidden_layer_sizes": [(8,), (4,), (3,)], "alpha": [0.0, 1.0]}
    search = ours.GridSearchCV(CLF, grid, cv=2)
    with pytest.warns(UserWarning, match=r"4 of 6 candidates are finished \(0, 1, 3, 4\)"):
        interrupted_search(search, monkeypatch, after=3)
    scores = search.cv_results_["mean_test_score"]
    assert np.isnan(scores).tolist() == [False, False, True] * 2
    assert search.best_index_ in (0, 1, 3, 4)
    assert search.predict(X).shape == y.shape


@pytest.mark.usefixtures("ctrl_c_raises")
def test_ctrl_c_before_anything_is_finished_ends_the_search(monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        interrupted_search(ours.GridSearchCV(CLF, {"alpha": [0.0, 1.0]}, cv=2), monkeypatch, after=1)


@pytest.mark.usefixtures("ctrl_c_raises")
def test_ctrl_c_ends_a_halving_search(monkeypatch):
    search = ours.HalvingGridSearchCV(CLF, {"alpha": [0.0, 1.0, 2.0, 3.0]}, cv=2, factor=2, min_resources=60)
    with pytest.raises(KeyboardInterrupt):
        interrupted_search(search, monkeypatch, after=2)

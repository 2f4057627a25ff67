"""Searches in several processes, on clusters, and on several GPUs."""

import contextlib
import os
import threading

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import ShuffleSplit
from sklearn.model_selection._validation import _fit_and_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sknn.model_selection import GridSearchCV, cross_val_score, cross_validate, distribute
from sknn.model_selection.tasks import Task
from sknn.training.net import TrainingNet
from tests.model_selection.common import CLF, GRID, X, assert_equal_results, y


class ProcessRecorder(StandardScaler):
    """A scaler that stores the process of its fit in `process_`."""

    def fit(self, X, y=None, sample_weight=None):
        self.process_ = os.getpid()
        return super().fit(X, y, sample_weight)


def test_n_jobs_distributes_the_fits_to_processes():
    pipe = Pipeline([("scale", ProcessRecorder()), ("net", CLF)])
    settings = {"cv": 6, "return_estimator": True}
    one_job, two_jobs = (cross_validate(pipe, X, y, n_jobs=n_jobs, **settings) for n_jobs in (1, 2))
    np.testing.assert_array_equal(one_job["test_score"], two_jobs["test_score"])
    assert {est["scale"].process_ for est in one_job["estimator"]} == {os.getpid()}
    processes = {est["scale"].process_ for est in two_jobs["estimator"]}
    assert len(processes) == 2
    assert os.getpid() not in processes


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_fits_are_distributed_to_the_workers_of_a_dask_cluster():
    distributed = pytest.importorskip("distributed")
    pipe = Pipeline([("scale", ProcessRecorder()), ("net", CLF)])
    expected = cross_val_score(pipe, X, y, cv=6)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
        joblib.parallel_config("dask", n_jobs=-1),
    ):
        workers = set(client.run(os.getpid).values())
        result = cross_validate(pipe, X, y, cv=6, return_estimator=True)
    np.testing.assert_array_equal(result["test_score"], expected)
    assert {est["scale"].process_ for est in result["estimator"]} == workers
    assert len(workers) == 2


@pytest.mark.filterwarnings("ignore")
def test_the_fits_are_distributed_to_the_workers_of_a_ray_cluster(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # otherwise, ray leaves a token in the home folder
    ray = pytest.importorskip("ray")  # 200 MB, so the project's environments do not have it
    from ray.util.joblib import register_ray

    register_ray()
    pipe = Pipeline([("scale", ProcessRecorder()), ("net", CLF)])
    expected = cross_val_score(pipe, X, y, cv=6)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        with joblib.parallel_config("ray", n_jobs=2):
            result = cross_validate(pipe, X, y, cv=6, return_estimator=True)
    finally:
        ray.shutdown()
    np.testing.assert_array_equal(result["test_score"], expected)
    processes = {est["scale"].process_ for est in result["estimator"]}
    assert len(processes) == 2
    assert os.getpid() not in processes


class TwoGpus:
    """A stand-in for `torch.cuda.device` with two GPUs, both the CPU; `threads` has the thread of each GPU."""

    def __init__(self, monkeypatch):
        self.threads = {}
        monkeypatch.setattr(distribute, "find_gpus", lambda *args: [0, 1])
        monkeypatch.setattr(torch.cuda, "device", self.device)

    @contextlib.contextmanager
    def device(self, gpu):
        self.threads[gpu] = threading.current_thread()
        yield


def test_each_of_several_gpus_trains_a_share(monkeypatch):
    search = GridSearchCV(CLF, {"hidden_layer_sizes": [(8,), (4, 4)], **GRID}, cv=2, refit=False)
    expected = search.fit(X, y).cv_results_
    gpus, threads, fit_loop = TwoGpus(monkeypatch), [], TrainingNet.fit_loop
    monkeypatch.setattr(
        TrainingNet, "fit_loop", lambda *args, **k: threads.append(threading.current_thread()) or fit_loop(*args, **k)
    )
    results = search.fit(X, y).cv_results_

    assert_equal_results(results, {name: values for name, values in expected.items() if name != "group"})
    assert set(gpus.threads) == {0, 1}
    assert set(threads) == set(gpus.threads.values())
    assert threading.current_thread() not in threads


def test_an_error_on_one_gpu_ends_the_search(monkeypatch):
    TwoGpus(monkeypatch)
    shares = []

    def failing(tasks):
        shares.append(tasks)
        raise OSError("the driver is gone")

    monkeypatch.setattr(distribute, "run_share", failing)
    with pytest.raises(OSError, match="the driver is gone"):
        cross_val_score(CLF, X, y, cv=ShuffleSplit(64, random_state=0))
    assert len(shares) <= 2


def test_the_gpus_of_a_search_are_all_gpus_or_the_one_that_device_names(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)

    def gpus(device):
        task = Task(_fit_and_score, (), {"estimator": clone(CLF).set_params(device=device)})
        return distribute.find_gpus([task])

    assert gpus("cpu") == []
    assert gpus("auto") == gpus("cuda") == [0, 1, 2]
    assert gpus("cuda:1") == [1]

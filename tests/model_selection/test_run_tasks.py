"""Joint trainings of a search: their number and size, memory, and fit times."""

import gc
import time
import weakref

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sknn.model_selection import GridSearchCV, cross_val_score, memory, run_tasks
from sknn.training.net import TrainingNet
from tests.model_selection.common import CLF, GRID, PIPE_GRID, X, record_trainings, y


class CountingScaler(StandardScaler):
    """A scaler that counts the fits of all instances."""

    n_fits = 0

    def fit(self, X, y=None, sample_weight=None):
        CountingScaler.n_fits += 1
        return super().fit(X, y, sample_weight)


def test_all_candidates_and_folds_are_one_joint_training(monkeypatch):
    n_members = record_trainings(monkeypatch)
    GridSearchCV(CLF, GRID, cv=3, refit=False).fit(X, y)
    assert n_members == [8 * 3 * 2]


def test_networks_of_different_shapes_are_different_groups(monkeypatch):
    n_members = record_trainings(monkeypatch)
    grid = [{"hidden_layer_sizes": [(8,), (4,)], "alpha": [0, 1]}, {"max_iter": [3], "alpha": [0, 1, 2]}]
    search = GridSearchCV(CLF, grid, cv=2, refit=False).fit(X, y)
    assert search.cv_results_["group"].tolist() == [0, 1, 0, 1, 2, 2, 2]
    assert sorted(n_members) == [8, 8, 12]


def test_a_fit_time_is_a_share_of_the_joint_trainings_time():
    start = time.perf_counter()
    search = GridSearchCV(CLF, GRID, cv=3, refit=False).fit(X, y)
    duration = time.perf_counter() - start
    times = search.cv_results_["mean_fit_time"]
    assert (times > 0).all()
    assert 3 * times.sum() <= duration


def test_preprocessing_steps_are_fitted_once_for_each_fold_and_setting():
    pipe = Pipeline([("scale", CountingScaler()), ("net", CLF)])
    CountingScaler.n_fits = 0
    GridSearchCV(pipe, PIPE_GRID | {"scale__with_mean": [True, False]}, cv=3, refit=False).fit(X, y)
    assert CountingScaler.n_fits == 2 * 3


def test_a_large_group_is_split_into_several_trainings(monkeypatch):
    expected = GridSearchCV(CLF, GRID, cv=3, refit=False).fit(X, y)
    monkeypatch.setattr(memory, "MAX_JOINT_WEIGHTS", 5 * 2 * 113)
    n_members = record_trainings(monkeypatch)
    search = GridSearchCV(CLF, GRID, cv=3, refit=False).fit(X, y)
    assert len(n_members) > 4
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])
    assert set(search.cv_results_["group"]) == {0}


def test_a_training_that_does_not_fit_in_memory_is_halved(monkeypatch):
    expected = cross_val_score(CLF, X, y, cv=6)
    n_members, fit_loop = [], TrainingNet.fit_loop

    def with_little_memory(self, *args, **kwargs):
        n_members.append(self.module_.n_members)
        if self.module_.n_members > 4:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return fit_loop(self, *args, **kwargs)

    monkeypatch.setattr(TrainingNet, "fit_loop", with_little_memory)
    np.testing.assert_array_equal(cross_val_score(CLF, X, y, cv=6), expected)
    assert n_members == [12, 6, 4, 6, 4, 2, 2]


def test_tables_that_do_not_fit_in_memory_are_encoded_one_after_the_other(monkeypatch):
    expected = cross_val_score(CLF, X, y, cv=6)
    for module in (run_tasks, memory):
        monkeypatch.setattr(module, "free_memory", lambda device=None: 4 * 4 * 1.5 * X.size)
    n_members = record_trainings(monkeypatch)
    np.testing.assert_array_equal(cross_val_score(CLF, X, y, cv=6), expected)
    assert len(n_members) >= 3


def test_a_fit_is_released_after_its_scoring(monkeypatch):
    estimators, n_alive = [], []

    def count(estimator, X, y):
        estimators.append(weakref.ref(estimator))
        gc.collect()
        n_alive.append(sum(ref() is not None for ref in estimators))
        return estimator.score(X, y)

    monkeypatch.setattr(memory, "MAX_JOINT_WEIGHTS", 1)
    GridSearchCV(CLF, {"alpha": [0, 1, 2, 3]}, cv=2, scoring=count, refit=False).fit(X, y)
    assert max(n_alive) <= 2

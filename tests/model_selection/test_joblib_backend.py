"""The joblib backend: which functions use it, other backends, the progress bar, and interrupts."""

import signal

import joblib
import numpy as np
import pytest
import sklearn.model_selection
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import SGDClassifier

from sknn.model_selection import GridSearchCV, HalvingGridSearchCV, batched_fits, cross_val_score
from sknn.training.net import TrainingNet
from tests.model_selection.common import CLF, IGNORE_NOT_FINITE, MODULES, X, record_trainings, y


def test_batched_fits_is_for_functions_of_scikit_learn(monkeypatch):
    call = {"param_name": "alpha", "param_range": [0, 1, 10], "cv": 3}
    expected = sklearn.model_selection.validation_curve(CLF, X, y, **call)
    n_members = record_trainings(monkeypatch)
    with batched_fits():
        actual = sklearn.model_selection.validation_curve(CLF, X, y, **call)
    np.testing.assert_array_equal(expected, actual)
    assert n_members == [3 * 3 * 2]


def test_a_search_can_be_cross_validated():
    expected, actual = (
        module.cross_val_score(module.GridSearchCV(CLF, {"alpha": [0, 1]}, cv=2), X, y, cv=3) for module in MODULES
    )
    np.testing.assert_array_equal(expected, actual)


def test_the_backend_of_joblib_is_restored_after_an_error():
    before = joblib.parallel.get_active_backend()
    with pytest.raises(ValueError, match="alpha"):
        GridSearchCV(CLF, {"alpha": [-1]}, error_score="raise").fit(X, y)
    assert type(joblib.parallel.get_active_backend()[0]) is type(before[0])


def test_other_estimators_get_the_threads_that_they_prefer():
    """In processes, SGDClassifier would write to copies of its weights."""
    X, y = load_iris(return_X_y=True)
    linear = SGDClassifier(n_jobs=2, random_state=0)
    settings = {"param_grid": {"alpha": [1e-3]}, "cv": 3}
    expected, actual = (module.GridSearchCV(linear, **settings).fit(X, y) for module in MODULES)
    np.testing.assert_array_equal(expected.best_estimator_.coef_, actual.best_estimator_.coef_)
    with batched_fits():
        forest = RandomForestClassifier(10, n_jobs=2, random_state=0).fit(X, y)
        assert joblib.effective_n_jobs(None) == 1
    np.testing.assert_array_equal(
        forest.predict_proba(X), RandomForestClassifier(10, random_state=0).fit(X, y).predict_proba(X)
    )


@pytest.mark.parametrize("backend", ["multiprocessing", "threading"])
def test_the_results_are_those_of_other_backends_of_joblib(backend):
    expected = cross_val_score(CLF, X, y, cv=3)
    with joblib.parallel_config(backend, n_jobs=2):
        np.testing.assert_array_equal(cross_val_score(CLF, X, y, cv=3), expected)


def test_the_bar_of_a_verbose_search_shows_the_best_score(capsys):
    GridSearchCV(CLF, {"alpha": [0, 1, 2]}, cv=2, verbose=1, refit=False).fit(X, y)
    out = capsys.readouterr().out
    assert "Fitting 2 folds for each of 3 candidates, totalling 6 fits" in out
    assert "6/6" in out
    assert "best=0." in out
    assert "1 group" in out


def test_a_search_prints_nothing_by_default(capsys):
    GridSearchCV(CLF, {"alpha": [0, 1]}, cv=2).fit(X, y)
    assert capsys.readouterr() == ("", "")


def fit_with_interrupt(search, monkeypatch, training):
    """Fit a search that gets a real SIGINT in the second epoch of training number `training`."""
    nets, run_single_epoch = [], TrainingNet.run_single_epoch

    def interrupted(self, *args, **kwargs):
        if self not in nets:
            nets.append(self)
        if len(nets) == training and len(self.history) == 2:
            signal.raise_signal(signal.SIGINT)
        return run_single_epoch(self, *args, **kwargs)

    monkeypatch.setattr(TrainingNet, "run_single_epoch", interrupted)
    return search.fit(X, y)


@IGNORE_NOT_FINITE
@pytest.mark.usefixtures("ctrl_c_raises")
def test_after_ctrl_c_the_search_continues_with_the_finished_candidates(monkeypatch):
    grid = {"hidden_layer_sizes": [(8,), (4,), (3,)], "alpha": [0.0, 1.0]}
    search = GridSearchCV(CLF, grid, cv=2)
    with pytest.warns(UserWarning, match=r"4 of 6 candidates are finished \(0, 1, 3, 4\)"):
        fit_with_interrupt(search, monkeypatch, training=3)
    scores = search.cv_results_["mean_test_score"]
    assert np.isnan(scores).tolist() == [False, False, True] * 2
    assert search.best_index_ in (0, 1, 3, 4)
    assert search.predict(X).shape == y.shape


@pytest.mark.usefixtures("ctrl_c_raises")
def test_ctrl_c_without_finished_candidates_ends_the_search(monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        fit_with_interrupt(GridSearchCV(CLF, {"alpha": [0.0, 1.0]}, cv=2), monkeypatch, training=1)


@pytest.mark.usefixtures("ctrl_c_raises")
def test_ctrl_c_ends_a_halving_search(monkeypatch):
    search = HalvingGridSearchCV(CLF, {"alpha": [0.0, 1.0, 2.0, 3.0]}, cv=2, factor=2, min_resources=60)
    with pytest.raises(KeyboardInterrupt):
        fit_with_interrupt(search, monkeypatch, training=2)

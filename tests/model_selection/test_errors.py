"""Exceptions in a search: one of a single fit gives an error score, one of a joint training ends the search."""

import signal
import time

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning

from sknn.estimators.base import BaseNeural
from sknn.model_selection import GridSearchCV, run_tasks
from sknn.training import joint
from sknn.training.net import TrainingNet
from tests.model_selection.common import CLF, IGNORE_NOT_FINITE, MODULES, X, record_trainings, y

GRID = {"alpha": [0.0, 0.1, 1.0]}
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="this system has no SIGALRM")


class OutOfTimeError(Exception):
    """Raised by the tests' handler of SIGALRM."""


@pytest.fixture
def alarm():
    """A function that lets SIGALRM raise an error after some seconds; its `count` is the number of signals."""

    def handler(*_):
        set_alarm.count += 1
        raise OutOfTimeError

    def set_alarm(seconds):
        signal.setitimer(signal.ITIMER_REAL, seconds, 20)  # further signals end the test if the first is lost

    set_alarm.count = 0
    before = signal.signal(signal.SIGALRM, handler)
    yield set_alarm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def time_out_in(monkeypatch, alarm, owner, name, call=1):
    """Let the alarm interrupt a function, in its call with this number; return a list that grows with each call."""
    calls, function = [], getattr(owner, name)

    def called(*args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            alarm(0.001)
            time.sleep(60)
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, called)
    return calls


JOINT = {  # moments of the work on several candidates: object, function, call
    "free memory": (run_tasks, "free_memory", 1),
    "batches": (run_tasks, "max_joint_networks", 1),
    "joined network": (joint, "joined_net", 1),
    "first epoch": (TrainingNet, "run_single_epoch", 1),
    "last epoch": (TrainingNet, "run_single_epoch", 4),
    "first result": (joint, "copy_result", 1),
    "last result": (joint, "copy_result", 6),
}


@pytest.mark.parametrize("error_score", [np.nan, "raise"])
@pytest.mark.parametrize("moment", JOINT.values(), ids=JOINT)
def test_a_time_out_in_joint_work_ends_the_search(moment, error_score, monkeypatch, alarm):
    calls = time_out_in(monkeypatch, alarm, *moment)
    search = GridSearchCV(clone(CLF).set_params(early_stopping=False), GRID, cv=2, error_score=error_score)
    with pytest.raises(OutOfTimeError):
        search.fit(X, y)
    assert alarm.count == 1
    assert len(calls) == moment[2]


def test_a_time_out_in_hashing_ends_the_search(monkeypatch, alarm):
    calls = time_out_in(monkeypatch, alarm, joblib, "hash")
    with pytest.raises(OutOfTimeError):
        GridSearchCV(CLF, GRID, cv=2).fit(X, y)
    assert (alarm.count, len(calls)) == (1, 2)  # the second call showed that hashing works


SINGLE = {  # moments in which scikit-learn's search treats an exception as a failure of the candidate
    "encoding": (BaseNeural, "_encode_all", 1),
    "building": (BaseNeural, "_prepare", 2),
    "single training": (TrainingNet, "fit_loop", 1),
    "attributes": (BaseNeural, "_finish_fit", 2),
}


@IGNORE_NOT_FINITE
@pytest.mark.parametrize("moment", SINGLE.values(), ids=SINGLE)
def test_a_time_out_in_the_work_on_one_candidate_is_its_error(moment, monkeypatch, alarm):
    grid = {"hidden_layer_sizes": [(8,), (6,)]}  # trained singly
    search = GridSearchCV(CLF, grid, cv=[(np.arange(160), np.arange(160, 240))], refit=False, error_score="raise")
    with monkeypatch.context() as patch:
        time_out_in(patch, alarm, *moment)
        with pytest.raises(OutOfTimeError):
            search.fit(X, y)
    assert alarm.count == 1
    calls = time_out_in(monkeypatch, alarm, *moment)
    with pytest.warns(FitFailedWarning, match=r"(?s)1 fits failed out of a total of 2.*OutOfTimeError"):
        search.set_params(error_score=-7).fit(X, y)
    assert alarm.count == 2
    assert len(calls) == 2
    assert search.cv_results_["mean_test_score"].tolist().count(-7) == 1


@pytest.mark.parametrize("seconds", [0.001, 0.02, 0.1, 0.3])
def test_a_time_out_ends_a_very_long_search(seconds, monkeypatch, alarm):
    fit_loop = TrainingNet.fit_loop

    def timed(*args, **kwargs):
        alarm(seconds)
        return fit_loop(*args, **kwargs)

    monkeypatch.setattr(TrainingNet, "fit_loop", timed)
    long_training = clone(CLF).set_params(max_iter=10**6, early_stopping=False, n_iter_no_change=10**6)
    with pytest.raises(OutOfTimeError):
        GridSearchCV(long_training, GRID, cv=2).fit(X, y)
    assert alarm.count == 1


@IGNORE_NOT_FINITE
def test_a_time_out_in_a_scorer_is_the_error_of_its_candidate(alarm, monkeypatch):
    calls, n_members = [], record_trainings(monkeypatch)

    def scorer(estimator, X, y):
        calls.append(1)
        if len(calls) == 8:
            alarm(0.001)
            time.sleep(60)
        return estimator.score(X, y)

    clf = clone(CLF).set_params(scoring=scorer, early_stopping=True)
    with pytest.warns(FitFailedWarning, match=r"(?s)1 fits failed out of a total of 6.*OutOfTimeError"):
        search = GridSearchCV(clf, GRID, cv=2, refit=False, error_score=-7).fit(X, y)
    scores = [search.cv_results_[f"split{k}_test_score"] for k in (0, 1)]
    assert np.sum(np.equal(scores, -7)) == 1
    assert (alarm.count, len(n_members)) == (1, 1)
    calls.clear()
    with pytest.raises(OutOfTimeError):
        GridSearchCV(clf, GRID, cv=2, refit=False, error_score="raise").fit(X, y)
    assert (alarm.count, len(calls)) == (2, 8)


@IGNORE_NOT_FINITE
@pytest.mark.parametrize("parameter", ["scoring", "metrics"])
def test_only_candidates_whose_scorer_fails_get_the_error_score(parameter):
    def scorer(estimator, X, y):
        if estimator.estimator.alpha == 0.1:
            raise ValueError("alpha is 0.1")
        return estimator.score(X, y)

    value = scorer if parameter == "scoring" else [scorer]
    clf = clone(CLF).set_params(**{parameter: value}, early_stopping=True)
    searches = [module.GridSearchCV(clf, GRID, cv=2, refit=False) for module in MODULES]
    for search in searches:
        with pytest.warns(FitFailedWarning, match=r"(?s)2 fits failed out of a total of 6.*alpha is 0.1"):
            search.fit(X, y)
    for k in (0, 1):
        expected, actual = (search.cv_results_[f"split{k}_test_score"] for search in searches)
        np.testing.assert_array_equal(actual, expected)
        assert np.isnan(actual).tolist() == [False, True, False]


def test_with_error_score_raise_an_invalid_candidate_ends_the_search_before_the_training(monkeypatch):
    n_members = record_trainings(monkeypatch)
    with pytest.raises(ValueError, match="alpha"):
        GridSearchCV(CLF, {"alpha": [0.0, 1.0, -1.0]}, cv=2, error_score="raise").fit(X, y)
    assert not n_members


def test_an_error_in_a_joint_training_ends_the_search(monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("of no candidate")

    monkeypatch.setattr(joint, "copy_result", broken)
    with pytest.raises(ZeroDivisionError, match="of no candidate"):
        GridSearchCV(CLF, GRID, cv=2).fit(X, y)

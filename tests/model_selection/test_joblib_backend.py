"""What a search does with exceptions: a candidate's own are scikit-learn's to judge, and a time-out ends the search."""

import signal
import time

import numpy as np
import pytest
import sklearn.model_selection as theirs
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import FitFailedWarning

import sknn.model_selection.grouping as grouping
import sknn.model_selection.joblib_backend as batched_fits
import sknn.training.joint as together
from sknn import NeuralClassifier
from sknn import model_selection as ours
from sknn.estimators.base import BaseNeural
from sknn.training.net import TrainingNet

X, y = load_breast_cancer(return_X_y=True)
X, y = X[:240, :8], y[:240]
SMALL = {"hidden_layer_sizes": (8,), "ensemble_size": 2, "max_iter": 4, "random_state": 0, "n_threads": 1}
CLF = NeuralClassifier(**SMALL)
GRID = {"alpha": [0.0, 0.1, 1.0]}
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="there is no SIGALRM here")
NOT_FINITE = pytest.mark.filterwarnings("ignore:One or more of the test scores")


class OutOfTimeError(Exception):
    """Raised by the tests' handler of SIGALRM."""


@pytest.fixture
def alarm():
    """The function that has the clock send a signal after some seconds; the signals are counted in its `count`."""

    def ring(*_):
        after.count += 1
        raise OutOfTimeError

    def after(seconds):
        # Should the first be lost, the next ones end what would not end.
        signal.setitimer(signal.ITIMER_REAL, seconds, 20)

    after.count = 0
    before = signal.signal(signal.SIGALRM, ring)
    yield after
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def ring_in(monkeypatch, alarm, owner, name, call=1):
    """Let the alarm ring when a function is called for the given time; return the list of its calls."""
    calls, whole = [], getattr(owner, name)

    def called(*args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            alarm(0.001)
            time.sleep(60)
        return whole(*args, **kwargs)

    monkeypatch.setattr(owner, name, called)
    return calls


SHARED = {  # what belongs to several candidates
    "free memory": (batched_fits, "memory", 1),
    "batches": (batched_fits, "networks_at_once", 1),
    "networks put together": (together, "joined_net", 1),
    "first epoch": (TrainingNet, "run_single_epoch", 1),
    "last epoch": (TrainingNet, "run_single_epoch", 4),
    "first network that is trained": (together, "adopt", 1),
    "last network that is trained": (together, "adopt", 6),
}


@pytest.mark.parametrize("error_score", [np.nan, "raise"])
@pytest.mark.parametrize("moment", SHARED.values(), ids=SHARED)
def test_a_time_out_in_what_candidates_share_ends_the_search(moment, error_score, monkeypatch, alarm):
    calls = ring_in(monkeypatch, alarm, *moment)
    search = ours.GridSearchCV(clone(CLF).set_params(early_stopping=False), GRID, cv=2, error_score=error_score)
    with pytest.raises(OutOfTimeError):
        search.fit(X, y)
    assert alarm.count == 1
    assert len(calls) == moment[2]


def test_a_time_out_is_not_taken_for_an_error_of_what_cannot_be_hashed(monkeypatch, alarm):
    calls = ring_in(monkeypatch, alarm, grouping.joblib, "hash")
    with pytest.raises(OutOfTimeError):
        ours.GridSearchCV(CLF, GRID, cv=2).fit(X, y)
    assert (alarm.count, len(calls)) == (1, 2)  # tried again, and there was no error then


OWN = {  # what scikit-learn's own search does where it takes an exception for the candidate's failure
    "encoding": (BaseNeural, "_encode_all", 1),
    "building": (BaseNeural, "_prepare", 2),
    "training alone": (TrainingNet, "fit_loop", 1),
    "attributes": (BaseNeural, "_conclude", 2),
}


@NOT_FINITE
@pytest.mark.parametrize("moment", OWN.values(), ids=OWN)
def test_a_time_out_in_what_is_one_candidates_is_its_error_once(moment, monkeypatch, alarm):
    grid = {"hidden_layer_sizes": [(8,), (6,)]}  # which train alone
    search = ours.GridSearchCV(CLF, grid, cv=[(np.arange(160), np.arange(160, 240))], refit=False, error_score="raise")
    with monkeypatch.context() as patch:
        ring_in(patch, alarm, *moment)
        with pytest.raises(OutOfTimeError):
            search.fit(X, y)
    assert alarm.count == 1
    calls = ring_in(monkeypatch, alarm, *moment)
    with pytest.warns(FitFailedWarning, match=r"(?s)1 fits failed out of a total of 2.*OutOfTimeError"):
        search.set_params(error_score=-7).fit(X, y)
    assert alarm.count == 2
    assert len(calls) == 2
    assert search.cv_results_["mean_test_score"].tolist().count(-7) == 1


@pytest.mark.parametrize("seconds", [0.001, 0.02, 0.1, 0.3])
def test_a_time_out_ends_a_search_without_end_wherever_it_is(seconds, monkeypatch, alarm):
    whole = TrainingNet.fit_loop

    def timed(*args, **kwargs):
        alarm(seconds)
        return whole(*args, **kwargs)

    monkeypatch.setattr(TrainingNet, "fit_loop", timed)
    endless = clone(CLF).set_params(max_iter=10**6, early_stopping=False, n_iter_no_change=10**6)
    with pytest.raises(OutOfTimeError):
        ours.GridSearchCV(endless, GRID, cv=2).fit(X, y)
    assert alarm.count == 1


@NOT_FINITE
def test_a_time_out_in_a_scorer_is_the_error_of_its_candidate_once(alarm, monkeypatch):
    calls, trainings, whole = [], [], TrainingNet.fit_loop
    monkeypatch.setattr(TrainingNet, "fit_loop", lambda *args, **kwargs: trainings.append(1) or whole(*args, **kwargs))

    def scorer(estimator, X, y):
        calls.append(1)
        if len(calls) == 8:
            alarm(0.001)
            time.sleep(60)
        return estimator.score(X, y)

    watched = clone(CLF).set_params(scoring=scorer, early_stopping=True)
    with pytest.warns(FitFailedWarning, match=r"(?s)1 fits failed out of a total of 6.*OutOfTimeError"):
        search = ours.GridSearchCV(watched, GRID, cv=2, refit=False, error_score=-7).fit(X, y)
    scores = [search.cv_results_[f"split{k}_test_score"] for k in (0, 1)]
    assert np.sum(np.equal(scores, -7)) == 1
    assert (alarm.count, len(trainings)) == (1, 1)
    calls.clear()
    with pytest.raises(OutOfTimeError):
        ours.GridSearchCV(watched, GRID, cv=2, refit=False, error_score="raise").fit(X, y)
    assert (alarm.count, len(calls)) == (2, 8)


@NOT_FINITE
@pytest.mark.parametrize("parameter", ["scoring", "metrics"])
def test_candidates_whose_scorers_fail_fail_alone_and_the_others_are_as_ever(parameter):
    def scorer_of(alpha):
        def scorer(estimator, X, y):
            if estimator.estimator.alpha == alpha:
                raise ValueError("not this one")
            return estimator.score(X, y)

        return scorer

    scorer = scorer_of(0.1)
    value = scorer if parameter == "scoring" else [scorer]
    watched = clone(CLF).set_params(**{parameter: value}, early_stopping=True)
    searches = [m.GridSearchCV(watched, GRID, cv=2, refit=False) for m in (theirs, ours)]
    for search in searches:
        with pytest.warns(FitFailedWarning, match=r"(?s)2 fits failed out of a total of 6.*not this one"):
            search.fit(X, y)
    for k in (0, 1):
        expected, got = (search.cv_results_[f"split{k}_test_score"] for search in searches)
        np.testing.assert_array_equal(got, expected)
        assert np.isnan(got).tolist() == [False, True, False]


def test_an_error_that_ends_the_search_ends_it_before_anything_is_trained(monkeypatch):
    trained, whole = [], TrainingNet.fit_loop
    monkeypatch.setattr(TrainingNet, "fit_loop", lambda *args, **kwargs: trained.append(1) or whole(*args, **kwargs))
    with pytest.raises(ValueError, match="alpha"):
        ours.GridSearchCV(CLF, {"alpha": [0.0, 1.0, -1.0]}, cv=2, error_score="raise").fit(X, y)
    assert not trained


def test_another_error_in_a_batch_ends_the_search(monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("no candidate's own")

    monkeypatch.setattr(together, "adopt", broken)
    with pytest.raises(ZeroDivisionError, match="no candidate's own"):
        ours.GridSearchCV(CLF, GRID, cv=2).fit(X, y)

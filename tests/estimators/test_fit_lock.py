"""An estimator is fitted by one thread at a time."""

import os
import threading

import numpy as np
import pytest
from sklearn.base import clone
from skorch.callbacks import Callback

from sknn import NeuralClassifier

X, Y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2


class Waits(Callback):
    """Stops a fit in its first epoch until an event is set."""

    def __init__(self):
        self.events = {"begun": threading.Event(), "resumed": threading.Event()}

    def __deepcopy__(self, memo):
        return self  # events cannot be copied

    def on_epoch_begin(self, net, **kwargs):
        self.events["begun"].set()
        assert self.events["resumed"].wait(60)


@pytest.fixture
def clf_in_fit():
    """Return an estimator that another thread is clf_in_fit."""
    waits = Waits()
    clf = NeuralClassifier(4, max_iter=1, ensemble_size=1, random_state=0, callbacks=[waits])
    thread = threading.Thread(target=clf.fit, args=(X, Y))
    thread.start()
    assert waits.events["begun"].wait(60)
    yield clf
    waits.events["resumed"].set()
    thread.join()


def test_a_fit_in_a_second_thread_raises_an_error(clf_in_fit):
    for fit in (clf_in_fit.fit, lambda X, y: clf_in_fit.partial_fit(X, y, classes=[0, 1])):
        with pytest.raises(RuntimeError, match=r"is being fitted by another thread.*clone\(estimator\)\.fit"):
            fit(X, Y)


def test_a_clone_can_be_fitted_at_the_same_time(clf_in_fit):
    assert clone(clf_in_fit).set_params(callbacks=None).fit(X, Y).n_iter_ == 1


@pytest.mark.parametrize("labels", [Y[:5], Y], ids=["failed fit", "completed fit"])
def test_after_a_fit_has_ended_another_thread_can_fit(labels):
    clf = NeuralClassifier(4, max_iter=1, ensemble_size=1, random_state=0)
    errors = []

    def fit():
        try:
            clf.fit(X, labels)
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=fit)
    thread.start()
    thread.join()
    assert len(errors) == (len(labels) < len(X))
    assert clf.fit(X, Y).n_iter_ == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_can_fit_an_estimator_that_its_parent_was_fitting(clf_in_fit):
    child = os.fork()
    if child == 0:
        try:
            clf_in_fit.set_params(callbacks=None).fit(X, Y)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

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
    """Holds a fit in its first epoch until it is told to go on; the estimator trains copies, which share the events."""

    def __init__(self):
        self.events = {"begun": threading.Event(), "goes on": threading.Event()}

    def __deepcopy__(self, memo):
        return self

    def on_epoch_begin(self, net, **kwargs):
        self.events["begun"].set()
        assert self.events["goes on"].wait(60)


@pytest.fixture
def fitting():
    """An estimator that another thread is fitting."""
    waits = Waits()
    clf = NeuralClassifier(4, max_iter=1, ensemble_size=1, random_state=0, callbacks=[waits])
    thread = threading.Thread(target=clf.fit, args=(X, Y))
    thread.start()
    assert waits.events["begun"].wait(60)
    yield clf
    waits.events["goes on"].set()
    thread.join()


def test_a_second_thread_is_refused_in_words(fitting):
    for fit in (fitting.fit, lambda X, y: fitting.partial_fit(X, y, classes=[0, 1])):
        with pytest.raises(RuntimeError, match=r"is being fitted by another thread.*clone\(estimator\)\.fit"):
            fit(X, Y)


def test_a_clone_may_be_fitted_meanwhile(fitting):
    assert clone(fitting).set_params(callbacks=None).fit(X, Y).n_iter_ == 1


@pytest.mark.parametrize("labels", [Y[:5], Y], ids=["a fit that fails", "a fit that ends"])
def test_the_estimator_can_be_fitted_by_another_thread_afterwards(labels):
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_child_process_may_fit_what_a_thread_of_its_parent_was_fitting(fitting):
    child = os.fork()
    if child == 0:
        try:
            fitting.set_params(callbacks=None).fit(X, Y)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

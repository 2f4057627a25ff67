"""Presses Ctrl-C at lines of a fit, which has to end with a usable model, or to leave things as they were.

    python -m tests.interrupts CASE PLACES [SEED]

It is a program of its own, for a trace function strikes also where no signal can: between the end of a `with` block and
its `__exit__`.  A lock is left locked then, and a setting changed, which would end or hang the tests that follow.
"""

import sys
import warnings

import numpy as np
import skorch
from sklearn.exceptions import ConvergenceWarning

import sknn
from sknn import NeuralClassifier
from sknn.utils.warnings import warn

OURS = tuple(module.__file__.removesuffix("__init__.py") for module in (sknn, skorch))
X, Y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2
TINY = {
    "hidden_layer_sizes": (4,),
    "max_iter": 3,
    "n_iter_no_change": 1,
    "tol": 0.05,
    "ensemble_size": 3,
    "random_state": 0,
    "n_threads": 1,
}


def fresh(**params):
    return NeuralClassifier(**TINY | params)


def trained(**params):
    with warnings.catch_warnings(action="ignore"):
        return fresh(**params).fit(X, Y)


CASES = {
    "fit": (fresh, lambda clf: clf.fit(X, Y)),
    "lbfgs": (lambda: fresh(solver="lbfgs"), lambda clf: clf.fit(X, Y)),
    "warm start": (lambda: trained(warm_start=True), lambda clf: clf.fit(X, Y)),
    "partial_fit": (lambda: fresh().partial_fit(X, Y, classes=[0, 1]), lambda clf: clf.partial_fit(X, Y)),
}


class PressedAtLine:
    """Raises KeyboardInterrupt at the n-th line of our code, as Python's handler of Ctrl-C does between two lines."""

    def __init__(self, n):
        self.n, self.lines, self.where = n, 0, None

    def __call__(self, frame, event, arg):
        if not frame.f_code.co_filename.startswith(OURS) or frame.f_code in (warn.__code__,):
            return None
        if event == "line":
            self.lines += 1
            if self.lines == self.n:
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_name})"
                raise KeyboardInterrupt
        return self


def run(fit, clf, presses):
    """Fit with a press of Ctrl-C; return what is raised, and the warnings."""
    before = sys.gettrace()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sys.settrace(presses)
        try:
            fit(clf)
            raised = None
        except BaseException as error:
            raised = error
        finally:
            sys.settrace(before)
    return raised, [str(w.message) for w in caught if w.category is not ConvergenceWarning]


def results(clf):
    return (clf.predict_proba(X).tolist(), clf.loss_curve_) if clf.__sklearn_is_fitted__() else None


def check(case, places):
    make, fit = CASES[case]
    with warnings.catch_warnings(action="ignore"):
        complete = results(fit(make()))
    for n in places:
        clf = make()
        before = results(clf)
        presses = PressedAtLine(n)
        raised, told = run(fit, clf, presses)
        if presses.where is None:
            continue
        if raised is None:
            assert told == ["Training interrupted by user."], presses.where
            assert clf.net_.stopped_by_ == "user", presses.where
            assert len(clf.loss_curve_) == len(clf.history_) == len(clf.net_.history), presses.where
            assert np.isfinite(clf.predict_proba(X)).all(), presses.where
        else:
            assert type(raised) is KeyboardInterrupt, presses.where
            assert results(clf) in (before, complete), presses.where  # the very last lines come after the fit
        with warnings.catch_warnings(action="ignore"):
            assert np.isfinite(fit(clf).predict_proba(X)).all(), presses.where


def number_of_lines(case):
    make, fit = CASES[case]
    counted = PressedAtLine(0)
    run(fit, make(), counted)
    return counted.lines


def main(case, n_places, seed=0):
    print(f"{case}: {n_places} places")
    check(case, np.random.default_rng(int(seed)).integers(1, number_of_lines(case), int(n_places)).tolist())


if __name__ == "__main__":
    main(*sys.argv[1:])

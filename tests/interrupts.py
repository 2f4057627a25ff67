"""Interrupt fits at random lines: a fit must return a usable model, or leave the estimator unchanged.

    python -m tests.interrupts CASE N_INTERRUPTS [SEED]

This runs in a process of its own. A trace function can interrupt at lines where a signal can't: between the end of a
`with` block and its `__exit__`. Then a lock stays locked or a setting stays changed, which would break or hang later
tests.
"""

import sys
import warnings

import numpy as np
import skorch
from sklearn.exceptions import ConvergenceWarning

import sknn
from sknn import NeuralClassifier
from sknn.utils.warnings import warn

SOURCE_PATHS = tuple(module.__file__.removesuffix("__init__.py") for module in (sknn, skorch))
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


class InterruptAtLine:
    """A trace function that raises KeyboardInterrupt at the n-th line of sknn's and skorch's code.

    Python's handler of Ctrl-C also raises it between two lines.
    """

    def __init__(self, n):
        self.n, self.lines, self.where = n, 0, None

    def __call__(self, frame, event, arg):
        if not frame.f_code.co_filename.startswith(SOURCE_PATHS) or frame.f_code in (warn.__code__,):
            return None
        if event == "line":
            self.lines += 1
            if self.lines == self.n:
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_name})"
                raise KeyboardInterrupt
        return self


def run(fit, clf, interrupt):
    """Fit with this trace function; return the exception or None, and the warnings."""
    before = sys.gettrace()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sys.settrace(interrupt)
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


def check(case, lines):
    """Interrupt the case at each of these lines, and check the result."""
    make, fit = CASES[case]
    with warnings.catch_warnings(action="ignore"):
        complete = results(fit(make()))
    for n in lines:
        clf = make()
        before = results(clf)
        interrupt = InterruptAtLine(n)
        raised, messages = run(fit, clf, interrupt)
        if interrupt.where is None:
            continue
        if raised is None:
            assert messages == ["Training interrupted by user."], interrupt.where
            assert clf.net_.stopped_by_ == "user", interrupt.where
            assert len(clf.loss_curve_) == len(clf.history_) == len(clf.net_.history), interrupt.where
            assert np.isfinite(clf.predict_proba(X)).all(), interrupt.where
        else:
            assert type(raised) is KeyboardInterrupt, interrupt.where
            assert results(clf) in (before, complete), interrupt.where  # complete if the interrupt came after the fit
        with warnings.catch_warnings(action="ignore"):
            assert np.isfinite(fit(clf).predict_proba(X)).all(), interrupt.where


def count_lines(case):
    make, fit = CASES[case]
    counter = InterruptAtLine(0)
    run(fit, make(), counter)
    return counter.lines


def main(case, n_interrupts, seed=0):
    print(f"{case}: {n_interrupts} interrupts")
    check(case, np.random.default_rng(int(seed)).integers(1, count_lines(case), int(n_interrupts)).tolist())


if __name__ == "__main__":
    main(*sys.argv[1:])

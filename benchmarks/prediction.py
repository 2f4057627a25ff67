"""What a prediction costs beside scikit-learn's MLP: one row, wall time, and 100,000 rows, CPU time, on one thread."""

import time
import warnings

import numpy as np
import torch

from benchmarks.training import ours, scikit_learn, table

CALLS = 500


def one_row(estimators, X):
    """Median microseconds of a call of each, which take turns."""
    taken = []
    for i in range(CALLS):
        row = X[i : i + 1]
        moments = [time.perf_counter()]
        for estimator in estimators:
            estimator.predict_proba(row)
            moments.append(time.perf_counter())
        taken.append(np.diff(moments))
    return (np.median(taken, 0) * 1e6).tolist()


def many_rows(estimator, X):
    """Milliseconds of a call, the best of three."""
    taken = []
    for _ in range(4):
        started = time.process_time()
        estimator.predict_proba(X)
        taken.append(time.process_time() - started)
    return min(taken[1:]) * 1e3


def measure():
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    X, y = table(2000, 20, 2)
    big = np.tile(X, (50, 1))
    fitted = {fit.__name__: fit(X, y, 2, (64, 32), 32, 3) for fit in (ours, scikit_learn)}
    one, many = one_row(fitted.values(), X), [many_rows(estimator, big) for estimator in fitted.values()]
    return {name: {"one_row_us": a, "many_rows_ms": b} for name, a, b in zip(fitted, one, many, strict=True)}

"""Time of a prediction compared with scikit-learn's MLP, on one thread.

One row is measured in wall time, 100,000 rows in CPU time.
"""

import time
import warnings

import numpy as np
import torch

from benchmarks.training import ours, scikit_learn, table

CALLS = 500


def one_row(estimators, X):
    """Return the median microseconds of a call for each estimator; the estimators are called in turn."""
    durations = []
    for i in range(CALLS):
        row = X[i : i + 1]
        moments = [time.perf_counter()]
        for estimator in estimators:
            estimator.predict_proba(row)
            moments.append(time.perf_counter())
        durations.append(np.diff(moments))
    return (np.median(durations, 0) * 1e6).tolist()


def many_rows(estimator, X):
    """Return the milliseconds of a call, the best of three after a first one that warms up."""
    durations = []
    for _ in range(4):
        started = time.process_time()
        estimator.predict_proba(X)
        durations.append(time.process_time() - started)
    return min(durations[1:]) * 1e3


def measure():
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    X, y = table(2000, 20, 2)
    big = np.tile(X, (50, 1))
    fitted = {fit.__name__: fit(X, y, 2, (64, 32), 32, 3) for fit in (ours, scikit_learn)}
    one, many = one_row(fitted.values(), X), [many_rows(estimator, big) for estimator in fitted.values()]
    return {name: {"one_row_us": a, "many_rows_ms": b} for name, a, b in zip(fitted, one, many, strict=True)}

"""How time and memory grow with the number of rows: seconds per epoch, and peak memory of a fit and a prediction.

Peak memory is the increase over the memory before the call. It is read from /proc, so it needs Linux.
"""

import gc
from pathlib import Path

import numpy as np
import torch

from sknn import NeuralClassifier

ROWS = (1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
COLUMNS = 50
SETTINGS = {
    "hidden_layer_sizes": (64,),
    "batch_size": 512,
    "early_stopping": False,
    "n_iter_no_change": np.inf,
    "random_state": 0,
    "n_threads": 1,
}


def table(rows):
    """Return a binary classification task with this many rows."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, COLUMNS), dtype=np.float32)
    return X, (X[:, 0] + X[:, 1] > 0).astype(int)


def seconds_per_epoch(X, y):
    """Return the median over six epochs."""
    clf = NeuralClassifier(**SETTINGS, max_iter=7, ensemble_size=1).fit(X, y)
    return float(np.median([record["seconds"] for record in clf.history_[1:]]))


def process_megabytes(name):
    """Return an entry of this process's memory status, in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1e3


def peak_megabytes(function):
    """Return by how much memory grows at most during a call, in MB."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = process_megabytes("VmRSS")
    function()
    return process_megabytes("VmHWM") - before


def memory(rows=300_000, members=8):
    """Return the peak memory of a fit and of a prediction, after small ones that load everything."""
    X, y = table(rows)
    clf = NeuralClassifier(**SETTINGS, max_iter=2, ensemble_size=members).fit(X[:1000], y[:1000])
    clf.predict_proba(X[:1000])
    fit_mb = peak_megabytes(lambda: clf.fit(X, y))
    return {"table_mb": X.nbytes / 1e6, "fit_mb": fit_mb, "predict_mb": peak_megabytes(lambda: clf.predict_proba(X))}


def measure():
    torch.set_num_threads(1)
    seconds = {rows: seconds_per_epoch(*table(rows)) for rows in ROWS}
    return {"seconds_per_epoch": seconds, "memory": memory()}

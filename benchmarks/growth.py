"""How time and memory grow with the number of rows: seconds of an epoch, and the most memory that a fit or a prediction
takes beyond what was there before it.  Linux only, for the memory."""

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
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, COLUMNS), dtype=np.float32)
    return X, (X[:, 0] + X[:, 1] > 0).astype(int)


def epoch(X, y):
    """Seconds of an epoch, the median of several."""
    clf = NeuralClassifier(**SETTINGS, max_iter=7, ensemble_size=1).fit(X, y)
    return float(np.median([record["seconds"] for record in clf.history_[1:]]))


def megabytes_of(name):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1e3


def peak(function):
    """Megabytes beyond those before the call, at the worst moment."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = megabytes_of("VmRSS")
    function()
    return megabytes_of("VmHWM") - before


def memory(rows=300_000, members=8):
    X, y = table(rows)
    clf = NeuralClassifier(**SETTINGS, max_iter=2, ensemble_size=members).fit(X[:1000], y[:1000])
    clf.predict_proba(X[:1000])
    fit = peak(lambda: clf.fit(X, y))
    return {"table_mb": X.nbytes / 1e6, "fit_mb": fit, "predict_mb": peak(lambda: clf.predict_proba(X))}


def measure():
    torch.set_num_threads(1)
    seconds = {rows: epoch(*table(rows)) for rows in ROWS}
    return {"seconds_of_an_epoch": seconds, "memory": memory()}

"""Time that metrics, printing and trackers add to a fit of the reference program's network.

All settings run in turn within a round. A figure is the median over rounds, in CPU time on one thread. The extra time
per epoch is that of a fit of 200 epochs divided by 200, so it includes what a tracker does once per fit.
"""

import contextlib
import io
import os
import tempfile
import warnings

import numpy as np
import torch

from benchmarks.training import rounds, table
from sknn import NeuralClassifier
from sknn.callbacks import MLflowTracker, TensorBoardTracker, WandbTracker

EPOCHS = 200
ROUNDS = 9
METRICS_AND_PRINTING = {
    "accuracy and AUC": {"metrics": ["accuracy", "roc_auc"]},
    "gradient norm": {"metrics": ["gradient_norm"]},
    "progress bar": {"verbose": 1},
    "line per epoch": {"verbose": 2},
}


def trackers(folder):
    return {
        "TensorBoard": TensorBoardTracker(folder),
        "Weights & Biases, offline": WandbTracker(options={"mode": "offline", "dir": folder}),
        "MLflow, in sqlite": MLflowTracker(),
    }


def fit(X, y, **more):
    settings = {"hidden_layer_sizes": (64, 32), "activation": "relu", "dropout": (0.3, 0.2), "solver": "adam"}
    settings |= {"max_iter": EPOCHS, "n_iter_no_change": EPOCHS, "batch_size": 32, "validation_fraction": 0.2}
    with contextlib.redirect_stdout(io.StringIO()):
        NeuralClassifier(**settings, ensemble_size=1, random_state=0, **more).fit(X, y)


def measure():
    import mlflow

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    X, y = table(1000, 20, 2)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"WANDB_SILENT": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        tracked = {name: {"callbacks": [tracker]} for name, tracker in trackers(folder).items()}
        # The first fit of a round is left out, because it differs from the others.
        settings = [{}, {}, *METRICS_AND_PRINTING.values(), *tracked.values()]
        times = rounds([lambda more=more: fit(X, y, **more) for more in settings], n=ROUNDS)[:, 1:]
    ratios = np.median(times / times[:, :1], 0)[1:].tolist()
    extra_ms = (np.median(times - times[:, :1], 0)[1:] / EPOCHS * 1e3).tolist()
    names = [*METRICS_AND_PRINTING, *tracked]
    return {
        name: {"relative_time": ratio, "ms_per_epoch": ms}
        for name, ratio, ms in zip(names, ratios, extra_ms, strict=True)
    }

"""What it costs to watch a training: the reference program's network with metrics, printing and trackers.

Ways of watching take turns within a round, and the figure is the median over rounds, in CPU time on one thread; of
trackers the time that a fit of 200 epochs takes more, by epoch, with what they do once a fit.
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
SHOWN = {
    "accuracy and AUC": {"metrics": ["accuracy", "roc_auc"]},
    "the gradient's norm": {"metrics": ["gradient_norm"]},
    "a bar": {"verbose": 1},
    "a line per epoch": {"verbose": 2},
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
        ways = [{}, {}, *SHOWN.values(), *tracked.values()]  # the first of a round is not like the others
        times = rounds([lambda way=way: fit(X, y, **way) for way in ways], n=ROUNDS)[:, 1:]
    ratios = np.median(times / times[:, :1], 0)[1:].tolist()
    more = (np.median(times - times[:, :1], 0)[1:] / EPOCHS * 1e3).tolist()
    names = [*SHOWN, *tracked]
    return {name: {"takes": a, "ms_per_epoch": b} for name, a, b in zip(names, ratios, more, strict=True)}

"""Shared by the tests of the registry: a store in a folder, small exported models, and held-out rows."""

import contextlib

import numpy as np
import pandas as pd

from sknn import NeuralClassifier, save
from sknn.export import to_onnx
from tests.common import TINY, quietly
from tests.tracking.mlflow_store import MLFLOW_WARNINGS  # noqa: F401, importing it disables MLflow's telemetry


def new_store(folder):
    """Create a SQLite store and return its URI; the files of its models are in the same folder."""
    import mlflow

    uri = f"sqlite:///{folder}/mlflow.db"
    with contextlib.chdir(folder):  # the default location of files
        mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri).search_experiments()
    return uri


def rows(n=60, seed=0, labels=("no", "yes")):
    """Return a table of two columns, and labels that depend on the first."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"age": rng.integers(20, 80, n).astype(float), "postcode": rng.choice(["0150", "1187"], n)})
    return table, np.where(table["age"] > 50, *reversed(labels))


def exported(folder, **parameters):
    """Return the paths of an ONNX file and of an estimator's file."""
    table, y = rows()
    clf = quietly(NeuralClassifier(**TINY | parameters).fit, table, pd.Series(y, name="left"))
    to_onnx(clf, table, path=folder / "model.onnx")
    save(clf, folder / "model.sknn")
    return folder / "model.onnx", folder / "model.sknn"

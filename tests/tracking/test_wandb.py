"""Fits as runs of Weights & Biases, written offline and read from the files of the runs."""

import json
import struct
import sys

import numpy as np
import pytest
import wandb
from sklearn.datasets import make_classification
from skorch.callbacks import Callback
from wandb.proto import wandb_internal_pb2

from sknn import NeuralClassifier, NeuralRegressor
from sknn.callbacks import WandbTracker
from tests.common import SMALL

X, Y = make_classification(60, 5, random_state=0)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Return a folder for runs, without connections, output and error reports."""
    for name, value in {"MODE": "offline", "SILENT": "true", "ERROR_REPORTING": "false"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    return tmp_path


BLOCK = 1 << 15


def records(file):
    """Yield the records of a run's file: chunks in blocks, as in a log of LevelDB, after a header of 7 bytes."""
    data, position, record = file.read_bytes(), 7, b""
    while position < len(data):
        left = BLOCK - position % BLOCK
        if left < 7:  # too little for a chunk's checksum, length and kind
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        record += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # the only or the last chunk of a record
            yield wandb_internal_pb2.Record.FromString(record)
            record = b""


class Run:
    """The contents of a run's file."""

    def __init__(self, file):
        self.config, self.history, self.summary, self.exit_code, self.name = {}, [], {}, None, None
        for record in records(file):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                self.name, self.project = record.run.display_name, record.run.project
                self.config |= values(record.run.config.update)
            elif kind == "config":
                self.config |= values(record.config.update)
            elif kind == "history":
                self.history.append(values(record.history.item))
            elif kind == "summary":
                self.summary |= values(record.summary.update)
            elif kind == "exit":
                self.exit_code = record.exit.exit_code


def values(items):
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def runs(folder):
    """Return the runs, after the end of the process that writes them."""
    wandb.teardown()
    return [Run(file) for file in folder.glob("wandb/offline-run-*/run-*.wandb")]


def test_a_run_holds_parameters_history_and_results(folder):
    tracker = WandbTracker("flowers", "the first", {"dir": folder})
    mixed = SMALL | {"batch_norm": "auto", "class_weight": {0: 1, 1: 2}}
    clf = NeuralClassifier(**mixed, metrics=["accuracy"], callbacks=[tracker]).fit(X, Y)
    (run,) = runs(folder)
    assert (run.project, run.name, run.exit_code) == ("flowers", "the first", 0)
    assert run.config["hidden_layer_sizes"] == [6]
    assert run.config["class_weight"] == {"0": 1, "1": 2}
    assert run.config["callbacks"] == ["WandbTracker"]
    assert run.config.keys() >= clf.get_params().keys()
    assert [row["epoch"] for row in run.history] == [1, 2, 3, 4]
    for name in ("train_loss", "valid_loss", "train_accuracy", "valid_accuracy", "learning_rate", "seconds", "gap"):
        np.testing.assert_allclose([row[name] for row in run.history], [row[name] for row in clf.history_])
    assert run.summary["n_iter"] == 4
    assert run.summary["best_validation_score"] == pytest.approx(clf.best_validation_score_)
    weights = [run.summary[f"weight_{kind}"] for kind in ("plain", "batch_norm")]
    assert weights == pytest.approx(clf.member_weights_.tolist())
    assert wandb.run is None


def test_two_fits_are_two_runs(folder):
    reg = NeuralRegressor(**SMALL, early_stopping=False, callbacks=[WandbTracker(options={"dir": folder})])
    reg.fit(X, X[:, 0]).fit(X, X[:, 1])
    both = runs(folder)
    curves = [[row["train_loss"] for row in run.history] for run in both]
    assert [len(curve) for curve in curves] == [4, 4]
    assert pytest.approx(reg.loss_curve_) in curves
    assert all("best_validation_score" not in run.summary for run in both)


class FailingCallback(Callback):
    def on_epoch_end(self, net, **kwargs):
        raise RuntimeError("no more")


def test_a_failed_fit_is_a_failed_run(folder):
    with pytest.raises(RuntimeError, match="no more"):
        NeuralClassifier(**SMALL, callbacks=[WandbTracker(options={"dir": folder}), FailingCallback()]).fit(X, Y)
    (run,) = runs(folder)
    assert run.exit_code == 1
    assert len(run.history) == 1
    assert wandb.run is None


def test_an_open_run_is_written_to_and_left_open(folder):
    clf = NeuralClassifier(**SMALL, callbacks=[WandbTracker()])
    with wandb.init(project="stream", dir=folder) as open_run:
        for _ in range(3):
            clf.partial_fit(X, Y, classes=[0, 1])
        assert wandb.run is open_run
    (run,) = runs(folder)
    assert [row["epoch"] for row in run.history] == [1, 2, 3]
    assert [row["train_loss"] for row in run.history] == pytest.approx(clf.loss_curve_)
    assert run.config["hidden_layer_sizes"] == [6]


def test_without_wandb_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"WandbTracker needs Weights & Biases; .*'sknn\[wandb\]'"):
        NeuralClassifier(**SMALL, callbacks=[WandbTracker()]).fit(X, Y)

"""Every callback of skorch works with an ensemble, which it sees as one net."""

import json
import math
import pickle
import signal
import subprocess
import sys
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import skorch.callbacks
import torch
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.metrics import accuracy_score, log_loss, r2_score
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    Freezer,
    GradientNormClipping,
    Initializer,
    InputShapeSetter,
    LoadInitState,
    LRScheduler,
    MlflowLogger,
    NeptuneLogger,
    ParamMapper,
    PassthroughScoring,
    PrintLog,
    ProgressBar,
    SacredLogger,
    TensorBoard,
    TrainEndCheckpoint,
    Unfreezer,
    WandbLogger,
)

from sknn import NeuralClassifier, NeuralRegressor, load, save
from sknn.callbacks import StopTraining, TimeBudget
from sknn.model_selection import GridSearchCV
from tests.common import ALIKE, PATIENCE, WeightRecorder, quietly

EPOCHS = 4
X, Y = make_classification(60, 5, random_state=0)
TINY = {
    "hidden_layer_sizes": (6,),
    "ensemble_size": 2,
    "max_iter": EPOCHS,
    "batch_size": 16,
    "learning_rate_init": 0.01,
    "random_state": 0,
    "scaling": "robust",
    "device": "cpu",
    "n_threads": 1,
    **ALIKE,
}
FIRST_LAYER = "layers.0.*"
set_to_half = partial(torch.nn.init.constant_, val=0.5)


class PredictionRecorder(WeightRecorder):
    """Also records the datasets, which only a callback gets, and predictions of the held-out rows after each epoch."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        super().on_train_begin(net, X, y)
        self.recorded.predicted = []

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        super().on_epoch_end(net)
        self.recorded.datasets = dataset_train, dataset_valid
        if dataset_valid is not None:
            self.recorded.predicted.append(net.predict_proba(dataset_valid))


class NormRecorder(Callback):
    """Records the norm of the gradient before each step."""

    def __init__(self, norms):
        self.norms = norms

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.norms.append(float(torch.cat([p.grad.flatten() for _, p in named_parameters]).norm()))


class SecondNormRecorder(NormRecorder):
    """A class of its own, since skorch calls callbacks of the same class one after the other."""


class Experiment:
    """A stand-in for an experiment of Sacred."""

    def __init__(self):
        self.received = []

    def log_scalar(self, name, value, step=None):
        self.received.append((name, value, step))


class MlflowClient:
    """A stand-in for MLflow's client, which accepts numbers only."""

    def __init__(self):
        self.metrics, self.artifacts, self.terminated = [], [], []

    def log_metric(self, run_id, key, value, step):
        self.metrics.append((run_id, key, float(value), step))

    def log_artifact(self, run_id, path):
        self.artifacts.append((Path(path).name, Path(path).stat().st_size > 0))

    def set_terminated(self, run_id):
        self.terminated.append(run_id)


class WandbRun:
    """A stand-in for a run of W&B."""

    def __init__(self, folder):
        self.dir, self.watched, self.logged = folder, [], []

    def watch(self, module):
        self.watched.append(type(module).__name__)

    def log(self, values):
        self.logged.append(values)


class NeptuneRun(dict):
    """A stand-in for a run of Neptune, a tree of fields: a field is set, or appended to."""

    def __missing__(self, name):
        self[name] = NeptuneRun()
        return self[name]

    def append(self, value):
        self.setdefault("values", []).append(value)

    def stop(self):
        self["stopped"] = True


class NeptuneHandler:
    """A stand-in for Neptune's class of a run's subtree; not used here."""


class NeptuneFile(str):
    @classmethod
    def from_content(cls, content, extension):
        return cls(content)


@pytest.fixture(autouse=True)
def neptune(monkeypatch):
    """Provide the classes that skorch's NeptuneLogger imports from a package that is not installed."""
    for name, attributes in {
        "neptune.types": {"File": NeptuneFile},
        "neptune.handler": {"Handler": NeptuneHandler},
    }.items():
        module = types.ModuleType(name)
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "neptune", types.ModuleType("neptune"))


# --- The table ----------------------------------------------------------------------------------------------------


@dataclass
class FitResult:
    """What the check of a table row examines after a fit."""

    est: NeuralClassifier
    callbacks: list
    recorded: SimpleNamespace
    folder: Path
    printed: str

    @property
    def history(self):
        return self.est.net_.history

    def layer(self, number, epoch):
        """Return weight and bias of a linear layer of both members after an epoch (0: at the start), as one vector."""
        network, param_buffer = self.est.module_, self.recorded.weights[epoch]
        return torch.cat([network.view(param_buffer, entry).flatten() for entry in network.linears()[number]])


@dataclass
class Row:
    """A callback: how to make it, given a folder to write into, and how to check the result of a fit."""

    name: str
    make: Callable[[Path], list]
    check: Callable[[FitResult], None] = lambda result: None
    params: dict = field(default_factory=dict)
    refused: tuple[type[Exception], str] | None = None  # error and message, for a callback that cannot work


def batch_columns(history):
    return {key for row in history for batch in row["batches"] for key in batch}


def check_no_effect(result):
    assert batch_columns(result.history) == set()
    assert torch.equal(result.est.module_.param_buffer, NeuralClassifier(**TINY).fit(X, Y).module_.param_buffer)


def check_batch_scores(result):
    for row in result.history:
        batches = [batch for batch in row["batches"] if "accuracy" in batch]
        sizes = [batch["train_batch_size"] for batch in batches]
        assert len(batches) == row["train_batch_count"]
        assert row["accuracy"] == pytest.approx(np.average([b["accuracy"] for b in batches], weights=sizes))
    assert result.history[0, "accuracy_best"]


def check_checkpoints(result):
    assert result.history[:, "event_cp"] == result.history[:, "valid_loss_best"]
    best = max(i for i, is_best in enumerate(result.history[:, "valid_loss_best"], 1) if is_best)
    assert_saved(result, "params.pt", result.recorded.weights[best])
    assert (result.folder / "optimizer.pt").exists()
    assert len(json.loads((result.folder / "history.json").read_text())) == best
    errors = [line for line in result.callbacks[0].sink.__self__ if line.startswith("Unable")]
    assert errors == []


def assert_saved(result, name, param_buffer):
    """Check that a file holds exactly the parameters in `param_buffer`."""
    saved = torch.load(result.folder / name, weights_only=True)
    network = result.est.module_
    expected = dict(network.named_parameters())
    entries = {
        key: entry for entry in network.entries for key, p in expected.items() if p is network.parameter_of(entry)
    }
    assert saved.keys() == expected.keys()
    assert all(torch.equal(saved[key], network.view(param_buffer, entry)) for key, entry in entries.items())


def check_all_members_stop(result):
    assert result.est.net_.epochs_ == [3, 3]
    assert result.est.net_.stopped_by_ == "callback"


def check_epoch_scores(result):
    """Check that each held-out row is predicted by the members that held it out."""
    data, (_, held) = result.recorded.data, result.recorded.datasets
    for score, param_buffer in zip(result.history[:, "accuracy"], result.recorded.weights[1:], strict=True):
        p = held_out_probabilities(result.est.module_, param_buffer, data, held.X.index)
        assert score == accuracy_score(data.table.target[held.X.index, 0], p > 0.5)
    assert result.history[0, "accuracy_best"]


def check_epoch_times(result):
    assert all(isinstance(seconds, float) and seconds > 0 for seconds in result.history[:, "dur"])


def check_frozen(result, until=EPOCHS):
    for epoch in range(until + 1):
        assert torch.equal(result.layer(0, epoch), result.layer(0, 0))
    assert not torch.equal(result.layer(1, 1), result.layer(1, 0))


def check_unfrozen(result):
    check_frozen(result, until=2)
    assert not torch.equal(result.layer(0, 3), result.layer(0, 2))


def check_clipped(result):
    before, after = result.callbacks[0].norms, result.callbacks[2].norms
    assert len(before) == len(after) == sum(result.history[:, "train_batch_count"])
    assert min(before) > 0.02
    assert after == pytest.approx([0.01] * len(after), rel=1e-3)  # torch divides by the norm + 1e-6


def check_set_before_the_first_step(result):
    assert (result.layer(0, 1) == 0.5).all()
    assert not (result.layer(0, 0) == 0.5).any()


def check_set_in_epoch_two(result):
    assert not (result.layer(0, 1) == 0.5).any()
    assert (result.layer(0, 2) == 0.5).all()


def check_rate_halves(result):
    rates = [0.01 * 0.5**k for k in range(EPOCHS)]
    assert result.history[:, "event_lr"] == pytest.approx(rates)
    assert result.history[:, "learning_rate"] == pytest.approx(rates)
    _, recorded = fitted([], **FULL_STEP)
    assert torch.equal(result.recorded.weights[1], recorded.weights[1])
    step, plain_step = (w[2] - w[1] for w in (result.recorded.weights, recorded.weights))
    torch.testing.assert_close(step, plain_step / 2, atol=1e-7, rtol=1e-3)
    assert plain_step.abs().max() > 1e-4


def check_rate_restarts(result):
    """Check the schedule of arXiv 1608.03983: half a cosine over 2 epochs from max_lr to min_lr, then a restart."""
    expected = [1e-2, (1e-2 + 1e-4) / 2, 1e-4, 1e-2]
    assert result.history[:, "learning_rate"] == pytest.approx(expected)


def make_load_init_state(folder):
    NeuralClassifier(**TINY, callbacks=[TrainEndCheckpoint(dirname=str(folder))]).fit(X, Y)
    return [LoadInitState(Checkpoint(dirname=str(folder), fn_prefix="train_end_", event_name=None))]


def check_starts_from_file(result):
    first = NeuralClassifier(**TINY).fit(X, Y)
    assert torch.equal(result.recorded.weights[0], first.module_.param_buffer)
    assert len(result.history) == 2 * EPOCHS
    assert result.est.n_iter_ == EPOCHS


def check_mlflow(result):
    client = result.callbacks[0].client
    losses = [value for run, key, value, _ in client.metrics if (run, key) == ("run 7", "train_loss")]
    assert losses == result.history[:, "train_loss"]
    assert [step for _, key, _, step in client.metrics if key == "valid_loss"] == [1, 2, 3, 4]
    assert client.artifacts == [
        (f"{name}", True) for name in ("params.pth", "optimizer.pth", "criterion.pth", "history.json")
    ]
    assert client.terminated == ["run 7"]


def check_neptune(result):
    fields = result.callbacks[0].run["training"]
    assert fields["train"]["epoch"]["loss"]["values"] == result.history[:, "train_loss"]
    assert fields["validation"]["epoch"]["loss"]["values"] == result.history[:, "valid_loss"]
    assert fields["model/model_type"] == "MLP"
    assert (fields["config/optimizer"], fields["config/lr"], fields["config/epochs"]) == ("Adam", 0.01, EPOCHS)
    assert fields["config/criterion"] == "BinaryCrossEntropy"
    assert result.callbacks[0].run["stopped"]


def check_passthrough(result):
    for row in result.history:
        sizes = np.array([batch["train_batch_size"] for batch in row["batches"] if "train_batch_size" in batch])
        assert row["train_batch_size"] == pytest.approx((sizes**2).sum() / sizes.sum())


def check_printed(result):
    lines = result.callbacks[0].sink.__self__
    assert len(lines) == 2 + EPOCHS
    assert {"epoch", "train_loss", "valid_loss", "learning_rate", "dur"} <= set(lines[0].split())
    assert [line.split()[0] for line in lines[2:]] == ["1", "2", "3", "4"]


def check_progress(result):
    # The rows of all members make 4 batches to train on, and 2 to validate on.
    assert result.printed.count(" 0/6 [") == EPOCHS


def check_train_end(result):
    assert_saved(result, "train_end_params.pt", result.est.module_.param_buffer)
    assert len(json.loads((result.folder / "train_end_history.json").read_text())) == EPOCHS


def make_tensorboard(folder):
    from torch.utils.tensorboard import SummaryWriter

    return [TensorBoard(SummaryWriter(str(folder)))]


def check_tensorboard(result):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(result.folder)).Reload()
    for name in ("train_loss", "valid_loss"):
        scalars = events.Scalars(f"Loss/{name}")
        assert [scalar.step for scalar in scalars] == [1, 2, 3, 4]
        np.testing.assert_allclose([scalar.value for scalar in scalars], result.history[:, name], rtol=1e-6)
    assert "learning_rate" in events.Tags()["scalars"]


def check_sacred(result):
    received = result.callbacks[0].experiment.received
    expected = [("train_loss", loss, epoch) for epoch, loss in enumerate(result.history[:, "train_loss"], 1)]
    assert [entry for entry in received if entry[0] == "train_loss"] == expected


def check_wandb(result):
    run = result.callbacks[0].wandb_run
    assert run.watched == ["MLP"]
    assert [values["valid_loss"] for values in run.logged] == result.history[:, "valid_loss"]
    best = max(i for i, is_best in enumerate(result.history[:, "valid_loss_best"], 1) if is_best)
    assert_saved(result, "best_model.pth", result.recorded.weights[best])


CONSTANT = {"learning_rate": "constant"}  # the other schedules set the rate before every step
FULL_STEP = CONSTANT | {"solver": "sgd", "momentum": 0.0, "batch_size": 60, "dropout": 0.0, "early_stopping": False}
MLFLOW_RUN = SimpleNamespace(info=SimpleNamespace(run_id="run 7"))

TABLE = [
    Row(
        "BatchScoring",
        lambda d: [BatchScoring("accuracy", lower_is_better=False, on_train=True)],
        check_batch_scores,
    ),
    Row("Callback", lambda d: [Callback()], check_no_effect),
    Row("Checkpoint", lambda d: [Checkpoint(dirname=str(d), sink=[].append)], check_checkpoints),
    Row(
        "EarlyStopping",
        lambda d: [EarlyStopping("train_loss", patience=2, threshold=1000, threshold_mode="abs")],
        check_all_members_stop,
    ),
    Row("EpochScoring", lambda d: [EpochScoring("accuracy", lower_is_better=False)], check_epoch_scores),
    Row("EpochTimer", lambda d: [EpochTimer()], check_epoch_times),
    Row("Freezer", lambda d: [Freezer(FIRST_LAYER)], check_frozen),
    Row(
        "GradientNormClipping",
        lambda d: [NormRecorder([]), GradientNormClipping(0.01), SecondNormRecorder([])],
        check_clipped,
    ),
    Row(
        "Initializer",
        lambda d: [Initializer(FIRST_LAYER, fn=set_to_half), Freezer(FIRST_LAYER)],
        check_set_before_the_first_step,
    ),
    # The network is built from the encoded table before the training, and a custom module gets its in_features.
    Row(
        "InputShapeSetter",
        lambda d: [InputShapeSetter()],
        refused=(AttributeError, "'TrainingSet' object has no attribute 'shape'"),
    ),
    Row("LRScheduler", lambda d: [LRScheduler("StepLR", step_size=1, gamma=0.5)], check_rate_halves, FULL_STEP),
    Row("LoadInitState", make_load_init_state, check_starts_from_file),
    Row("MlflowLogger", lambda d: [MlflowLogger(MLFLOW_RUN, MlflowClient())], check_mlflow),
    Row("NeptuneLogger", lambda d: [NeptuneLogger(NeptuneRun())], check_neptune),
    Row(
        "ParamMapper",
        lambda d: [ParamMapper(FIRST_LAYER, fn=set_to_half, at=2), Freezer(FIRST_LAYER, at=2)],
        check_set_in_epoch_two,
    ),
    # It averages the values in the records of batches, so it needs another callback that watches batches.
    Row(
        "PassthroughScoring",
        lambda d: [
            BatchScoring("accuracy", on_train=True),
            PassthroughScoring("train_batch_size", lower_is_better=None, on_train=True),
        ],
        check_passthrough,
    ),
    Row("PrintLog", lambda d: [PrintLog(sink=[].append)], check_printed),
    Row("ProgressBar", lambda d: [ProgressBar()], check_progress),
    Row("TrainEndCheckpoint", lambda d: [TrainEndCheckpoint(dirname=str(d))], check_train_end),
    Row("TensorBoard", make_tensorboard, check_tensorboard),
    Row("SacredLogger", lambda d: [SacredLogger(Experiment())], check_sacred),
    Row("Unfreezer", lambda d: [Freezer(FIRST_LAYER), Unfreezer(FIRST_LAYER, at=3)], check_unfrozen),
    Row("WandbLogger", lambda d: [WandbLogger(WandbRun(str(d)))], check_wandb),
    Row(
        "WarmRestartLR",
        lambda d: [LRScheduler("WarmRestartLR", min_lr=1e-4, max_lr=1e-2, base_period=2)],
        check_rate_restarts,
        CONSTANT,
    ),
]
WORKING = [row for row in TABLE if row.refused is None]
each_working = pytest.mark.parametrize("row", WORKING, ids=lambda row: row.name)


def fitted(callbacks, X=X, y=Y, cls=NeuralClassifier, **params):
    """Fit an estimator with these callbacks and a recorder after them; return it and the records."""
    recorder = PredictionRecorder()
    est = cls(**TINY | params | {"callbacks": [*callbacks, recorder]})
    return quietly(est.fit, X, y), recorder.recorded


def forward(network, param_buffer, x):
    """Return each member's raw outputs, by numpy: SiLU between linear layers."""
    for weight, bias in network.linears():
        x = x @ network.view(param_buffer, weight).numpy() + network.view(param_buffer, bias).numpy()
        z, x = x, x / (1 + np.exp(-x))
    return z


def member_probabilities(network, param_buffer, data, index):
    """Return each member's probabilities (M, n) of the second class."""
    z = forward(network, param_buffer.detach(), data.table.numeric[index].numpy())
    return 1 / (1 + np.exp(-z[..., 0]))


def held_out_probabilities(network, param_buffer, data, index):
    """Return the mean probability (n,) by the members that held a row out."""
    p = member_probabilities(network, param_buffer, data, index)
    held = np.array([np.isin(index, rows) for rows in data.valid_rows])
    return (p * held).sum(0) / held.sum(0)


def test_the_table_holds_every_callback_of_skorch():
    assert sorted(row.name for row in TABLE) == sorted(skorch.callbacks.__all__)


@each_working
def test_a_callback_has_its_effect(row, tmp_path, capsys):
    callbacks = row.make(tmp_path)
    est, recorded = fitted(callbacks, **row.params)
    assert callable(row.check)
    row.check(FitResult(est, callbacks, recorded, tmp_path, capsys.readouterr().err))


@each_working
def test_a_clone_with_a_callback_has_the_same_result(row, tmp_path):
    est = NeuralClassifier(**TINY | row.params, callbacks=row.make(tmp_path))
    quietly(est.fit, X, Y)
    copy = clone(est)
    copy_params, params = copy.get_params(), est.get_params()
    assert [type(c) for c in copy_params.pop("callbacks")] == [type(c) for c in params.pop("callbacks")]
    assert copy_params == params
    assert not hasattr(copy, "net_")
    assert torch.equal(quietly(copy.fit, X, Y).module_.param_buffer, est.module_.param_buffer)


@each_working
def test_a_pickle_with_a_callback_predicts_the_same(row, tmp_path):
    est = quietly(NeuralClassifier(**TINY | row.params, callbacks=row.make(tmp_path)).fit, X, Y)
    restored = pickle.loads(pickle.dumps(est))
    np.testing.assert_array_equal(restored.predict_proba(X), est.predict_proba(X))
    assert restored.net_.history == est.net_.history


@each_working
def test_fit_does_not_change_the_callbacks_of_the_user(row, tmp_path):
    callbacks = row.make(tmp_path)
    before = [dict(vars(callback)) for callback in callbacks]
    quietly(NeuralClassifier(**TINY | row.params, callbacks=callbacks).fit, X, Y)
    after = [vars(callback) for callback in callbacks]
    assert [state.keys() for state in after] == [state.keys() for state in before]
    assert all(new[name] is old[name] for new, old in zip(after, before, strict=True) for name in old)


@pytest.mark.parametrize("row", [row for row in TABLE if row.refused], ids=lambda row: row.name)
def test_a_callback_that_cannot_work_raises_an_error(row, tmp_path):
    error, message = row.refused
    with pytest.raises(error, match=message):
        NeuralClassifier(**TINY | row.params, callbacks=row.make(tmp_path)).fit(X, Y)


# --- One net for all members ----------------------------------------------------------------------------------------


def test_a_loss_is_the_mean_of_the_members_losses_on_their_rows():
    est, recorded = fitted([])
    data = recorded.data
    for row, param_buffer in zip(est.history_, recorded.weights[1:], strict=True):
        expected = [
            log_loss(data.table.target[rows, 0], member_probabilities(est.module_, param_buffer, data, rows)[m])
            for m, rows in enumerate(data.valid_rows)
        ]
        np.testing.assert_allclose(row["member_valid_loss"], expected, rtol=1e-4)
        assert row["valid_loss"] == pytest.approx(np.mean(expected), rel=1e-4)
        assert row["train_loss"] == pytest.approx(np.mean(row["member_train_loss"]))


def test_the_training_loss_of_a_batch_is_that_before_its_step():
    """With one batch an epoch, no dropout and one member, the loss of an epoch is that of the weights before it."""
    est, recorded = fitted([], ensemble_size=1, batch_size=60, dropout=0.0, early_stopping=False)
    for row, param_buffer in zip(est.net_.history, recorded.weights, strict=False):
        p = member_probabilities(est.module_, param_buffer, recorded.data, torch.arange(60))[0]
        assert row["train_loss"] == pytest.approx(log_loss(Y, p), rel=1e-4)


def test_every_column_of_the_history_is_a_number():
    """Loggers pass on each column, and most experiment trackers accept numbers only."""
    est, _ = fitted([])
    types = {name: type(value) for name, value in est.net_.history[-1].items() if name != "batches"}
    assert {name for name, dtype in types.items() if not issubclass(dtype, int | float)} == set()


def test_the_validation_set_holds_the_rows_held_out_by_any_member():
    _, recorded = fitted([])
    train, held = recorded.datasets
    assert set(held.X.index.tolist()) == {int(i) for rows in recorded.data.valid_rows for i in rows}
    assert set(train.X.index.tolist()) == {int(i) for rows in recorded.data.train_rows for i in rows}
    assert len(set(map(tuple, (rows.tolist() for rows in recorded.data.valid_rows)))) == 2
    np.testing.assert_array_equal(held.y, Y[held.X.index])


def test_a_held_out_row_is_predicted_by_the_members_that_held_it_out():
    est, recorded = fitted([])
    _, held = recorded.datasets
    for predicted, param_buffer in zip(recorded.predicted, recorded.weights[1:], strict=True):
        expected = held_out_probabilities(est.module_, param_buffer, recorded.data, held.X.index)
        np.testing.assert_allclose(predicted[:, 1], expected, rtol=1e-4)


def test_without_validation_rows_there_is_no_validation_set():
    est, recorded = fitted([], early_stopping=False)
    assert recorded.datasets[1] is None
    assert "valid_loss" not in est.net_.history[-1]


def test_the_net_predicts_encoded_rows():
    est, recorded = fitted([])
    encoded = recorded.data.table.numeric
    p = est.net_.predict_proba(encoded)
    np.testing.assert_allclose(p, est.predict_proba(X), rtol=1e-4)
    np.testing.assert_array_equal(est.net_.predict(encoded), p.argmax(1))
    np.testing.assert_array_equal(est.net_.classes_, [0, 1])
    assert est.net_.score(encoded, Y) == accuracy_score(Y, est.predict(X))


def test_the_classes_of_the_net_are_the_codes_of_the_labels():
    est, recorded = fitted([], y=np.array(["no", "yes", "maybe"])[np.arange(60) % 3])
    np.testing.assert_array_equal(est.net_.classes_, [0, 1, 2])
    assert est.net_.predict_proba(recorded.data.table.numeric).shape == (60, 3)


def test_the_net_of_a_regressor_predicts_scaled_values_and_has_no_classes():
    X, y = make_regression(60, 5, random_state=0)
    scoring = EpochScoring("r2", lower_is_better=False, on_train=True)
    est, recorded = fitted([scoring], X=X, y=y, cls=NeuralRegressor, early_stopping=False)
    predicted = est.net_.predict(recorded.data.table.numeric)
    np.testing.assert_allclose(predicted * y.std() + y.mean(), est.predict(X), rtol=1e-3, atol=1e-3)
    assert est.net_.history[-1, "r2"] == pytest.approx(r2_score(y, est.predict(X)), abs=1e-5)
    assert not hasattr(est.net_, "classes_")


def test_epoch_scoring_can_score_the_training_rows():
    scoring = EpochScoring("accuracy", lower_is_better=False, on_train=True, name="train_accuracy")
    est, _ = fitted([scoring], early_stopping=False)
    assert est.net_.history[-1, "train_accuracy"] == est.score(X, Y)


def test_a_checkpoint_can_restore_the_best_epoch_at_the_end(tmp_path):
    checkpoint = Checkpoint(monitor=is_second_epoch, dirname=str(tmp_path), load_best=True)
    est, recorded = fitted([checkpoint])
    assert torch.equal(est.module_.param_buffer, recorded.weights[2])
    assert not torch.equal(recorded.weights[2], recorded.weights[4])


def is_second_epoch(net):
    return len(net.history) == 2


def test_early_stopping_of_skorch_can_restore_the_best_weights():
    stopping = EarlyStopping("train_loss", patience=2, threshold=1000, threshold_mode="abs", load_best=True)
    est, recorded = fitted([stopping], early_stopping=False)
    assert est.n_iter_ == 3
    assert torch.equal(est.module_.param_buffer, recorded.weights[1])


def test_a_callback_may_have_a_name():
    est, _ = fitted([("score", EpochScoring("accuracy"))])
    assert "accuracy" in est.net_.history[-1]


# --- Callbacks that watch batches -----------------------------------------------------------------------------------


class CallRecorder(Callback):
    """Base class of callbacks that record their calls."""

    def __init__(self, calls):
        self.calls = calls


class BatchBeginRecorder(CallRecorder):
    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        self.calls.append((len(batch[0]), training))


class BatchEndRecorder(CallRecorder):
    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        self.calls.append((len(batch[1]), training))


class GradientRecorder(CallRecorder):
    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.calls.append((len(named_parameters), True))


EPOCH_CALLBACKS = ["Callback", "EarlyStopping", "EpochScoring", "EpochTimer", "Freezer", "Initializer", "LRScheduler"]
EPOCH_CALLBACKS += ["LoadInitState", "MlflowLogger", "NeptuneLogger", "ParamMapper", "PrintLog", "TrainEndCheckpoint"]
EPOCH_CALLBACKS += ["TensorBoard", "SacredLogger", "Unfreezer", "WandbLogger", "WarmRestartLR", "Checkpoint"]


@pytest.mark.parametrize("row", [row for row in WORKING if row.name in EPOCH_CALLBACKS], ids=lambda row: row.name)
def test_a_callback_that_watches_epochs_only_writes_no_batch_records(row, tmp_path):
    est, _ = fitted(row.make(tmp_path), **row.params)
    assert batch_columns(est.net_.history) == set()


@pytest.mark.parametrize("recorder", [BatchBeginRecorder, BatchEndRecorder])
def test_a_custom_callback_is_called_at_every_batch(recorder):
    calls = []
    est, _ = fitted([recorder(calls)])
    per_epoch = [(2 * 16, True)] * 3 + [(2 * 3, True), (2 * 9, False)]  # 51 rows to train on, 9 held out, 2 members
    assert calls == per_epoch * EPOCHS
    records = [[batch.get("train_batch_size") for batch in row["batches"]] for row in est.net_.history]
    assert records == [[32, 32, 32, 6, None]] * EPOCHS


def test_a_custom_callback_is_called_at_every_gradient():
    calls = []
    fitted([GradientRecorder(calls)])
    assert calls == [(4, True)] * 4 * EPOCHS


def test_watching_batches_does_not_change_the_training():
    plain, _ = fitted([])
    watched, _ = fitted([BatchBeginRecorder([]), BatchEndRecorder([]), GradientRecorder([])])
    assert torch.equal(watched.module_.param_buffer, plain.module_.param_buffer)


def test_a_scheduler_may_step_every_batch():
    est, _ = fitted([LRScheduler("StepLR", step_size=1, gamma=0.9, step_every="batch")], **CONSTANT)
    rates = [b["event_lr"] for row in est.net_.history for b in row["batches"] if "event_lr" in b]
    assert rates == pytest.approx([0.01 * 0.9**k for k in range(4 * EPOCHS)])


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------

INTERRUPTED = """
import json, signal, sys, time, warnings
import numpy as np
import torch
from sklearn.datasets import make_classification
from sknn import NeuralClassifier

signal.signal(signal.SIGINT, signal.default_int_handler)  # a child of a background process ignores it
calls = 0

def slow_log_loss(z, y):
    global calls
    calls += 1
    if calls == 30:
        print("ready", flush=True)
    if calls >= 30:
        time.sleep(0.02)
    assert calls < 6000, "there was no Ctrl-C for two minutes"
    return torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none")

X, y = make_classification(60, 5, flip_y=0.3, random_state=0)
est = NeuralClassifier((6,), solver=sys.argv[1], loss=slow_log_loss, max_iter=100_000, n_iter_no_change=np.inf,
                       tol=0.0, ensemble_size=2, random_state=0, device="cpu")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    est.fit(X, y)
print(json.dumps({
    "warnings": [str(w.message) for w in caught],
    "n_iter": est.n_iter_,
    "max_iter": est.max_iter,
    "stopped_by": est.net_.stopped_by_,
    "finite": bool(np.isfinite(est.predict_proba(X)).all()),
    "score": est.score(X, y),
}))
"""


@pytest.mark.parametrize("solver", ["adamw", "lbfgs"])
def test_ctrl_c_ends_a_fit_with_a_warning_and_a_usable_model(solver):
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, solver], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline().strip() == "ready"
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=PATIENCE)
    finally:
        child.kill()
    assert child.returncode == 0, err
    result = json.loads(out)
    assert result["warnings"] == ["Training interrupted by user."]
    assert result["stopped_by"] == "user"
    assert result["n_iter"] < result["max_iter"]
    assert result["finite"]
    assert 0 <= result["score"] <= 1


class InterruptAt:
    """A log loss whose n-th evaluation raises SIGINT, as Ctrl-C does."""

    def __init__(self, n):
        self.n, self.calls = n, 0

    def __call__(self, z, y):
        self.calls += 1
        if self.calls == self.n:
            signal.raise_signal(signal.SIGINT)
        return torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none")


@pytest.mark.usefixtures("ctrl_c_raises")
def test_an_interrupted_epoch_leaves_no_record():
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        # Each batch evaluates the loss for its gradient, each epoch for its 4 batches and the held-out rows.
        est, _ = fitted([], loss=InterruptAt(15), ensemble_size=1)
    assert est.n_iter_ == len(est.history_) == len(est.net_.history) == 2
    assert all("valid_loss" in row for row in est.history_)
    assert est.score(X, Y) > 0.3


@pytest.mark.usefixtures("ctrl_c_raises")
def test_interrupted_lbfgs_keeps_the_weights_of_its_last_iteration():
    """It does not keep those of the interrupted line search."""
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        est, _ = fitted([], loss=InterruptAt(31), ensemble_size=1, solver="lbfgs", max_iter=1000)
    assert est.net_.stopped_by_ == "user"
    assert 0 < est.n_iter_ < 30
    assert log_loss(Y, est.predict_proba(X)) == pytest.approx(est.loss_curve_[-1])


STOPPING = EarlyStopping("train_loss", patience=2, threshold=1000, threshold_mode="abs")


def test_skorchs_early_stopping_gives_no_interrupt_warning():
    est = NeuralClassifier(**TINY | {"max_iter": 50}, callbacks=[STOPPING])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        est.fit(X, Y)
    assert [str(w.message) for w in caught] == []
    assert est.net_.stopped_by_ == "callback"
    assert len(est.history_) == 3
    assert math.isfinite(est.score(X, Y))


def test_a_callback_that_stops_lbfgs_is_not_called_again_and_changes_nothing():
    calls = []

    class Stopping(Callback):
        def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
            calls.append(len(net.history))
            if len(calls) == 3:
                raise StopTraining

    plain, stopped = (
        NeuralClassifier(**TINY | {"solver": "lbfgs", "max_iter": 5000}, callbacks=callbacks).fit(X, Y)
        for callbacks in (None, [Stopping()])
    )
    assert calls == [1, 2, 3]
    assert stopped.net_.stopped_by_ is None
    assert stopped.loss_curve_ == plain.loss_curve_
    assert len(stopped.history_) == stopped.n_iter_ > 3


def test_any_other_error_of_a_callback_is_raised():
    class Broken(Callback):
        def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
            raise RuntimeError("failed in a callback")

    with pytest.raises(RuntimeError, match="failed in a callback"):
        NeuralClassifier(**TINY, callbacks=[Broken()]).fit(X, Y)


class RaisesBeforeTheFirstEpoch(Callback):
    def __init__(self, error):
        self.error = error

    def on_epoch_begin(self, net, **kwargs):
        raise self.error("from a callback")


@pytest.mark.parametrize("error", [StopTraining, KeyboardInterrupt, ValueError])
def test_a_callback_may_end_a_training_before_its_first_epoch(error):
    """StopTraining leaves an untrained model; another error or an interrupt leaves none."""
    est = NeuralClassifier(**TINY | {"callbacks": [RaisesBeforeTheFirstEpoch(error)], "early_stopping": False})
    if error is StopTraining:
        assert quietly(est.fit, X, Y).net_.stopped_by_ == "callback"
        return
    with pytest.raises(error, match=r"^from a callback$"):
        est.fit(X, Y)
    assert not hasattr(est, "net_")


@pytest.mark.usefixtures("ctrl_c_raises")
@pytest.mark.parametrize("solver", ["adamw", "lbfgs"])
def test_ctrl_c_counts_as_the_users_if_a_python_handler_raises_it(solver):
    """IDEs and web servers have such handlers."""

    def handler(number, frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handler)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        est, _ = fitted([], loss=InterruptAt(31), ensemble_size=1, solver=solver, max_iter=1000)
    assert est.net_.stopped_by_ == "user"


@pytest.mark.usefixtures("ctrl_c_raises")
def test_interrupted_lbfgs_drops_the_members_that_were_not_trained():
    single, _ = fitted([], ensemble_size=1, solver="lbfgs", max_iter=20, loss=InterruptAt(10**9))
    calls = single.net_.criterion_.function.calls
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        est, _ = fitted([], loss=InterruptAt(calls + 9), ensemble_size=5, solver="lbfgs", max_iter=20)
    assert est.module_.n_members == len(est.net_.epochs_) == len(est.net_.rows_seen_) == 2
    np.testing.assert_allclose(est.coefs_[0][0], single.coefs_[0], rtol=1e-6)
    assert all(len(row["member_train_loss"]) == 2 for row in est.history_)
    assert np.isfinite(est.predict_proba(X)).all()
    copied = pickle.loads(pickle.dumps(est.set_params(callbacks=None)))
    np.testing.assert_array_equal(copied.predict_proba(X), est.predict_proba(X))


@pytest.mark.usefixtures("ctrl_c_raises")
@pytest.mark.parametrize("solver", ["adamw", "lbfgs"])
def test_an_interrupt_before_the_first_step_is_raised_and_leaves_no_model(solver):
    est = NeuralClassifier(**TINY | {"loss": InterruptAt(1), "solver": solver})
    with pytest.raises(KeyboardInterrupt):
        est.fit(X, Y)
    assert not hasattr(est, "net_")


def test_a_torch_scheduler_continues_after_a_member_has_stopped():
    est = NeuralClassifier(
        **TINY | {"max_iter": 60, "n_iter_no_change": 3, "ensemble_size": 4, "learning_rate_init": 0.03},
        learning_rate="constant",
        callbacks=[LRScheduler(torch.optim.lr_scheduler.ExponentialLR, gamma=0.9)],
    )
    quietly(est.fit, X, Y)
    assert len(set(est.net_.epochs_)) > 1  # members stopped at different times
    rates = [row["learning_rate"] for row in est.history_]
    assert rates == pytest.approx([0.03 * 0.9**epoch for epoch in range(len(rates))])


class Overflows(Callback):
    def on_epoch_end(self, net, **kwargs):
        np.float64(1e308) * np.float64(10)


def test_warnings_of_a_callback_are_shown():
    X, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 3
    with pytest.warns(RuntimeWarning, match="overflow"):
        NeuralClassifier(max_iter=1, callbacks=[Overflows()], random_state=0).fit(X, y)


# --- One callback, without a list ---------------------------------------------------------------------------------


class EpochCounter(Callback):
    """Counts the epochs of all its copies."""

    def __init__(self, epochs):
        self.epochs = epochs

    def on_epoch_end(self, net, **kwargs):
        self.epochs.append(1)


def test_a_single_callback_needs_no_list():
    epochs = []
    est = NeuralClassifier(**TINY, callbacks=EpochCounter(epochs)).fit(X, Y)
    assert len(epochs) == est.n_iter_ == EPOCHS
    listed = NeuralClassifier(**TINY, callbacks=[EpochCounter(epochs)]).fit(X, Y)
    assert len(epochs) == 2 * EPOCHS
    np.testing.assert_array_equal(est.predict_proba(X), listed.predict_proba(X))
    fresh = clone(est)
    assert type(fresh.callbacks) is EpochCounter
    fresh.partial_fit(X, Y, classes=[0, 1])
    assert len(epochs) == 2 * EPOCHS + 1


def test_the_parameters_of_a_single_callback_can_be_set():
    est = NeuralClassifier(**TINY, callbacks=TimeBudget(5))
    assert est.get_params()["callbacks__seconds"] == 5
    est.set_params(callbacks__seconds=60)
    assert clone(est).callbacks.seconds == 60
    assert est.fit(X, Y).n_iter_ == EPOCHS


def test_a_single_callback_is_pickled_and_can_be_given_to_load(tmp_path):
    est = NeuralClassifier(**TINY, callbacks=TimeBudget(60)).fit(X, Y)
    restored = pickle.loads(pickle.dumps(est))
    assert restored.callbacks.seconds == 60
    np.testing.assert_array_equal(restored.predict_proba(X), est.predict_proba(X))
    save(est, tmp_path / "clf.sknn")
    budget = TimeBudget(60)
    assert load(tmp_path / "clf.sknn", callbacks=budget).callbacks is budget


def test_a_single_scheduler_needs_a_constant_rate():
    with pytest.raises(ValueError, match="callbacks hold an LRScheduler, and learning_rate='cosine' is a schedule"):
        NeuralClassifier(**TINY, callbacks=LRScheduler("StepLR", step_size=1)).fit(X, Y)


@pytest.mark.parametrize("value", ["TimeBudget", 5, print, TimeBudget], ids=repr)
def test_an_object_that_is_not_a_callback_is_refused(value):
    with pytest.raises(ValueError, match="The 'callbacks' parameter of NeuralClassifier must be"):
        NeuralClassifier(**TINY, callbacks=value).fit(X, Y)


def test_networks_with_a_callback_are_not_trained_jointly_in_a_search():
    epochs = []
    clf = NeuralClassifier(**TINY, callbacks=EpochCounter(epochs))
    search = GridSearchCV(clf, {"alpha": [0.0, 0.1]}, cv=2).fit(X, Y)
    assert len(epochs) == (2 * 2 + 1) * EPOCHS
    assert search.best_estimator_.n_iter_ == EPOCHS

"""Every callback that skorch ships, with an ensemble behind it that it sees as one net."""

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
from sklearn.exceptions import ConvergenceWarning
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
from tests.common import PATIENCE, Witness

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
}
FIRST_LAYER = "layers.0.*"
set_to_half = partial(torch.nn.init.constant_, val=0.5)


class PredictingWitness(Witness):
    """Keeps also what only a callback gets: the datasets, and predictions of the held-out rows after each epoch."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        super().on_train_begin(net, X, y)
        self.seen.predicted = []

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        super().on_epoch_end(net)
        self.seen.datasets = dataset_train, dataset_valid
        if dataset_valid is not None:
            self.seen.predicted.append(net.predict_proba(dataset_valid))


class NormWitness(Callback):
    """Notes the norm of the gradient before each step."""

    def __init__(self, norms):
        self.norms = norms

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.norms.append(float(torch.cat([p.grad.flatten() for _, p in named_parameters]).norm()))


class NormWitnessAfter(NormWitness):
    """skorch calls the callbacks of one class one after the other, so the second witness has a class of its own."""


class Experiment:
    """Of Sacred."""

    def __init__(self):
        self.received = []

    def log_scalar(self, name, value, step=None):
        self.received.append((name, value, step))


class MlflowClient:
    """MLflow's client, which takes numbers only."""

    def __init__(self):
        self.metrics, self.artifacts, self.terminated = [], [], []

    def log_metric(self, run_id, key, value, step):
        self.metrics.append((run_id, key, float(value), step))

    def log_artifact(self, run_id, path):
        self.artifacts.append((Path(path).name, Path(path).stat().st_size > 0))

    def set_terminated(self, run_id):
        self.terminated.append(run_id)


class WandbRun:
    def __init__(self, folder):
        self.dir, self.watched, self.logged = folder, [], []

    def watch(self, module):
        self.watched.append(type(module).__name__)

    def log(self, values):
        self.logged.append(values)


class NeptuneRun(dict):
    """A tree of fields, as Neptune's run: a field is set, or appended to."""

    def __missing__(self, name):
        self[name] = NeptuneRun()
        return self[name]

    def append(self, value):
        self.setdefault("values", []).append(value)

    def stop(self):
        self["stopped"] = True


class NeptuneHandler:
    """Stands for a subtree of a run there; not used here."""


class NeptuneFile(str):
    @classmethod
    def from_content(cls, content, extension):
        return cls(content)


@pytest.fixture(autouse=True)
def neptune(monkeypatch):
    """The two classes that skorch's NeptuneLogger imports from a package that is not installed."""
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
class Evidence:
    """What a row's check looks at."""

    est: NeuralClassifier
    callbacks: list
    seen: SimpleNamespace
    folder: Path
    printed: str

    @property
    def history(self):
        return self.est.net_.history

    def layer(self, number, epoch):
        """Weight and bias of a linear layer of both members after an epoch (0: at the start), as one row of numbers."""
        network, param_buffer = self.est.module_, self.seen.weights[epoch]
        return torch.cat([network.view(param_buffer, entry).flatten() for entry in network.linears()[number]])


@dataclass
class Row:
    """A callback: how to make it (given a folder to write into) and what has to hold after a fit."""

    name: str
    make: Callable[[Path], list]
    check: Callable[[Evidence], None] = lambda e: None
    params: dict = field(default_factory=dict)
    refused: tuple[type[Exception], str] | None = None  # error and message, for what cannot work with this net


def batch_columns(history):
    return {key for row in history for batch in row["batches"] for key in batch}


def changes_nothing(e):
    assert batch_columns(e.history) == set()
    assert torch.equal(e.est.module_.param_buffer, NeuralClassifier(**TINY).fit(X, Y).module_.param_buffer)


def batch_scores(e):
    for row in e.history:
        batches = [batch for batch in row["batches"] if "accuracy" in batch]
        sizes = [batch["train_batch_size"] for batch in batches]
        assert len(batches) == row["train_batch_count"]
        assert row["accuracy"] == pytest.approx(np.average([b["accuracy"] for b in batches], weights=sizes))
    assert e.history[0, "accuracy_best"]


def checkpoints(e):
    assert e.history[:, "event_cp"] == e.history[:, "valid_loss_best"]
    best = max(i for i, is_best in enumerate(e.history[:, "valid_loss_best"], 1) if is_best)
    assert_saved(e, "params.pt", e.seen.weights[best])
    assert (e.folder / "optimizer.pt").exists()
    assert len(json.loads((e.folder / "history.json").read_text())) == best
    complaints = [line for line in e.callbacks[0].sink.__self__ if line.startswith("Unable")]
    assert complaints == []


def assert_saved(e, name, param_buffer):
    """A file holds exactly the parameters in `param_buffer`."""
    saved = torch.load(e.folder / name, weights_only=True)
    network = e.est.module_
    expected = dict(network.named_parameters())
    entries = {
        key: entry for entry in network.entries for key, p in expected.items() if p is network.parameter_of(entry)
    }
    assert saved.keys() == expected.keys()
    assert all(torch.equal(saved[key], network.view(param_buffer, entry)) for key, entry in entries.items())


def stops_everybody(e):
    assert e.est.net_.epochs_ == [3, 3]
    assert e.est.net_.stopped_by_ == "callback"


def epoch_scores(e):
    """Each held-out row predicted by the members that held it out."""
    data, (_, held) = e.seen.data, e.seen.datasets
    for score, param_buffer in zip(e.history[:, "accuracy"], e.seen.weights[1:], strict=True):
        p = held_out_probabilities(e.est.module_, param_buffer, data, held.X.index)
        assert score == accuracy_score(data.table.target[held.X.index, 0], p > 0.5)
    assert e.history[0, "accuracy_best"]


def epoch_times(e):
    assert all(isinstance(seconds, float) and seconds > 0 for seconds in e.history[:, "dur"])


def frozen(e, until=EPOCHS):
    for epoch in range(until + 1):
        assert torch.equal(e.layer(0, epoch), e.layer(0, 0))
    assert not torch.equal(e.layer(1, 1), e.layer(1, 0))


def thawed(e):
    frozen(e, until=2)
    assert not torch.equal(e.layer(0, 3), e.layer(0, 2))


def clipped(e):
    before, after = e.callbacks[0].norms, e.callbacks[2].norms
    assert len(before) == len(after) == sum(e.history[:, "train_batch_count"])
    assert min(before) > 0.02
    assert after == pytest.approx([0.01] * len(after), rel=1e-3)  # torch divides by the norm + 1e-6


def set_at_once(e):
    assert (e.layer(0, 1) == 0.5).all()
    assert not (e.layer(0, 0) == 0.5).any()


def set_in_epoch_two(e):
    assert not (e.layer(0, 1) == 0.5).any()
    assert (e.layer(0, 2) == 0.5).all()


def rate_halves(e):
    rates = [0.01 * 0.5**k for k in range(EPOCHS)]
    assert e.history[:, "event_lr"] == pytest.approx(rates)
    assert e.history[:, "learning_rate"] == pytest.approx(rates)
    _, seen = fitted([], **FULL_STEP)
    assert torch.equal(e.seen.weights[1], seen.weights[1])
    step, plain_step = (w[2] - w[1] for w in (e.seen.weights, seen.weights))
    torch.testing.assert_close(step, plain_step / 2, atol=1e-7, rtol=1e-3)
    assert plain_step.abs().max() > 1e-4


def rate_restarts(e):
    """arXiv 1608.03983: half a cosine over 2 epochs from the top to the bottom, then from the top again."""
    expected = [1e-2, (1e-2 + 1e-4) / 2, 1e-4, 1e-2]
    assert e.history[:, "learning_rate"] == pytest.approx(expected)


def save_first(folder):
    NeuralClassifier(**TINY, callbacks=[TrainEndCheckpoint(dirname=str(folder))]).fit(X, Y)
    return [LoadInitState(Checkpoint(dirname=str(folder), fn_prefix="train_end_", event_name=None))]


def starts_from_file(e):
    first = NeuralClassifier(**TINY).fit(X, Y)
    assert torch.equal(e.seen.weights[0], first.module_.param_buffer)
    assert len(e.history) == 2 * EPOCHS
    assert e.est.n_iter_ == EPOCHS


def mlflow(e):
    client = e.callbacks[0].client
    losses = [value for run, key, value, _ in client.metrics if (run, key) == ("run 7", "train_loss")]
    assert losses == e.history[:, "train_loss"]
    assert [step for _, key, _, step in client.metrics if key == "valid_loss"] == [1, 2, 3, 4]
    assert client.artifacts == [
        (f"{name}", True) for name in ("params.pth", "optimizer.pth", "criterion.pth", "history.json")
    ]
    assert client.terminated == ["run 7"]


def neptune_fields(e):
    fields = e.callbacks[0].run["training"]
    assert fields["train"]["epoch"]["loss"]["values"] == e.history[:, "train_loss"]
    assert fields["validation"]["epoch"]["loss"]["values"] == e.history[:, "valid_loss"]
    assert fields["model/model_type"] == "MLP"
    assert (fields["config/optimizer"], fields["config/lr"], fields["config/epochs"]) == ("Adam", 0.01, EPOCHS)
    assert fields["config/criterion"] == "BinaryCrossEntropy"
    assert e.callbacks[0].run["stopped"]


def passes_through(e):
    for row in e.history:
        sizes = np.array([batch["train_batch_size"] for batch in row["batches"] if "train_batch_size" in batch])
        assert row["train_batch_size"] == pytest.approx((sizes**2).sum() / sizes.sum())


def prints(e):
    lines = e.callbacks[0].sink.__self__
    assert len(lines) == 2 + EPOCHS
    assert {"epoch", "train_loss", "valid_loss", "learning_rate", "dur"} <= set(lines[0].split())
    assert [line.split()[0] for line in lines[2:]] == ["1", "2", "3", "4"]


def shows_progress(e):
    # Of the rows that any member sees: 4 batches to train on, and 2 to validate on.
    assert e.printed.count(" 0/6 [") == EPOCHS


def saves_the_end(e):
    assert_saved(e, "train_end_params.pt", e.est.module_.param_buffer)
    assert len(json.loads((e.folder / "train_end_history.json").read_text())) == EPOCHS


def board(folder):
    from torch.utils.tensorboard import SummaryWriter

    return [TensorBoard(SummaryWriter(str(folder)))]


def writes_events(e):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(e.folder)).Reload()
    for name in ("train_loss", "valid_loss"):
        scalars = events.Scalars(f"Loss/{name}")
        assert [scalar.step for scalar in scalars] == [1, 2, 3, 4]
        np.testing.assert_allclose([scalar.value for scalar in scalars], e.history[:, name], rtol=1e-6)
    assert "learning_rate" in events.Tags()["scalars"]


def sacred(e):
    received = e.callbacks[0].experiment.received
    expected = [("train_loss", loss, epoch) for epoch, loss in enumerate(e.history[:, "train_loss"], 1)]
    assert [entry for entry in received if entry[0] == "train_loss"] == expected


def wandb(e):
    run = e.callbacks[0].wandb_run
    assert run.watched == ["MLP"]
    assert [values["valid_loss"] for values in run.logged] == e.history[:, "valid_loss"]
    best = max(i for i, is_best in enumerate(e.history[:, "valid_loss_best"], 1) if is_best)
    assert_saved(e, "best_model.pth", e.seen.weights[best])


CONSTANT = {"learning_rate": "constant"}  # our own schedules set the rate before every step
FULL_STEP = CONSTANT | {"solver": "sgd", "momentum": 0.0, "batch_size": 60, "dropout": 0.0, "early_stopping": False}
MLFLOW_RUN = SimpleNamespace(info=SimpleNamespace(run_id="run 7"))

TABLE = [
    Row(
        "BatchScoring",
        lambda d: [BatchScoring("accuracy", lower_is_better=False, on_train=True)],
        batch_scores,
    ),
    Row("Callback", lambda d: [Callback()], changes_nothing),
    Row("Checkpoint", lambda d: [Checkpoint(dirname=str(d), sink=[].append)], checkpoints),
    Row(
        "EarlyStopping",
        lambda d: [EarlyStopping("train_loss", patience=2, threshold=1000, threshold_mode="abs")],
        stops_everybody,
    ),
    Row("EpochScoring", lambda d: [EpochScoring("accuracy", lower_is_better=False)], epoch_scores),
    Row("EpochTimer", lambda d: [EpochTimer()], epoch_times),
    Row("Freezer", lambda d: [Freezer(FIRST_LAYER)], frozen),
    Row(
        "GradientNormClipping",
        lambda d: [NormWitness([]), GradientNormClipping(0.01), NormWitnessAfter([])],
        clipped,
    ),
    Row("Initializer", lambda d: [Initializer(FIRST_LAYER, fn=set_to_half), Freezer(FIRST_LAYER)], set_at_once),
    # The network is made before the training begins, from the encoded table; a custom module is told its in_features.
    Row(
        "InputShapeSetter",
        lambda d: [InputShapeSetter()],
        refused=(AttributeError, "'TrainingSet' object has no attribute 'shape'"),
    ),
    Row("LRScheduler", lambda d: [LRScheduler("StepLR", step_size=1, gamma=0.5)], rate_halves, FULL_STEP),
    Row("LoadInitState", save_first, starts_from_file),
    Row("MlflowLogger", lambda d: [MlflowLogger(MLFLOW_RUN, MlflowClient())], mlflow),
    Row("NeptuneLogger", lambda d: [NeptuneLogger(NeptuneRun())], neptune_fields),
    Row(
        "ParamMapper",
        lambda d: [ParamMapper(FIRST_LAYER, fn=set_to_half, at=2), Freezer(FIRST_LAYER, at=2)],
        set_in_epoch_two,
    ),
    # It averages what stands in the batches' records, so it needs another callback that watches batches.
    Row(
        "PassthroughScoring",
        lambda d: [
            BatchScoring("accuracy", on_train=True),
            PassthroughScoring("train_batch_size", lower_is_better=None, on_train=True),
        ],
        passes_through,
    ),
    Row("PrintLog", lambda d: [PrintLog(sink=[].append)], prints),
    Row("ProgressBar", lambda d: [ProgressBar()], shows_progress),
    Row("TrainEndCheckpoint", lambda d: [TrainEndCheckpoint(dirname=str(d))], saves_the_end),
    Row("TensorBoard", board, writes_events),
    Row("SacredLogger", lambda d: [SacredLogger(Experiment())], sacred),
    Row("Unfreezer", lambda d: [Freezer(FIRST_LAYER), Unfreezer(FIRST_LAYER, at=3)], thawed),
    Row("WandbLogger", lambda d: [WandbLogger(WandbRun(str(d)))], wandb),
    Row(
        "WarmRestartLR",
        lambda d: [LRScheduler("WarmRestartLR", min_lr=1e-4, max_lr=1e-2, base_period=2)],
        rate_restarts,
        CONSTANT,
    ),
]
WORKING = [row for row in TABLE if row.refused is None]
each_working = pytest.mark.parametrize("row", WORKING, ids=lambda row: row.name)


def fitted(callbacks, X=X, y=Y, cls=NeuralClassifier, **params):
    """An estimator with these callbacks, and what a witness after them saw."""
    witness = PredictingWitness()
    est = cls(**TINY | params | {"callbacks": [*callbacks, witness]})
    return quietly(est.fit, X, y), witness.seen


def quietly(fit, *args):
    """Without the warning that a constant learning rate earns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fit(*args)


def forward(network, param_buffer, x):
    """Each member's raw outputs by numpy: SiLU between linear layers."""
    for weight, bias in network.linears():
        x = x @ network.view(param_buffer, weight).numpy() + network.view(param_buffer, bias).numpy()
        z, x = x, x / (1 + np.exp(-x))
    return z


def member_probabilities(network, param_buffer, data, index):
    """(M, n) of a binary target."""
    z = forward(network, param_buffer.detach(), data.table.numeric[index].numpy())
    return 1 / (1 + np.exp(-z[..., 0]))


def held_out_probabilities(network, param_buffer, data, index):
    p = member_probabilities(network, param_buffer, data, index)
    held = np.array([np.isin(index, rows) for rows in data.valid_rows])
    return (p * held).sum(0) / held.sum(0)


def test_the_table_holds_every_callback_that_skorch_ships():
    assert sorted(row.name for row in TABLE) == sorted(skorch.callbacks.__all__)


@each_working
def test_a_callback_does_its_work(row, tmp_path, capsys):
    callbacks = row.make(tmp_path)
    est, seen = fitted(callbacks, **row.params)
    assert callable(row.check)
    row.check(Evidence(est, callbacks, seen, tmp_path, capsys.readouterr().err))


@each_working
def test_a_clone_with_a_callback_fits_to_the_same_result(row, tmp_path):
    est = NeuralClassifier(**TINY | row.params, callbacks=row.make(tmp_path))
    quietly(est.fit, X, Y)
    copy = clone(est)
    theirs, ours = copy.get_params(), est.get_params()
    assert [type(c) for c in theirs.pop("callbacks")] == [type(c) for c in ours.pop("callbacks")]
    assert theirs == ours
    assert not hasattr(copy, "net_")
    assert torch.equal(quietly(copy.fit, X, Y).module_.param_buffer, est.module_.param_buffer)


@each_working
def test_a_pickle_with_a_callback_predicts_the_same(row, tmp_path):
    est = quietly(NeuralClassifier(**TINY | row.params, callbacks=row.make(tmp_path)).fit, X, Y)
    restored = pickle.loads(pickle.dumps(est))
    np.testing.assert_array_equal(restored.predict_proba(X), est.predict_proba(X))
    assert restored.net_.history == est.net_.history


@each_working
def test_fit_does_not_touch_the_users_callback(row, tmp_path):
    callbacks = row.make(tmp_path)
    before = [dict(vars(callback)) for callback in callbacks]
    quietly(NeuralClassifier(**TINY | row.params, callbacks=callbacks).fit, X, Y)
    after = [vars(callback) for callback in callbacks]
    assert [one.keys() for one in after] == [one.keys() for one in before]
    assert all(new[name] is old[name] for new, old in zip(after, before, strict=True) for name in old)


@pytest.mark.parametrize("row", [row for row in TABLE if row.refused], ids=lambda row: row.name)
def test_a_callback_that_cannot_work_is_refused(row, tmp_path):
    error, message = row.refused
    with pytest.raises(error, match=message):
        NeuralClassifier(**TINY | row.params, callbacks=row.make(tmp_path)).fit(X, Y)


# --- One net for all members ----------------------------------------------------------------------------------------


def test_losses_are_means_over_members_of_their_own_rows():
    est, seen = fitted([])
    data = seen.data
    for row, param_buffer in zip(est.history_, seen.weights[1:], strict=True):
        expected = [
            log_loss(data.table.target[rows, 0], member_probabilities(est.module_, param_buffer, data, rows)[m])
            for m, rows in enumerate(data.valid_rows)
        ]
        np.testing.assert_allclose(row["member_valid_loss"], expected, rtol=1e-4)
        assert row["valid_loss"] == pytest.approx(np.mean(expected), rel=1e-4)
        assert row["train_loss"] == pytest.approx(np.mean(row["member_train_loss"]))


def test_the_training_loss_is_that_of_the_first_batch_before_any_step():
    """With one batch an epoch, no dropout and one member, the loss of epoch k is that of the weights before it."""
    est, seen = fitted([], ensemble_size=1, batch_size=60, dropout=0.0, early_stopping=False)
    for row, param_buffer in zip(est.net_.history, seen.weights, strict=False):
        p = member_probabilities(est.module_, param_buffer, seen.data, torch.arange(60))[0]
        assert row["train_loss"] == pytest.approx(log_loss(Y, p), rel=1e-4)


def test_every_column_of_the_history_is_a_number():
    """Loggers hand each column on, and most experiment trackers take numbers only."""
    est, _ = fitted([])
    kinds = {name: type(value) for name, value in est.net_.history[-1].items() if name != "batches"}
    assert {name for name, kind in kinds.items() if not issubclass(kind, int | float)} == set()


def test_the_validation_set_holds_the_rows_held_out_by_any_member():
    _, seen = fitted([])
    train, held = seen.datasets
    assert set(held.X.index.tolist()) == {int(i) for rows in seen.data.valid_rows for i in rows}
    assert set(train.X.index.tolist()) == {int(i) for rows in seen.data.train_rows for i in rows}
    assert len(set(map(tuple, (rows.tolist() for rows in seen.data.valid_rows)))) == 2
    np.testing.assert_array_equal(held.y, Y[held.X.index])


def test_a_held_out_row_is_predicted_by_the_members_that_held_it_out():
    est, seen = fitted([])
    _, held = seen.datasets
    for predicted, param_buffer in zip(seen.predicted, seen.weights[1:], strict=True):
        expected = held_out_probabilities(est.module_, param_buffer, seen.data, held.X.index)
        np.testing.assert_allclose(predicted[:, 1], expected, rtol=1e-4)


def test_without_validation_rows_there_is_no_validation_set():
    est, seen = fitted([], early_stopping=False)
    assert seen.datasets[1] is None
    assert "valid_loss" not in est.net_.history[-1]


def test_the_net_predicts_encoded_rows():
    est, seen = fitted([])
    encoded = seen.data.table.numeric
    p = est.net_.predict_proba(encoded)
    np.testing.assert_allclose(p, est.predict_proba(X), rtol=1e-4)
    np.testing.assert_array_equal(est.net_.predict(encoded), p.argmax(1))
    np.testing.assert_array_equal(est.net_.classes_, [0, 1])
    assert est.net_.score(encoded, Y) == accuracy_score(Y, est.predict(X))


def test_the_nets_classes_are_codes_of_labels():
    est, seen = fitted([], y=np.array(["no", "yes", "maybe"])[np.arange(60) % 3])
    np.testing.assert_array_equal(est.net_.classes_, [0, 1, 2])
    assert est.net_.predict_proba(seen.data.table.numeric).shape == (60, 3)


def test_a_regressors_net_predicts_scaled_values_and_has_no_classes():
    X, y = make_regression(60, 5, random_state=0)
    scoring = EpochScoring("r2", lower_is_better=False, on_train=True)
    est, seen = fitted([scoring], X=X, y=y, cls=NeuralRegressor, early_stopping=False)
    predicted = est.net_.predict(seen.data.table.numeric)
    np.testing.assert_allclose(predicted * y.std() + y.mean(), est.predict(X), rtol=1e-3, atol=1e-3)
    assert est.net_.history[-1, "r2"] == pytest.approx(r2_score(y, est.predict(X)), abs=1e-5)
    assert not hasattr(est.net_, "classes_")


def test_scores_can_be_taken_from_training_rows():
    scoring = EpochScoring("accuracy", lower_is_better=False, on_train=True, name="train_accuracy")
    est, _ = fitted([scoring], early_stopping=False)
    assert est.net_.history[-1, "train_accuracy"] == est.score(X, Y)


def test_the_best_checkpoint_can_be_loaded_at_the_end(tmp_path):
    checkpoint = Checkpoint(monitor=is_second_epoch, dirname=str(tmp_path), load_best=True)
    est, seen = fitted([checkpoint])
    assert torch.equal(est.module_.param_buffer, seen.weights[2])
    assert not torch.equal(seen.weights[2], seen.weights[4])


def is_second_epoch(net):
    return len(net.history) == 2


def test_early_stopping_of_skorch_can_restore_the_best_weights():
    stopping = EarlyStopping("train_loss", patience=2, threshold=1000, threshold_mode="abs", load_best=True)
    est, seen = fitted([stopping], early_stopping=False)
    assert est.n_iter_ == 3
    assert torch.equal(est.module_.param_buffer, seen.weights[1])


def test_a_callback_may_be_named():
    est, _ = fitted([("mine", EpochScoring("accuracy"))])
    assert "accuracy" in est.net_.history[-1]


# --- Who is told of batches -----------------------------------------------------------------------------------------


class Counter(Callback):
    """Base of callbacks that note their calls."""

    def __init__(self, calls):
        self.calls = calls


class BeginCounter(Counter):
    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        self.calls.append((len(batch[0]), training))


class EndCounter(Counter):
    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        self.calls.append((len(batch[1]), training))


class GradientCounter(Counter):
    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.calls.append((len(named_parameters), True))


QUIET = ["Callback", "EarlyStopping", "EpochScoring", "EpochTimer", "Freezer", "Initializer", "LRScheduler"]
QUIET += ["LoadInitState", "MlflowLogger", "NeptuneLogger", "ParamMapper", "PrintLog", "TrainEndCheckpoint"]
QUIET += ["TensorBoard", "SacredLogger", "Unfreezer", "WandbLogger", "WarmRestartLR", "Checkpoint"]


@pytest.mark.parametrize("row", [row for row in WORKING if row.name in QUIET], ids=lambda row: row.name)
def test_a_callback_of_epochs_writes_no_batch_records(row, tmp_path):
    est, _ = fitted(row.make(tmp_path), **row.params)
    assert batch_columns(est.net_.history) == set()


@pytest.mark.parametrize("counter", [BeginCounter, EndCounter])
def test_a_users_own_override_is_told_of_every_batch(counter):
    calls = []
    est, _ = fitted([counter(calls)])
    per_epoch = [(2 * 16, True)] * 3 + [(2 * 3, True), (2 * 9, False)]  # 51 rows to train on, 9 held out, 2 members
    assert calls == per_epoch * EPOCHS
    records = [[batch.get("train_batch_size") for batch in row["batches"]] for row in est.net_.history]
    assert records == [[32, 32, 32, 6, None]] * EPOCHS


def test_a_users_own_override_is_told_of_every_gradient():
    calls = []
    fitted([GradientCounter(calls)])
    assert calls == [(4, True)] * 4 * EPOCHS


def test_watching_batches_does_not_change_the_training():
    plain, _ = fitted([])
    watched, _ = fitted([BeginCounter([]), EndCounter([]), GradientCounter([])])
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
    assert calls < 6000, "nobody has pressed Ctrl-C for two minutes"
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
    told = json.loads(out)
    assert told["warnings"] == ["Training interrupted by user."]
    assert told["stopped_by"] == "user"
    assert told["n_iter"] < told["max_iter"]
    assert told["finite"]
    assert 0 <= told["score"] <= 1


class InterruptAt:
    """A log loss at whose n-th evaluation somebody presses Ctrl-C."""

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
        # each batch evaluates the gradient, each epoch the loss of its 4 batches and of the held-out rows
        est, _ = fitted([], loss=InterruptAt(15), ensemble_size=1)
    assert est.n_iter_ == len(est.history_) == len(est.net_.history) == 2
    assert all("valid_loss" in row for row in est.history_)
    assert est.score(X, Y) > 0.3


@pytest.mark.usefixtures("ctrl_c_raises")
def test_interrupted_lbfgs_keeps_the_weights_of_its_last_iteration():
    """And not those of the line search that was under way."""
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        est, _ = fitted([], loss=InterruptAt(31), ensemble_size=1, solver="lbfgs", max_iter=1000)
    assert est.net_.stopped_by_ == "user"
    assert 0 < est.n_iter_ < 30
    assert log_loss(Y, est.predict_proba(X)) == pytest.approx(est.loss_curve_[-1])


STOPPING = EarlyStopping("train_loss", patience=2, threshold=1000, threshold_mode="abs")


def test_skorchs_early_stopping_is_no_interruption():
    est = NeuralClassifier(**TINY | {"max_iter": 50}, callbacks=[STOPPING])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        est.fit(X, Y)
    assert [str(w.message) for w in caught] == []
    assert est.net_.stopped_by_ == "callback"
    assert len(est.history_) == 3
    assert math.isfinite(est.score(X, Y))


def test_a_callback_that_ends_a_training_of_lbfgs_hears_no_more_and_changes_nothing():
    heard = []

    class Stopping(Callback):
        def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
            heard.append(len(net.history))
            if len(heard) == 3:
                raise StopTraining

    alone, stopped = (
        NeuralClassifier(**TINY | {"solver": "lbfgs", "max_iter": 5000}, callbacks=callbacks).fit(X, Y)
        for callbacks in (None, [Stopping()])
    )
    assert heard == [1, 2, 3]
    assert stopped.net_.stopped_by_ is None
    assert stopped.loss_curve_ == alone.loss_curve_
    assert len(stopped.history_) == stopped.n_iter_ > 3


def test_any_other_error_of_a_callback_reaches_the_user():
    class Broken(Callback):
        def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
            raise RuntimeError("my own mistake")

    with pytest.raises(RuntimeError, match="my own mistake"):
        NeuralClassifier(**TINY, callbacks=[Broken()]).fit(X, Y)


class EndsBeforeTheFirstEpoch(Callback):
    def __init__(self, error):
        self.error = error

    def on_epoch_begin(self, net, **kwargs):
        raise self.error("mine")


@pytest.mark.parametrize("error", [StopTraining, KeyboardInterrupt, ValueError])
def test_a_callback_may_end_a_training_before_its_first_epoch(error):
    """With StopTraining there is an untrained model; an interrupt before the first step leaves none."""
    est = NeuralClassifier(**TINY | {"callbacks": [EndsBeforeTheFirstEpoch(error)], "early_stopping": False})
    if error is StopTraining:
        assert quietly(est.fit, X, Y).net_.stopped_by_ == "callback"
        return
    with pytest.raises(error, match=r"^mine$"):
        est.fit(X, Y)
    assert not hasattr(est, "net_")


@pytest.mark.usefixtures("ctrl_c_raises")
@pytest.mark.parametrize("solver", ["adamw", "lbfgs"])
def test_ctrl_c_is_the_users_where_a_python_function_handles_the_signal(solver):
    """As in IDEs and web servers, whose handlers raise KeyboardInterrupt by a statement."""

    def handler(number, frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handler)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        est, _ = fitted([], loss=InterruptAt(31), ensemble_size=1, solver=solver, max_iter=1000)
    assert est.net_.stopped_by_ == "user"


@pytest.mark.usefixtures("ctrl_c_raises")
def test_interrupted_lbfgs_leaves_out_members_that_were_not_trained():
    alone, _ = fitted([], ensemble_size=1, solver="lbfgs", max_iter=20, loss=InterruptAt(10**9))
    calls = alone.net_.criterion_.function.calls
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        est, _ = fitted([], loss=InterruptAt(calls + 9), ensemble_size=5, solver="lbfgs", max_iter=20)
    assert est.module_.n_members == len(est.net_.epochs_) == len(est.net_.rows_seen_) == 2
    np.testing.assert_allclose(est.coefs_[0][0], alone.coefs_[0], rtol=1e-6)
    assert all(len(row["member_train_loss"]) == 2 for row in est.history_)
    assert np.isfinite(est.predict_proba(X)).all()
    copied = pickle.loads(pickle.dumps(est.set_params(callbacks=None)))
    np.testing.assert_array_equal(copied.predict_proba(X), est.predict_proba(X))


@pytest.mark.usefixtures("ctrl_c_raises")
@pytest.mark.parametrize("solver", ["adamw", "lbfgs"])
def test_an_interrupt_before_the_first_step_goes_through_and_leaves_no_model(solver):
    est = NeuralClassifier(**TINY | {"loss": InterruptAt(1), "solver": solver})
    with pytest.raises(KeyboardInterrupt):
        est.fit(X, Y)
    assert not hasattr(est, "net_")


def test_a_scheduler_of_torch_goes_on_when_a_member_stops():
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


def test_a_callbacks_own_warnings_are_heard():
    X, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 3
    with pytest.warns(RuntimeWarning, match="overflow"):
        NeuralClassifier(max_iter=1, callbacks=[Overflows()], random_state=0).fit(X, y)


# --- One callback, without a list ---------------------------------------------------------------------------------


class Counter(Callback):
    """Counts the epochs of all its copies."""

    def __init__(self, epochs):
        self.epochs = epochs

    def on_epoch_end(self, net, **kwargs):
        self.epochs.append(1)


def test_a_single_callback_needs_no_list():
    epochs = []
    est = NeuralClassifier(**TINY, callbacks=Counter(epochs)).fit(X, Y)
    assert len(epochs) == est.n_iter_ == EPOCHS
    listed = NeuralClassifier(**TINY, callbacks=[Counter(epochs)]).fit(X, Y)
    assert len(epochs) == 2 * EPOCHS
    np.testing.assert_array_equal(est.predict_proba(X), listed.predict_proba(X))
    fresh = clone(est)
    assert type(fresh.callbacks) is Counter
    fresh.partial_fit(X, Y, classes=[0, 1])
    assert len(epochs) == 2 * EPOCHS + 1


def test_a_single_callback_has_parameters_of_its_own():
    est = NeuralClassifier(**TINY, callbacks=TimeBudget(5))
    assert est.get_params()["callbacks__seconds"] == 5
    est.set_params(callbacks__seconds=60)
    assert clone(est).callbacks.seconds == 60
    assert est.fit(X, Y).n_iter_ == EPOCHS


def test_a_single_callback_is_pickled_or_left_out(tmp_path):
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


@pytest.mark.parametrize("nothing", ["TimeBudget", 5, print, TimeBudget], ids=repr)
def test_what_is_no_callback_is_refused(nothing):
    with pytest.raises(ValueError, match="The 'callbacks' parameter of NeuralClassifier must be"):
        NeuralClassifier(**TINY, callbacks=nothing).fit(X, Y)


def test_networks_with_a_single_callback_train_alone_in_a_search():
    epochs = []
    clf = NeuralClassifier(**TINY, callbacks=Counter(epochs))
    search = GridSearchCV(clf, {"alpha": [0.0, 0.1]}, cv=2).fit(X, Y)
    assert len(epochs) == (2 * 2 + 1) * EPOCHS
    assert search.best_estimator_.n_iter_ == EPOCHS

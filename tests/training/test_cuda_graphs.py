"""Recorded steps, on a machine without a GPU: a tape that keeps a CUDA graph's rules stands in for it.

The tape notes every kernel with the tensors that it was called with, and plays them back into the same memory.  A
number that Python would have worked out anew at each step, or memory that was replaced, shows as another training.
"""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sknn import NeuralClassifier, NeuralRegressor
from sknn.network.base import Inputs
from sknn.network.embeddings import NUMERIC_EMBEDDINGS
from sknn.network.losses import BinaryCrossEntropy, SoftmaxCrossEntropy
from sknn.network.mlp import MLP
from sknn.network.optimizers import SGD, Adam, MemberOptions, TorchOptimizer
from sknn.training import cuda_graphs
from sknn.training.net import TrainingNet

aten = torch.ops.aten


class Tape(TorchDispatchMode):
    """Runs kernels, and notes them."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result

    def play(self):
        for func, args, kwargs, result in self.calls:
            again = func(*args, **kwargs)
            given = {place(t) for t in tree_leaves((args, kwargs))}
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if torch.is_tensor(old) and place(old) not in given:  # neither a view nor written in place
                    old.copy_(new)


def place(t):
    return t.untyped_storage().data_ptr() if torch.is_tensor(t) else None


def record_on_tape(run):
    with Tape() as tape:
        result = run()
    return tape.play, result


@pytest.fixture
def all_by_torch(monkeypatch):
    """No product is numpy's, as on a GPU."""
    monkeypatch.setattr("sknn.network.products.NUMPY_DTYPES", ())


@pytest.fixture
def taped(all_by_torch, monkeypatch):
    """Training on the CPU that replays a tape; a list of the shapes of the chunks that were recorded."""
    recorded, own = [], cuda_graphs.CudaGraphSteps._capture

    def without_effect(self, chunk, batches):
        recorded.append(tuple(chunk.shapes))
        state = [self.network.param_buffer, *self.optimizer.buffers.values()]
        before = [t.clone() for t in state]
        capture = own(self, chunk, batches)
        for t, value in zip(state, before, strict=True):  # a graph's recording launches nothing
            t.copy_(value)
        return capture

    monkeypatch.setattr("sknn.training.cuda_graphs.capture", record_on_tape)
    monkeypatch.setattr("sknn.training.cuda_graphs.CudaGraphSteps._capture", without_effect)
    monkeypatch.setattr("sknn.training.net.can_capture", lambda network, optimizer, loss: not hasattr(loss, "function"))
    return recorded


CANCER, DIABETES, IRIS = load_breast_cancer(return_X_y=True), load_diabetes(return_X_y=True), load_iris(return_X_y=True)
LABELS = make_multilabel_classification(150, 6, n_classes=3, random_state=0)
SMALL = {"hidden_layer_sizes": (12, 8), "max_iter": 8, "ensemble_size": 3, "random_state": 0, "batch_size": 50}
CONFIGURATIONS = {
    "defaults": (NeuralClassifier, CANCER, {}),
    "one member, no rows held out": (NeuralClassifier, CANCER, {"ensemble_size": 1, "early_stopping": False}),
    "members leave": (NeuralClassifier, IRIS, {"n_iter_no_change": 1, "max_iter": 30, "learning_rate_init": 0.05}),
    "unequal members": (NeuralClassifier, IRIS, {"batch_size": 17, "validation_fraction": 0.37}),
    "penalty and warm-up": (NeuralClassifier, IRIS, {"alpha": 0.1, "learning_rate": "one_cycle"}),
    "sgd": (NeuralRegressor, DIABETES, {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1}),
    "invscaling": (NeuralRegressor, DIABETES, {"solver": "sgd", "learning_rate": "invscaling"}),
    "quantiles": (NeuralRegressor, DIABETES, {"loss": "quantile", "quantile": (0.1, 0.9)}),
    "batch norm and embeddings": (NeuralClassifier, IRIS, {"batch_norm": True, "numeric_embedding": "periodic"}),
    "labels": (NeuralClassifier, LABELS, {"label_smoothing": 0.1, "activation": "mish"}),
    "metrics": (NeuralClassifier, CANCER, {"metrics": ["accuracy", "roc_auc"]}),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_replayed_steps_train_as_steps_that_are_taken(name, weighted, request):
    cls, (X, y), settings = CONFIGURATIONS[name]
    weight = np.random.default_rng(0).uniform(0.5, 2, len(X)) if weighted else None
    plain = cls(**SMALL | settings).fit(X, y, sample_weight=weight)
    recorded = request.getfixturevalue("taped")
    replayed = cls(**SMALL | settings).fit(X, y, sample_weight=weight)
    assert replayed.net_.epochs_ == plain.net_.epochs_
    predict = "predict_proba" if cls is NeuralClassifier else "predict"
    np.testing.assert_allclose(getattr(replayed, predict)(X), getattr(plain, predict)(X), rtol=1e-3, atol=1e-4)
    for mine, other in zip(replayed.history_, plain.history_, strict=True):
        assert mine["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)
    assert recorded


def test_a_chunk_is_recorded_once_for_all_epochs(taped):
    NeuralClassifier(**SMALL | {"early_stopping": False, "max_iter": 20}).fit(*CANCER)
    assert taped == [((11, 3, 50), (1, 3, 19))]


def test_embedded_categories_are_replayed(taped):
    rng = np.random.default_rng(0)
    X = np.array(
        [[f"level {i}", x] for i, x in zip(rng.integers(20, size=200), rng.normal(size=200), strict=True)], object
    )
    y = np.array([int(level[6:]) % 2 for level in X[:, 0]])
    clf = NeuralClassifier(**SMALL | {"max_iter": 60, "learning_rate_init": 0.02}).fit(X, y)
    assert clf.module_.categorical is not None
    assert clf.score(X, y) > 0.95
    assert taped


def test_an_epoch_of_one_chunk_is_not_worth_a_recording(taped):
    X, y = IRIS
    clf = NeuralClassifier(**SMALL)
    for _ in range(3):
        clf.partial_fit(X, y, classes=[0, 1, 2])
    assert taped == []
    assert clf.t_ == 3 * len(X)


def test_rates_that_change_every_epoch_reach_the_recording(taped):
    settings = SMALL | {"solver": "sgd", "learning_rate": "invscaling", "max_iter": 12, "early_stopping": False}
    with pytest.warns(ConvergenceWarning):
        NeuralRegressor(**settings).fit(*DIABETES)
    assert len(taped) == 1


def test_double_precision_is_kept(taped, monkeypatch):
    settings = SMALL | {"precision": "float64", "early_stopping": False}
    replayed = NeuralClassifier(**settings).fit(*IRIS)
    monkeypatch.setattr("sknn.training.net.can_capture", lambda *args: False)
    plain = NeuralClassifier(**settings).fit(*IRIS)
    torch.testing.assert_close(replayed.module_.param_buffer, plain.module_.param_buffer, rtol=1e-12, atol=1e-13)


def test_what_may_look_at_a_value_is_not_recorded():
    network = MLP(1, 3, 1, (4,))
    rates = MemberOptions([0.1], [0.0], [0.0], [1.0])
    assert not cuda_graphs.can_capture(network, Adam(network, rates), BinaryCrossEntropy())  # not on a GPU
    network.param_buffer = network.param_buffer.to("meta")
    on_gpu = type("OnGpu", (), {"device": torch.device("cuda")})()
    network.param_buffer = on_gpu
    plain = Adam.__new__(Adam)
    assert cuda_graphs.can_capture(network, plain, BinaryCrossEntropy())
    assert not cuda_graphs.can_capture(network, TorchOptimizer.__new__(TorchOptimizer), BinaryCrossEntropy())
    assert not cuda_graphs.can_capture(torch.nn.Linear(1, 1), plain, BinaryCrossEntropy())


# --- What a step costs, in calls -----------------------------------------------------------------------------------

VIEWS = {"view", "transpose", "unsqueeze", "select", "slice", "detach", "split", "unbind", "expand", "alias", "squeeze"}


def kernels(tape):
    return [func.overloadpacket.__name__ for func, *_ in tape.calls if func.overloadpacket.__name__ not in VIEWS]


def step_of(members, hidden=(64, 32), outputs=1, optimizer=Adam, device="cpu", **options):
    """A step of a network, as a function without arguments."""
    network = MLP(members, 20, outputs, hidden, **options).to(device).train()
    solver = optimizer(network, MemberOptions([0.1] * members, [0.0] * members, [0.0] * members, [1.0] * members))
    x, y = torch.randn(members, 32, 20, device=device), torch.zeros(members, 32, outputs, device=device)
    loss = BinaryCrossEntropy() if outputs == 1 else SoftmaxCrossEntropy()
    everyone, scale = slice(0, members), torch.tensor(1 / 32, device=device)
    noise = [torch.ones(members, 32, width, device=device) for width, _ in network.dropout_rates()]

    def step():
        network.gradients(Inputs(x), noise, lambda z: loss.gradient(z, y).mul_(scale), everyone)
        solver.advance(everyone)

    return step


@pytest.mark.parametrize("members", [1, 8])
@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({}, 25),
        ({"outputs": 3}, 22),
        ({"activation": "silu"}, 23),
        ({"dropout": (0.3, 0.2)}, 29),
        ({"optimizer": SGD}, 27),
        ({"batch_norm": True}, 71),
    ],
    ids=str,
)
def test_a_step_makes_no_more_calls_than_it_needs_however_many_members_there_are(options, most, members, all_by_torch):
    step = step_of(members, **options)
    with torch.inference_mode():
        step()
        with Tape() as tape:
            step()
    assert len(kernels(tape)) <= most, kernels(tape)


class Watched(TrainingNet):
    tape: Tape

    def _train(self, *args, **kwargs):
        with Tape() as self.tape:
            return super()._train(*args, **kwargs)


@pytest.mark.parametrize("settings", [{}, {"alpha": 0.1, "solver": "sgd"}, {"dropout": 0.0, "label_smoothing": 0.1}])
def test_an_epoch_of_training_never_waits_for_a_value(settings, all_by_torch, monkeypatch):
    monkeypatch.setattr("sknn.training.build.TrainingNet", Watched)
    clf = NeuralClassifier(**SMALL | settings | {"max_iter": 3}).fit(*CANCER)
    names = kernels(clf.net_.tape)
    assert "baddbmm" in names
    assert not {"_local_scalar_dense", "item", "nonzero", "equal"} & set(names)


def test_rows_are_gathered_once_for_an_epoch_and_not_copied_again(monkeypatch):
    monkeypatch.setattr("sknn.training.build.TrainingNet", Watched)
    settings = SMALL | {"max_iter": 2, "early_stopping": False, "dropout": 0.0, "batch_size": 32}
    clf = NeuralClassifier(**settings).fit(CANCER[0][:544], CANCER[1][:544])  # whole batches: an odd one is aligned
    names = kernels(clf.net_.tape)
    assert names.count("index_select") == 1
    assert names.count("copy_") + names.count("clone") + names.count("_to_copy") == 1  # the batches' losses


# --- Another device than the CPU -----------------------------------------------------------------------------------

NETWORKS = {
    "plain": {},
    "classes": {"outputs": 3},
    "sgd": {"optimizer": SGD},
    "dropout": {"dropout": (0.3, 0.2)},
    "batch norm": {"batch_norm": True, "activation": "gelu"},
    "bfloat16": {"product_dtype": torch.bfloat16},
} | {name: {"numeric_embedding": name, "n_embedded": 20} for name in NUMERIC_EMBEDDINGS}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("members", [1, 4])
def test_a_step_keeps_to_its_device(name, members):
    """On the meta device, which has no values to look at, and refuses a tensor from elsewhere."""
    step = step_of(members, device="meta", **NETWORKS[name])
    with torch.inference_mode(), Tape() as tape:
        step()
    results = [t for *_, result in tape.calls for t in tree_leaves(result) if torch.is_tensor(t)]
    assert {t.device.type for t in results if t.dim()} == {"meta"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_on_a_gpu_replayed_steps_train_as_on_the_cpu(name):
    cls, (X, y), settings = CONFIGURATIONS[name]
    settings = SMALL | settings | {"shuffle": False, "dropout": 0.0, "early_stopping": False, "max_iter": 5}
    cpu, gpu = (cls(**settings, device=device).fit(X, y) for device in ("cpu", "cuda"))
    torch.testing.assert_close(gpu.module_.param_buffer.cpu(), cpu.module_.param_buffer, rtol=1e-2, atol=1e-3)

"""Captured steps, tested without a GPU: a tape that follows the rules of CUDA graphs replaces them.

The tape records every kernel with its arguments, and replays it into the same memory. If a step depends on a value
that Python computes, or on memory that was replaced, the replayed training gives another result.
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
from tests.common import ALIKE

aten = torch.ops.aten


class Tape(TorchDispatchMode):
    """Runs kernels and records their calls."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result

    def replay(self):
        for func, args, kwargs, result in self.calls:
            new_result = func(*args, **kwargs)
            arguments = {storage_address(t) for t in tree_leaves((args, kwargs))}
            for old, new in zip(tree_leaves(result), tree_leaves(new_result), strict=True):
                if torch.is_tensor(old) and storage_address(old) not in arguments:  # neither a view nor in-place
                    old.copy_(new)


def storage_address(t):
    return t.untyped_storage().data_ptr() if torch.is_tensor(t) else None


def capture_on_tape(function):
    """Return a function that replays the kernels of a call, and the result of the call."""
    with Tape() as tape:
        result = function()
    return tape.replay, result


@pytest.fixture
def torch_products(monkeypatch):
    """Compute all products with torch, as on a GPU."""
    monkeypatch.setattr("sknn.network.products.NUMPY_DTYPES", ())


@pytest.fixture
def captured_shapes(torch_products, monkeypatch):
    """Train on the CPU with replayed tapes; the value is a list of the shapes of the captured chunks."""
    shapes, original = [], cuda_graphs.CudaGraphSteps._capture

    def capture_without_effect(self, chunk, batches):
        shapes.append(tuple(chunk.shapes))
        state = [self.network.param_buffer, *self.optimizer.buffers.values()]
        before = [t.clone() for t in state]
        capture = original(self, chunk, batches)
        for t, value in zip(state, before, strict=True):  # capturing a CUDA graph runs no kernels
            t.copy_(value)
        return capture

    monkeypatch.setattr("sknn.training.cuda_graphs.capture", capture_on_tape)
    monkeypatch.setattr("sknn.training.cuda_graphs.CudaGraphSteps._capture", capture_without_effect)
    monkeypatch.setattr("sknn.training.net.can_capture", lambda network, optimizer, loss: not hasattr(loss, "function"))
    return shapes


CANCER, DIABETES, IRIS = load_breast_cancer(return_X_y=True), load_diabetes(return_X_y=True), load_iris(return_X_y=True)
MULTILABEL = make_multilabel_classification(150, 6, n_classes=3, random_state=0)
SMALL = {
    "hidden_layer_sizes": (12, 8),
    "max_iter": 8,
    "ensemble_size": 3,
    "random_state": 0,
    "batch_size": 50,
    **ALIKE,
}
CONFIGURATIONS = {
    "defaults": (NeuralClassifier, CANCER, {}),
    "one member, no rows held out": (NeuralClassifier, CANCER, {"ensemble_size": 1, "early_stopping": False}),
    "members stop early": (
        NeuralClassifier,
        IRIS,
        {"n_iter_no_change": 1, "max_iter": 30, "learning_rate_init": 0.05},
    ),
    "unequal numbers of rows": (NeuralClassifier, IRIS, {"batch_size": 17, "validation_fraction": 0.37}),
    "L2 penalty and warm-up": (NeuralClassifier, IRIS, {"alpha": 0.1, "learning_rate": "one_cycle"}),
    "sgd": (NeuralRegressor, DIABETES, {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1}),
    "invscaling": (NeuralRegressor, DIABETES, {"solver": "sgd", "learning_rate": "invscaling"}),
    "quantiles": (NeuralRegressor, DIABETES, {"loss": "quantile", "quantile": (0.1, 0.9)}),
    "batch norm and embeddings": (NeuralClassifier, IRIS, {"batch_norm": True, "numeric_embedding": "periodic"}),
    "multilabel": (NeuralClassifier, MULTILABEL, {"label_smoothing": 0.1, "activation": "mish"}),
    "metrics": (NeuralClassifier, CANCER, {"metrics": ["accuracy", "roc_auc"]}),
}


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_replayed_steps_give_the_result_of_plain_steps(name, weighted, request):
    cls, (X, y), settings = CONFIGURATIONS[name]
    weight = np.random.default_rng(0).uniform(0.5, 2, len(X)) if weighted else None
    plain = cls(**SMALL | settings).fit(X, y, sample_weight=weight)
    captured_shapes = request.getfixturevalue("captured_shapes")
    replayed = cls(**SMALL | settings).fit(X, y, sample_weight=weight)
    assert replayed.net_.epochs_ == plain.net_.epochs_
    predict = "predict_proba" if cls is NeuralClassifier else "predict"
    np.testing.assert_allclose(getattr(replayed, predict)(X), getattr(plain, predict)(X), rtol=1e-3, atol=1e-4)
    for actual, expected in zip(replayed.history_, plain.history_, strict=True):
        assert actual["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-4)
    assert captured_shapes


def test_a_chunk_is_captured_once_for_all_epochs(captured_shapes):
    NeuralClassifier(**SMALL | {"early_stopping": False, "max_iter": 20}).fit(*CANCER)
    assert captured_shapes == [((11, 3, 50), (1, 3, 19))]


def test_steps_with_embedded_categories_are_replayed(captured_shapes):
    rng = np.random.default_rng(0)
    X = np.array(
        [[f"level {i}", x] for i, x in zip(rng.integers(20, size=200), rng.normal(size=200), strict=True)], object
    )
    y = np.array([int(level[6:]) % 2 for level in X[:, 0]])
    clf = NeuralClassifier(**SMALL | {"max_iter": 60, "learning_rate_init": 0.02}).fit(X, y)
    assert clf.module_.categorical is not None
    assert clf.score(X, y) > 0.95
    assert captured_shapes


def test_a_single_epoch_of_one_chunk_is_not_captured(captured_shapes):
    X, y = IRIS
    clf = NeuralClassifier(**SMALL)
    for _ in range(3):
        clf.partial_fit(X, y, classes=[0, 1, 2])
    assert captured_shapes == []
    assert clf.t_ == 3 * len(X)


def test_a_new_learning_rate_in_each_epoch_needs_no_new_capture(captured_shapes):
    settings = SMALL | {"solver": "sgd", "learning_rate": "invscaling", "max_iter": 12, "early_stopping": False}
    with pytest.warns(ConvergenceWarning):
        NeuralRegressor(**settings).fit(*DIABETES)
    assert len(captured_shapes) == 1


def test_replayed_steps_keep_double_precision(captured_shapes, monkeypatch):
    settings = SMALL | {"precision": "float64", "early_stopping": False}
    replayed = NeuralClassifier(**settings).fit(*IRIS)
    monkeypatch.setattr("sknn.training.net.can_capture", lambda *args: False)
    plain = NeuralClassifier(**settings).fit(*IRIS)
    torch.testing.assert_close(replayed.module_.param_buffer, plain.module_.param_buffer, rtol=1e-12, atol=1e-13)


def test_only_networks_and_solvers_of_this_package_on_a_gpu_are_captured():
    network = MLP(1, 3, 1, (4,))
    rates = MemberOptions([0.1], [0.0], [0.0], [1.0])
    assert not cuda_graphs.can_capture(network, Adam(network, rates), BinaryCrossEntropy())  # the network is on the CPU
    network.param_buffer = network.param_buffer.to("meta")
    on_gpu = type("OnGpu", (), {"device": torch.device("cuda")})()
    network.param_buffer = on_gpu
    plain = Adam.__new__(Adam)
    assert cuda_graphs.can_capture(network, plain, BinaryCrossEntropy())
    assert not cuda_graphs.can_capture(network, TorchOptimizer.__new__(TorchOptimizer), BinaryCrossEntropy())
    assert not cuda_graphs.can_capture(torch.nn.Linear(1, 1), plain, BinaryCrossEntropy())


# --- The number of kernels of a step --------------------------------------------------------------------------------

VIEWS = {"view", "transpose", "unsqueeze", "select", "slice", "detach", "split", "unbind", "expand", "alias", "squeeze"}


def kernels(tape):
    """Return the names of the kernels that were called, without views."""
    return [func.overloadpacket.__name__ for func, *_ in tape.calls if func.overloadpacket.__name__ not in VIEWS]


def make_step(members, hidden=(64, 32), outputs=1, optimizer=Adam, device="cpu", **options):
    """Return a function without arguments that takes a step of a network."""
    network = MLP(members, 20, outputs, hidden, **options).to(device).train()
    solver = optimizer(network, MemberOptions([0.1] * members, [0.0] * members, [0.0] * members, [1.0] * members))
    x, y = torch.randn(members, 32, 20, device=device), torch.zeros(members, 32, outputs, device=device)
    loss = BinaryCrossEntropy() if outputs == 1 else SoftmaxCrossEntropy()
    all_members, scale = slice(0, members), torch.tensor(1 / 32, device=device)
    noise = [torch.ones(members, 32, width, device=device) for width, _ in network.dropout_rates()]

    def step():
        network.gradients(Inputs(x), noise, lambda z: loss.gradient(z, y).mul_(scale), all_members)
        solver.advance(all_members)

    return step


@pytest.mark.parametrize("members", [1, 8])
@pytest.mark.parametrize(
    ("options", "max_calls"),
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
def test_a_step_calls_few_kernels_for_any_number_of_members(options, max_calls, members, torch_products):
    step = make_step(members, **options)
    with torch.inference_mode():
        step()
        with Tape() as tape:
            step()
    assert len(kernels(tape)) <= max_calls, kernels(tape)


class TapedNet(TrainingNet):
    """A net that records the kernels of its last epoch."""

    tape: Tape

    def _train(self, *args, **kwargs):
        with Tape() as self.tape:
            return super()._train(*args, **kwargs)


@pytest.mark.parametrize("settings", [{}, {"alpha": 0.1, "solver": "sgd"}, {"dropout": 0.0, "label_smoothing": 0.1}])
def test_an_epoch_of_training_never_waits_for_the_gpu(settings, torch_products, monkeypatch):
    monkeypatch.setattr("sknn.training.build.TrainingNet", TapedNet)
    clf = NeuralClassifier(**SMALL | settings | {"max_iter": 3}).fit(*CANCER)
    names = kernels(clf.net_.tape)
    assert "baddbmm" in names
    assert not {"_local_scalar_dense", "item", "nonzero", "equal"} & set(names)


def test_rows_are_gathered_once_for_an_epoch_and_not_copied_again(monkeypatch):
    monkeypatch.setattr("sknn.training.build.TrainingNet", TapedNet)
    settings = SMALL | {"max_iter": 2, "early_stopping": False, "dropout": 0.0, "batch_size": 32}
    X, y = (array[:544] for array in CANCER)  # whole batches only: a smaller one would be copied to align it
    clf = NeuralClassifier(**settings).fit(X, y)
    names = kernels(clf.net_.tape)
    assert names.count("index_select") == 1
    assert names.count("copy_") + names.count("clone") + names.count("_to_copy") == 1  # the losses of the batches


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
def test_a_step_stays_on_its_device(name, members):
    """Tested on the meta device, whose tensors have no values and which refuses tensors of other devices."""
    step = make_step(members, device="meta", **NETWORKS[name])
    with torch.inference_mode(), Tape() as tape:
        step()
    results = [t for *_, result in tape.calls for t in tree_leaves(result) if torch.is_tensor(t)]
    assert {t.device.type for t in results if t.dim()} == {"meta"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_replayed_steps_on_a_gpu_give_the_result_of_the_cpu(name):
    cls, (X, y), settings = CONFIGURATIONS[name]
    settings = SMALL | settings | {"shuffle": False, "dropout": 0.0, "early_stopping": False, "max_iter": 5}
    cpu, gpu = (cls(**settings, device=device).fit(X, y) for device in ("cpu", "cuda"))
    torch.testing.assert_close(gpu.module_.param_buffer.cpu(), cpu.module_.param_buffer, rtol=1e-2, atol=1e-3)

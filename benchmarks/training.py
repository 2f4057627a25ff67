"""CPU time of a fit compared with other libraries: the same network, batches, epochs and Adam, on one thread.

All libraries run in turn within a round. A figure is the median over rounds of (their time / our time) in the same
round, so a busy machine slows all of them alike. `products` is the time of the matrix products alone, which is the
lower limit for any implementation.
"""

import time
import warnings
from itertools import pairwise

import numpy as np
import torch
from sklearn.datasets import make_classification, make_regression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import scale
from skorch import NeuralNetClassifier, NeuralNetRegressor
from torch import nn

from sknn import NeuralClassifier, NeuralRegressor

ROUNDS = 5
VARIATION_ROUNDS = 25  # more rounds, because variations differ by a few percent
RATE = 1e-3

# rows, columns, classes (0: regression), hidden layers, batch, epochs
CASES = {
    "1,000 rows, (64, 32), batch 32": (1000, 20, 2, (64, 32), 32, 50),
    "10,000 rows, (100,), batch 200": (10_000, 20, 2, (100,), 200, 20),
    "4,000 rows, (128, 128), batch 128, regression": (4000, 30, 0, (128, 128), 128, 10),
    "10,000 rows, (256, 256), batch 256, 5 classes": (10_000, 50, 5, (256, 256), 256, 5),
    "20,000 rows, 3 x 256, batch 1024, 5 classes": (20_000, 50, 5, (256, 256, 256), 1024, 2),
}
VARIATIONS = {
    "8 members": {"ensemble_size": 8},
    "20 members": {"ensemble_size": 20},
    "dropout": {"dropout": (0.3, 0.2)},
    "early stopping, accuracy and AUC": {"early_stopping": True, "metrics": ["accuracy", "roc_auc"]},
}


def table(rows, columns, classes):
    """Return a scaled classification task, or a regression task if there are 0 classes."""
    if classes:
        informative = min(columns, 10)
        X, y = make_classification(rows, columns, n_informative=informative, n_classes=classes, random_state=0)
        return scale(X).astype("float32"), y
    X, y = make_regression(rows, columns, noise=5.0, random_state=0)
    return scale(X).astype("float32"), scale(y).astype("float32")


def ours(X, y, classes, hidden, batch, epochs, **more):
    settings = {
        "hidden_layer_sizes": hidden,
        "batch_size": batch,
        "max_iter": epochs,
        "activation": "relu",
        "solver": "adam",
        "learning_rate": "constant",
        "learning_rate_init": RATE,
        "dropout": 0.0,
        "early_stopping": False,
        "n_iter_no_change": np.inf,
        "scaling": None,
        "ensemble_size": 1,
        "device": "cpu",
        "random_state": 0,
    }
    return (NeuralClassifier if classes else NeuralRegressor)(**settings | more).fit(X, y)


def scikit_learn(X, y, classes, hidden, batch, epochs):
    settings = {"batch_size": batch, "max_iter": epochs, "alpha": 0.0, "tol": 0.0, "n_iter_no_change": 10**6}
    return (MLPClassifier if classes else MLPRegressor)(hidden_layer_sizes=hidden, random_state=0, **settings).fit(X, y)


def torch_network(columns, hidden, outputs):
    pairs = pairwise([columns, *hidden])
    layers = [layer for pair in pairs for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(hidden[-1], outputs))


def skorch(X, y, classes, hidden, batch, epochs):
    net = torch_network(X.shape[1], hidden, classes or 1)
    settings = {"optimizer": torch.optim.Adam, "lr": RATE, "batch_size": batch, "max_epochs": epochs, "verbose": 0}
    settings |= {"train_split": None, "iterator_train__shuffle": True}
    if classes:
        return NeuralNetClassifier(net, criterion=nn.CrossEntropyLoss, **settings).fit(X, y)
    return NeuralNetRegressor(net, **settings).fit(X, y[:, None])


def torch_loop(X, y, classes, hidden, batch, epochs):
    """Train with a careful torch loop: rows are sliced in memory, and the optimiser is fused."""
    net = torch_network(X.shape[1], hidden, classes or 1)
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, fused=True)
    rows, target = torch.from_numpy(X), torch.from_numpy(y)
    for _ in range(epochs):
        order = torch.randperm(len(X))
        for x, t in zip(rows[order].split(batch), target[order].split(batch), strict=True):
            z = net(x)
            loss = nn.functional.cross_entropy(z, t) if classes else nn.functional.mse_loss(z[:, 0], t)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@torch.inference_mode()
def products(X, y, classes, hidden, batch, epochs):
    """Compute only the matrix products of a training."""
    widths = [X.shape[1], *hidden, classes or 1]
    operands = [(torch.randn(batch, i), torch.randn(i, o), torch.randn(batch, o)) for i, o in pairwise(widths)]
    for _ in range(epochs * -(-len(X) // batch)):
        for layer, (x, weight, grad) in enumerate(operands):
            _ = x @ weight, x.T @ grad
            if layer:
                _ = grad @ weight.T


def seconds(function, *args, **kwargs):
    started = time.process_time()
    function(*args, **kwargs)
    return time.process_time() - started


def rounds(functions, n=ROUNDS):
    """Return the CPU seconds of each function, (rounds, functions), without a first round that warms up."""
    return np.array([[seconds(f) for f in functions] for _ in range(n + 1)][1:])


def compare(rows, columns, classes, hidden, batch, epochs):
    """Return our time per step in microseconds, and the relative time of each other library."""
    X, y = table(rows, columns, classes)
    args = X, y, classes, hidden, batch, epochs
    peers = [ours, scikit_learn, skorch, torch_loop, products]
    times = rounds([lambda peer=peer: peer(*args) for peer in peers])
    ratios = np.median(times / times[:, :1], 0)
    step = np.median(times[:, 0]) / (epochs * -(-rows // batch)) * 1e6
    names = [peer.__name__ for peer in peers[1:]]
    return {"step_us": step} | dict(zip(names, ratios[1:].tolist(), strict=True))


def variations():
    """Return the relative time of the first case with more members, dropout, or validation."""
    rows, columns, classes, *shape = next(iter(CASES.values()))
    X, y = table(rows, columns, classes)
    settings = [{}, *VARIATIONS.values()]
    times = rounds([lambda more=more: ours(X, y, classes, *shape, **more) for more in settings], n=VARIATION_ROUNDS)
    return dict(zip(VARIATIONS, np.median(times / times[:, :1], 0)[1:].tolist(), strict=True))


def measure():
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    return {"cases": {name: compare(*case) for name, case in CASES.items()}, "variations": variations()}

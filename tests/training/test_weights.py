"""The weights of the kinds: greedy selection on held-out rows, against all weights of a grid."""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, mean_squared_error

from sknn import NeuralClassifier, NeuralRegressor
from sknn.network.losses import BinaryCrossEntropy, Pinball, Poisson, SoftmaxCrossEntropy, SquaredError
from sknn.training.weights import PRIOR_ROWS, greedy_shares
from tests.common import ALIKE, QUICK

X = np.random.default_rng(0).normal(size=(300, 4))
Y = np.sin(2 * X[:, 0]) + X[:, 1] + 0.1 * np.random.default_rng(1).normal(size=300)
MIXED = QUICK | {"ensemble_size": 6, "batch_norm": "auto", "numeric_embedding": "auto", "max_iter": 8}


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


LOSSES = {
    "squared error": (SquaredError(), random(3, 50, 2), random(50, 2, seed=1)),
    "log loss": (BinaryCrossEntropy(), random(3, 50, 1), (random(50, 1, seed=1) > 0.4).float()),
    "classes": (SoftmaxCrossEntropy(), random(3, 50, 4).softmax(2), torch.eye(4)[torch.arange(50) % 4]),
    "poisson": (Poisson(), random(3, 50, 1) + 0.1, random(50, 1, seed=1).mul(3).round()),
    "quantile": (Pinball((0.3,)), random(3, 50, 1), random(50, 1, seed=1)),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_greedy_selection_is_as_good_as_the_best_weights_of_a_grid(name, weighted):
    loss, p, y = LOSSES[name]
    p = p + torch.linspace(0, 0.3, 3)[:, None, None] * (y if name != "classes" else 0)  # the last one is the best
    p = p.clamp(0.01, 0.99) if name in ("log loss", "classes") else p
    weight = random(50, seed=2) if weighted else None

    def loss_of(shares):
        mean = torch.einsum("k,knj->nj", torch.as_tensor(shares, dtype=p.dtype), p)[None]
        rows = loss.rows(loss.inverse_link(mean), y[None])[0]
        return float(rows.mean() if weight is None else (rows * weight).sum() / weight.sum())

    grid = [(a / 10, b / 10, (10 - a - b) / 10) for a in range(11) for b in range(11 - a)]
    shares = greedy_shares(loss, p, y, weight)
    assert shares.sum() == pytest.approx(1)
    best = min(map(loss_of, grid))
    assert loss_of(shares) <= best + 0.02 * abs(best)
    assert loss_of(shares) <= min(map(loss_of, np.eye(3))) + 1e-6


def test_a_prediction_of_nan_is_not_chosen():
    p = torch.stack([torch.full((5, 1), torch.nan), torch.ones(5, 1)])
    assert greedy_shares(SquaredError(), p, torch.ones(5, 1), None).tolist() == [0, 1]


def member_outputs(est, X):
    with torch.inference_mode():
        encoded = est._encode(X)
        return est.net_.criterion_.link(est.module_(torch.from_numpy(encoded.numeric))).numpy()


@pytest.mark.parametrize("cls", [NeuralClassifier, NeuralRegressor])
def test_the_kind_that_is_better_on_held_out_rows_has_the_larger_weight(cls):
    y = (Y > 0).astype(int) if cls is NeuralClassifier else Y
    est = cls(**MIXED).fit(X, y)
    outputs, held = member_outputs(est, X)[:, :, 0], [rows.numpy() for rows in est.net_._held_out]
    target = np.concatenate([y[rows] for rows in held[:3]])
    target = target if cls is NeuralClassifier else (target - y.mean()) / y.std()
    loss = log_loss if cls is NeuralClassifier else mean_squared_error
    of_kinds = [np.concatenate([outputs[m][held[m]] for m in members]) for members in (range(3), range(3, 6))]
    first, second = (loss(target, of_kind) for of_kind in of_kinds)
    weights = est.members_.groupby("kind", sort=False)["weight"].sum().to_numpy()
    assert (weights[0] > weights[1]) == (first < second)
    assert loss(target, weights @ of_kinds) < loss(target, np.mean(of_kinds, 0))


def test_predictions_are_the_weighted_mean_of_the_members():
    reg = NeuralRegressor(**MIXED).fit(X, Y)
    assert len(set(reg.member_weights_)) == 2
    scaled = np.tensordot(reg.member_weights_, member_outputs(reg, X), 1)[:, 0]
    np.testing.assert_allclose(reg.predict(X), scaled * reg._target.scale_ + reg._target.center_, rtol=1e-4, atol=1e-5)


def test_few_held_out_rows_hardly_move_the_weights_from_equal_ones():
    rng = np.random.default_rng(0)
    noise, y = rng.normal(size=(100, 3)), rng.normal(size=100)
    for seed in range(5):
        reg = NeuralRegressor(**MIXED | {"random_state": seed}).fit(noise, y)
        shares = reg.members_.groupby("kind")["weight"].sum()
        n_rows = sum(map(len, reg.net_._held_out[:3]))
        assert shares.min() >= PRIOR_ROWS / 2 / (n_rows + PRIOR_ROWS) - 1e-9
        assert shares.min() >= 0.25


@pytest.mark.parametrize("parameters", [{"early_stopping": False}, {"ensemble_size": 1}, ALIKE], ids=str)
def test_without_held_out_rows_or_with_one_kind_the_weights_are_equal(parameters):
    reg = NeuralRegressor(**MIXED | parameters).fit(X, Y)
    n = reg.module_.n_members
    np.testing.assert_array_equal(reg.member_weights_, np.full(n, 1 / n))


def test_rows_given_for_validation_decide_about_the_weights():
    reg = NeuralRegressor(**MIXED).fit(X[:200], Y[:200], X_val=X[200:], y_val=Y[200:])
    assert len(set(reg.member_weights_)) == 2


def test_a_warm_start_chooses_the_weights_anew():
    reg = NeuralRegressor(**MIXED, warm_start=True).fit(X, Y)
    first = reg.member_weights_
    reg.fit(X, Y)
    assert len(set(reg.member_weights_)) == 2
    assert not np.array_equal(reg.member_weights_, first)

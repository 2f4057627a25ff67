"""Embeddings: the backward against autograd and finite differences, values against their definitions."""

import numpy as np
import pytest
import torch
from torch import nn

from sknn.network.embeddings import (
    CATEGORY_WIDTH,
    MEAN_FOLDS,
    NUMERIC_EMBEDDINGS,
    CategoricalEmbedding,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
)
from tests.network.test_layers import MEMBERS, ROWS, backward_is_right, parameters_of, rows

EDGES = [torch.tensor([-1.5, -0.5, 0.25, 2.0]), torch.tensor([-1.0, 1.0]), torch.tensor([0.5])]
every_numeric_embedding = pytest.mark.parametrize("name", NUMERIC_EMBEDDINGS)


def embedding(name):
    """Return an embedding of three features, and its parameters."""
    layer = NUMERIC_EMBEDDINGS[name](3)
    params = parameters_of(layer)
    if isinstance(layer, PiecewiseLinearEmbedding):
        for stat in layer.statistics:
            params[stat].zero_()
        for m in range(MEMBERS):
            layer.set_bins({key: value[m] for key, value in params.items()}, EDGES)
    return layer, params


def positions(layer, params, x):
    """Return what `prepare` makes of numbers, with these bins."""
    layer.start, layer.rate = params["start"], params["rate"]
    return layer.prepare(x)


@every_numeric_embedding
def test_the_numeric_backward_agrees_with_autograd_and_finite_differences(name):
    layer, params = embedding(name)
    assert backward_is_right(layer, rows(3), params)


def test_means_follow_the_vector_of_a_level_and_have_no_gradient():
    layer = CategoricalEmbedding([3, 2], n_means=2)
    weight, means = parameters_of(layer).values()
    codes = torch.tensor([[[2, 0], [1, 1]]]).expand(MEMBERS, 2, 2)
    for fold in range(MEAN_FOLDS + 1):
        with torch.inference_mode():
            actual = layer.run(codes + fold * layer.total_levels, (weight, means)).unflatten(2, (2, -1))
        rows = torch.tensor([[2, 3], [1, 4]])  # of the tables: the levels of the second feature come after three
        assert torch.equal(actual[..., :CATEGORY_WIDTH], weight[:, rows])
        assert torch.equal(actual[..., CATEGORY_WIDTH:], means[:, 5 * fold + rows])
    grads = (torch.full_like(weight, torch.nan), torch.zeros_like(means))
    forward, backward = layer.bind((weight, means), grads, 2)
    backward(torch.ones_like(forward(codes)))
    assert torch.equal(grads[0].sum((1, 2)), torch.full((MEMBERS,), 4.0 * CATEGORY_WIDTH, dtype=weight.dtype))
    assert not grads[1].any()


def test_an_unknown_level_has_the_mean_of_unknown_levels_of_its_fold():
    layer = CategoricalEmbedding([3, 4], n_means=1)
    params = tuple(parameters_of(layer).values())
    codes = torch.tensor([[[2, 3]]]).expand(MEMBERS, 1, 2) + 2 * layer.total_levels
    noise = torch.tensor([[[0.0, 1.1]]]).expand(MEMBERS, 1, 2)
    unknown = torch.tensor([[[0, 3]]]).expand(MEMBERS, 1, 2) + 2 * layer.total_levels
    with torch.inference_mode():
        assert torch.equal(layer.run(codes, params, noise), layer.run(unknown, params))


def test_the_categorical_backward_sums_over_rows_with_the_same_level():
    layer = CategoricalEmbedding([3, 2])
    codes = torch.tensor([[2, 0], [2, 1], [0, 1], [2, 1], [1, 0]]).expand(MEMBERS, ROWS, 2)
    assert backward_is_right(layer, codes, parameters_of(layer))


def test_the_categorical_embedding_agrees_with_torchs_for_each_member_and_feature():
    layer = CategoricalEmbedding([3, 2, 4])
    params = parameters_of(layer)["weight"]
    codes = torch.stack([torch.randint(n, (MEMBERS, ROWS)) for n in layer.n_levels], 2)
    with torch.inference_mode():
        actual = layer.run(codes, (params,))
    assert actual.shape == (MEMBERS, ROWS, layer.out_features) == (MEMBERS, ROWS, 3 * CATEGORY_WIDTH)
    for m in range(MEMBERS):
        tables = params[m].split(layer.n_levels)
        parts = [nn.functional.embedding(codes[m, :, j], table) for j, table in enumerate(tables)]
        assert torch.equal(actual[m], torch.cat(parts, 1))


def test_codes_with_noise_0_are_unknown_in_forward_and_backward():
    layer = CategoricalEmbedding([3, 4])
    params = tuple(parameters_of(layer).values())
    codes = torch.tensor([[[2, 3], [1, 1]]]).expand(MEMBERS, 2, 2)
    noise = torch.tensor([[[0.0, 1.1], [1.1, 0.0]]]).expand(MEMBERS, 2, 2)
    unknown = torch.tensor([[[0, 3], [1, 0]]]).expand(MEMBERS, 2, 2)
    grads = tuple(torch.full_like(p, torch.nan) for p in (*params, *params))
    forward, backward = layer.bind(params, grads[:1], 2)
    forward_of_unknown, backward_of_unknown = layer.bind(params, grads[1:], 2)
    noisy, plain = forward(codes, noise), forward_of_unknown(unknown)
    assert torch.equal(noisy, plain)
    backward(torch.ones_like(noisy))
    backward_of_unknown(torch.ones_like(plain))
    assert torch.equal(grads[0], grads[1])


def test_the_vector_of_missing_and_unknown_levels_starts_at_0():
    layer = CategoricalEmbedding([10, 12])
    params = {"weight": torch.full(layer.shapes["weight"], torch.nan)}
    layer.reset(params, torch.Generator().manual_seed(0))
    zero_rows = (params["weight"] == 0).all(1).nonzero().flatten().tolist()
    assert zero_rows == [0, 10]


def test_the_periodic_embedding_agrees_with_its_formula():
    layer, params = embedding("periodic")
    x, p = rows(3).numpy(), {name: value.numpy() for name, value in params.items()}
    with torch.inference_mode():
        actual = layer.run(torch.from_numpy(x), tuple(params.values())).numpy()
    for m in range(MEMBERS):
        parts = []
        for j in range(3):
            waves = np.cos(2 * np.pi * (np.outer(x[m, :, j], p["frequency"][m, j, 0]) + p["phase"][m, j, 0]))
            parts += [waves @ p["weight"][m, j] + p["bias"][m, j], x[m, :, j : j + 1]]
        np.testing.assert_allclose(actual[m], np.hstack(parts), rtol=1e-10)


def shares_of_bins(x, ends):
    """Return the share of each bin below each number, by the definition: (numbers, bins)."""
    low, high = ends[:-1], ends[1:]
    shares = (x[:, None] - low) / (high - low)
    floor, ceiling = torch.zeros(len(low)), torch.ones(len(low))
    if len(low):
        floor[0], ceiling[-1] = -torch.inf, torch.inf
    return torch.clamp(shares, floor, ceiling)


@pytest.mark.parametrize("feature", range(len(EDGES)))
def test_the_piecewise_embedding_is_linear_in_the_share_of_each_bin_below_a_number(feature):
    layer, params = embedding("piecewise_linear")
    x = torch.cat([torch.linspace(-5, 5, 21, dtype=torch.float64), EDGES[feature].double()])
    ends = EDGES[feature].double()
    shares = shares_of_bins(x, ends)
    with torch.inference_mode():
        actual = layer.run(positions(layer, params, x[:, None].expand(MEMBERS, -1, 3)), tuple(params.values()))
    actual = actual.unflatten(2, (3, -1))[:, :, feature]
    for m in range(MEMBERS):
        weight = params["weight"][m, feature, : len(ends) - 1]
        torch.testing.assert_close(actual[m], shares @ weight + params["bias"][m, feature])


def test_the_position_of_a_number_is_its_bin_plus_its_share_of_the_bin():
    layer, params = embedding("piecewise_linear")
    x = torch.tensor([-2.5, -1.5, -1.0, -0.5, 0.0, 0.25, 2.0, 3.75], dtype=torch.float64)
    found = positions(layer, params, x[:, None].expand(-1, 3))
    torch.testing.assert_close(found[:, 0], torch.tensor([-1, 0, 0.5, 1, 1 + 2 / 3, 2, 3, 4]).double())
    torch.testing.assert_close(found[:, 1], (x + 1) / 2)
    assert not found[:, 2].any()  # a constant column has no bins


def test_numbers_far_outside_the_bins_are_embedded_by_the_outer_bins():
    layer, params = embedding("piecewise_linear")
    x = torch.tensor([-1e30, 1e30], dtype=torch.float64)[:, None].expand(MEMBERS, 2, 3)
    with torch.inference_mode():
        actual = layer.run(positions(layer, params, x), tuple(params.values()))
    assert torch.isfinite(actual).all()
    slopes = params["weight"][:, 0, [0, 2]] * params["rate"][:, 0, [0, 2], None]
    torch.testing.assert_close(actual[..., : layer.width], slopes * x[..., :1], rtol=1e-9, atol=1e10)


@every_numeric_embedding
def test_each_feature_has_its_own_columns_in_a_numeric_embedding(name):
    layer, params = embedding(name)
    x = rows(3)
    moved = x.clone()
    moved[..., 1] += 1
    with torch.inference_mode():
        before, after = (layer.run(t, tuple(params.values())) for t in (x, moved))
    changed = (before != after).any(1).any(0).view(3, -1)
    assert before.shape == (MEMBERS, ROWS, layer.out_features)
    assert changed.any(1).tolist() == [False, True, False]


def test_the_periodic_embedding_includes_the_number_itself():
    layer, params = embedding("periodic")
    x = rows(3)
    assert torch.equal(layer.run(x, tuple(params.values())).unflatten(2, (3, -1))[..., -1], x)


def test_initial_frequencies_are_small_and_phases_uniform():
    layer = PeriodicEmbedding(200)
    params = {name: torch.empty(shape) for name, shape in layer.shapes.items()}
    layer.reset(params, torch.Generator().manual_seed(0))
    assert params["frequency"].std().item() == pytest.approx(0.1, rel=0.05)
    assert params["phase"].abs().max() <= 0.5
    assert params["phase"].std().item() == pytest.approx(np.sqrt(1 / 12), rel=0.05)


def test_the_repr_of_an_embedding_shows_its_sizes():
    assert repr(CategoricalEmbedding([3, 2])) == "CategoricalEmbedding(n_levels=[3, 2], width=8)"
    assert repr(CategoricalEmbedding([3, 2], 4)) == "CategoricalEmbedding(n_levels=[3, 2], width=8, n_means=4)"
    assert repr(PeriodicEmbedding(4)) == "PeriodicEmbedding(n_features=4, width=3)"
    assert repr(PiecewiseLinearEmbedding(4)) == "PiecewiseLinearEmbedding(n_features=4, width=8)"

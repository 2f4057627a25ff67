"""Layers: the hand-written backward against autograd and finite differences, values against torch's own layers."""

import math

import pytest
import torch
from torch import nn

from sknn.network.activations import ACTIVATIONS
from sknn.network.layers import Activation, BatchNorm, Dropout, Layer, Linear, OutputLinear, ScaledLinear

MEMBERS, ROWS = 3, 5


class HandWritten(torch.autograd.Function):
    """A layer whose backward is the hand-written one, run as the training loop runs it."""

    @staticmethod
    def forward(ctx, layer, noise, x, *params):
        ctx.layer, ctx.x, ctx.params = layer, x.detach(), [p.detach() for p in params]
        ctx.noise = noise
        return HandWritten.run(ctx)[0].clone()

    @staticmethod
    def run(ctx):
        with torch.inference_mode():
            return ctx.layer.run(ctx.x.clone(), tuple(p.clone() for p in ctx.params), ctx.noise)

    @staticmethod
    def backward(ctx, grad):
        with torch.inference_mode():
            saved = HandWritten.run(ctx)[1]
            grads = tuple(torch.full_like(p, 7.0) for p in ctx.params)  # what an earlier batch may have left
            needs_input_grad = ctx.x.is_floating_point() and ctx.needs_input_grad[2]
            x_grad = ctx.layer.backward(grad.clone(), saved, tuple(ctx.params), grads, needs_input_grad)
        given = [g.clone() if needed else None for g, needed in zip(grads, ctx.needs_input_grad[3:], strict=True)]
        return None, None, x_grad.clone() if needs_input_grad else None, *given


def parameters_of(layer, seed=0, members=MEMBERS):
    """Initial parameters of each member, with statistics and biases that are not the trivial ones."""
    generator = torch.Generator().manual_seed(seed)
    params = {name: torch.zeros(members, *shape, dtype=torch.float64) for name, shape in layer.shapes.items()}
    for m in range(members):
        layer.reset({name: value[m] for name, value in params.items()}, generator)
    return {
        name: value + 0.1 * torch.rand(value.shape, dtype=value.dtype, generator=generator)
        for name, value in params.items()
    }


def backward_is_right(layer, x, params, noise=None):
    """Compare the backward with autograd through `run`, and with finite differences."""
    params = {name: p.detach().requires_grad_(name not in layer.statistics) for name, p in params.items()}
    inputs = [t for t in (x, *params.values()) if t.requires_grad]
    y = layer.run(x, tuple(p if p.requires_grad else p.clone() for p in params.values()), noise)[0]
    grad = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(1))
    by_autograd = torch.autograd.grad(y, inputs, grad)
    by_hand = torch.autograd.grad(HandWritten.apply(layer, noise, x, *params.values()), inputs, grad)
    torch.testing.assert_close(by_hand, by_autograd, rtol=1e-10, atol=1e-12)
    return torch.autograd.gradcheck(HandWritten.apply, (layer, noise, x, *params.values()), fast_mode=True)


def rows(width, seed=2):
    return torch.randn(MEMBERS, ROWS, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


LAYERS = {
    "linear": Linear(4, 3),
    "linear_to_one": Linear(4, 1),
    "linear_from_one": Linear(1, 3),
    "scaled_linear": ScaledLinear(4, 3),
    "scaled_linear_to_one": ScaledLinear(4, 1),
    "dropout": Dropout(4, 0.5),
    "batch_norm": BatchNorm(4),
} | {name: Activation(name) for name in ACTIVATIONS}


@pytest.mark.parametrize("name", LAYERS)
def test_the_backward_agrees_with_autograd_and_finite_differences(name):
    layer = LAYERS[name]
    x = rows(1 if name == "linear_from_one" else 4).requires_grad_()
    noise = (rows(4, seed=3) > 0) * 2.0 if isinstance(layer, Dropout) else None
    assert backward_is_right(layer, x, parameters_of(layer), noise)


def test_every_layer_of_the_file_is_tested():
    defined = {kind for kind in Layer.__subclasses__() if kind.__module__ == Layer.__module__}
    assert defined | {ScaledLinear} == {type(layer) for layer in LAYERS.values()}


@pytest.mark.parametrize("n_rows", [1, 2, 40])
def test_the_backward_of_batches_of_other_sizes(n_rows):
    layer = Linear(3, 2)
    x = torch.randn(MEMBERS, n_rows, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert backward_is_right(layer, x.requires_grad_(), parameters_of(layer))


def test_linear_is_torchs_with_the_weight_transposed():
    layer, x = Linear(4, 3), rows(4)
    params = parameters_of(layer)
    expected = [nn.functional.linear(x[m], params["weight"][m].T, params["bias"][m].squeeze(0)) for m in range(MEMBERS)]
    with torch.inference_mode():
        torch.testing.assert_close(layer.run(x, tuple(params.values()))[0], torch.stack(expected))


def test_bound_to_a_batch_a_layer_does_what_it_does_unbound():
    for layer in (Linear(4, 3), ScaledLinear(4, 3), Activation("silu"), BatchNorm(4), Dropout(4, 0.5)):
        x, params = rows(4), tuple(parameters_of(layer).values())
        other = tuple(p.clone() for p in params)
        grads, same = (tuple(torch.full_like(p, 7.0) for p in params) for _ in range(2))
        noise = (rows(4, seed=3) > 0) * 2.0 if isinstance(layer, Dropout) else None
        with torch.inference_mode():
            forward, backward = layer.bind(params, grads, ROWS, needs_input_grad=True, reuse_output=True)
            y, (z, saved) = forward(x, noise).clone(), layer.run(x, other, noise)
            grad = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(1))
            x_grad = backward(grad.clone()).clone()
            torch.testing.assert_close(y, z)
            torch.testing.assert_close(x_grad, layer.backward(grad.clone(), saved, other, same, True))
        for mine, theirs in zip(grads, same, strict=True):
            torch.testing.assert_close(mine, theirs)


def test_a_scaled_linear_layer_scales_its_inputs_by_one_at_first():
    layer, x = ScaledLinear(4, 3), rows(4)
    params = parameters_of(layer)
    fresh = {name: torch.empty(shape) for name, shape in layer.shapes.items()}
    layer.reset(fresh, torch.Generator().manual_seed(0))
    assert (fresh["scale"] == 1).all()
    weight, bias, scale = params.values()
    with torch.inference_mode():
        expected = Linear(4, 3).run(x * scale.transpose(1, 2), (weight, bias))[0]
        torch.testing.assert_close(layer.run(x, tuple(params.values()))[0], expected)


def test_the_normal_start_has_unit_variance_and_an_output_near_zero():
    hidden, output = ({"weight": torch.empty(400, 300), "bias": torch.empty(1, 300)} for _ in range(2))
    Linear(400, 300, gain=None).reset(hidden, torch.Generator().manual_seed(0))
    OutputLinear(400, 300, gain=None).reset(output, torch.Generator().manual_seed(0))
    assert hidden["weight"].std().item() == pytest.approx(1 / 20, rel=0.01)
    assert hidden["bias"].std().item() == pytest.approx(0.5, rel=0.1)
    assert output["weight"].std().item() == pytest.approx(0.1 / 20, rel=0.01)
    assert not output["bias"].any()


def test_linear_gives_the_inputs_gradient_only_where_it_is_wanted():
    layer, x = Linear(4, 3), rows(4)
    params = tuple(parameters_of(layer).values())
    with torch.inference_mode():
        _, saved = layer.run(x, params)
        grads = tuple(torch.empty_like(p) for p in params)
        assert layer.backward(rows(3), saved, params, grads, False) is None


@pytest.mark.parametrize("gain", [2.0, 6.0])
def test_linear_starts_within_glorots_bound(gain):
    params = parameters_of(Linear(300, 100, gain), members=1)
    fresh = {name: torch.empty(shape) for name, shape in Linear(300, 100, gain).shapes.items()}
    Linear(300, 100, gain).reset(fresh, torch.Generator().manual_seed(0))
    bound = math.sqrt(gain / 400)
    assert params["weight"].shape == (1, 300, 100)
    assert 0.99 * bound < fresh["weight"].abs().max() <= bound
    assert fresh["weight"].std().item() == pytest.approx(bound / math.sqrt(3), rel=0.01)
    assert 0.9 * bound < fresh["bias"].abs().max() <= bound


@pytest.mark.parametrize("kind", [Linear, ScaledLinear])
def test_products_in_bfloat16_are_close_and_keep_the_parameters_type(kind):
    low, full = kind(64, 32, product_dtype=torch.bfloat16), kind(64, 32)
    params = tuple(p.float() for p in parameters_of(full).values())
    x, grad = rows(64).float(), rows(32, seed=4).float()
    results = []
    for layer in (low, full):
        with torch.inference_mode():
            grads = tuple(torch.empty_like(p) for p in params)
            forward, backward = layer.bind(params, grads, x.shape[1], True)
            results.append([forward(x), backward(grad.clone()), *grads])
    assert {t.dtype for t in results[0]} == {torch.float32}
    for name, got, expected in zip(("y", "x", *full.shapes), *results, strict=True):
        assert (got - expected).norm() < 0.01 * expected.norm(), name
    assert not torch.equal(results[0][0], results[1][0])


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_is_torchs_and_follows_the_same_statistics(training):
    layer, x = BatchNorm(4).train(training), rows(4)
    params = parameters_of(layer)
    for m in range(MEMBERS):
        torchs = nn.BatchNorm1d(4, dtype=torch.float64).train(training)
        torchs.load_state_dict({name: p[m, 0] for name, p in params.items()}, strict=False)
        mine = tuple(p[m : m + 1].clone() for p in params.values())
        with torch.inference_mode():
            torch.testing.assert_close(layer.run(x[m : m + 1], mine)[0][0], torchs(x[m]))
        torch.testing.assert_close(mine[2][0, 0], torchs.running_mean)
        torch.testing.assert_close(mine[3][0, 0], torchs.running_var)


def test_batch_norm_of_a_single_row_stays_finite():
    layer = BatchNorm(4).train()
    params = tuple(parameters_of(layer).values())
    with torch.inference_mode():
        y, _ = layer.run(rows(4)[:, :1], params)
    assert torch.equal(y, params[1])
    assert all(torch.isfinite(p).all() for p in params)


def test_dropout_without_noise_does_nothing():
    layer, x = Dropout(4, 0.5), rows(4)
    y, saved = layer.run(x, ())
    assert torch.equal(y, x)
    assert torch.equal(layer.backward(x.clone(), saved, (), (), True), x)


def test_dropout_as_a_module_is_torchs():
    layer, x = Dropout(4, 0.5), rows(4)
    assert torch.equal(layer.eval()(x), x)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mine = layer.train()(x)
        torch.manual_seed(0)
        assert torch.equal(mine, nn.Dropout(0.5)(x))


def test_a_layer_says_its_sizes_when_printed():
    printed = [repr(layer) for layer in (Linear(4, 3), Activation("tanh"), Dropout(4, 0.5), BatchNorm(4))]
    assert printed == [
        "Linear(in_features=4, out_features=3)",
        "Activation(tanh)",
        "Dropout(rate=0.5)",
        "BatchNorm(width=4)",
    ]


def test_the_base_class_names_the_layer_that_lacks_a_method():
    with pytest.raises(NotImplementedError, match=r"^Layer$"):
        Layer().run(rows(1), ())
    with pytest.raises(NotImplementedError, match=r"^Layer$"):
        Layer().backward(rows(1), None, (), (), True)

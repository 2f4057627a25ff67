"""Layers: the hand-written backward against autograd and finite differences, values against torch's layers."""

import math

import pytest
import torch
from torch import nn

from sknn.network.activations import ACTIVATIONS
from sknn.network.layers import Activation, BatchNorm, Dropout, Layer, Linear, OutputLinear, ScaledLinear

MEMBERS, ROWS = 3, 5


class HandWritten(torch.autograd.Function):
    """A layer with its hand-written backward, run as in the training loop."""

    @staticmethod
    def forward(ctx, layer, noise, x, *params):
        ctx.layer, ctx.noise, ctx.x, ctx.params = layer, noise, x.detach(), [p.detach() for p in params]
        with torch.inference_mode():
            return layer.run(ctx.x.clone(), tuple(p.clone() for p in ctx.params), noise).clone()

    @staticmethod
    def backward(ctx, grad):
        needs_input_grad = ctx.x.is_floating_point() and ctx.needs_input_grad[2]
        with torch.inference_mode():
            grads = tuple(torch.full_like(p, 7.0) for p in ctx.params)  # values that an earlier batch may have left
            params = tuple(p.clone() for p in ctx.params)
            forward, backward = ctx.layer.bind(params, grads, ctx.x.shape[1], needs_input_grad)
            forward(ctx.x.clone(), ctx.noise)
            x_grad = backward(grad.clone())
        grads = [g.clone() if needed else None for g, needed in zip(grads, ctx.needs_input_grad[3:], strict=True)]
        return None, None, x_grad.clone() if needs_input_grad else None, *grads


def parameters_of(layer, seed=0, members=MEMBERS):
    """Return initial parameters of each member, with non-trivial statistics and biases."""
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
    y = layer.run(x, tuple(p if p.requires_grad else p.clone() for p in params.values()), noise)
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
def test_the_backward_is_right_for_other_batch_sizes(n_rows):
    layer = Linear(3, 2)
    x = torch.randn(MEMBERS, n_rows, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert backward_is_right(layer, x.requires_grad_(), parameters_of(layer))


def test_linear_agrees_with_torch_for_the_transposed_weight():
    layer, x = Linear(4, 3), rows(4)
    params = parameters_of(layer)
    expected = [nn.functional.linear(x[m], params["weight"][m].T, params["bias"][m].squeeze(0)) for m in range(MEMBERS)]
    with torch.inference_mode():
        torch.testing.assert_close(layer.run(x, tuple(params.values())), torch.stack(expected))


def test_a_layer_that_reuses_its_output_gives_the_values_of_one_that_does_not():
    for layer in (Linear(4, 3), ScaledLinear(4, 3), Activation("silu"), BatchNorm(4), Dropout(4, 0.5)):
        x, params = rows(4), tuple(parameters_of(layer).values())
        other_params = tuple(p.clone() for p in params)
        grads, other_grads = (tuple(torch.full_like(p, 7.0) for p in params) for _ in range(2))
        noise = (rows(4, seed=3) > 0) * 2.0 if isinstance(layer, Dropout) else None
        with torch.inference_mode():
            forward, backward = layer.bind(params, grads, ROWS, needs_input_grad=True, reuse_output=True)
            other_forward, other_backward = layer.bind(other_params, other_grads, ROWS, needs_input_grad=True)
            forward(x + 1, noise)  # the second batch writes over the first one's output
            for before, after in zip(other_params, params, strict=True):
                before.copy_(after)
            y, other_y = forward(x, noise).clone(), other_forward(x, noise)
            grad = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(1))
            torch.testing.assert_close(y, other_y)
            torch.testing.assert_close(backward(grad.clone()).clone(), other_backward(grad.clone()))
        for own, other in zip(grads, other_grads, strict=True):
            torch.testing.assert_close(own, other)


def test_a_scaled_linear_layer_multiplies_its_inputs_and_starts_at_one():
    layer, x = ScaledLinear(4, 3), rows(4)
    params = parameters_of(layer)
    fresh = {name: torch.empty(shape) for name, shape in layer.shapes.items()}
    layer.reset(fresh, torch.Generator().manual_seed(0))
    assert (fresh["scale"] == 1).all()
    weight, bias, scale = params.values()
    with torch.inference_mode():
        expected = Linear(4, 3).run(x * scale.transpose(1, 2), (weight, bias))
        torch.testing.assert_close(layer.run(x, tuple(params.values())), expected)


def test_normal_initial_weights_have_variance_one_over_inputs_and_are_small_in_the_output_layer():
    hidden, output = ({"weight": torch.empty(400, 300), "bias": torch.empty(1, 300)} for _ in range(2))
    Linear(400, 300, gain=None).reset(hidden, torch.Generator().manual_seed(0))
    OutputLinear(400, 300, gain=None).reset(output, torch.Generator().manual_seed(0))
    assert hidden["weight"].std().item() == pytest.approx(1 / 20, rel=0.01)
    assert hidden["bias"].std().item() == pytest.approx(0.5, rel=0.1)
    assert output["weight"].std().item() == pytest.approx(0.1 / 20, rel=0.01)
    assert not output["bias"].any()


def test_linear_returns_the_gradient_of_its_input_only_if_it_is_needed():
    layer = Linear(4, 3)
    params = tuple(parameters_of(layer).values())
    with torch.inference_mode():
        forward, backward = layer.bind(params, tuple(torch.empty_like(p) for p in params), ROWS)
        forward(rows(4))
        assert backward(rows(3)) is None


@pytest.mark.parametrize("gain", [2.0, 6.0])
def test_initial_weights_of_linear_lie_within_glorots_limit(gain):
    params = parameters_of(Linear(300, 100, gain), members=1)
    fresh = {name: torch.empty(shape) for name, shape in Linear(300, 100, gain).shapes.items()}
    Linear(300, 100, gain).reset(fresh, torch.Generator().manual_seed(0))
    limit = math.sqrt(gain / 400)
    assert params["weight"].shape == (1, 300, 100)
    assert 0.99 * limit < fresh["weight"].abs().max() <= limit
    assert fresh["weight"].std().item() == pytest.approx(limit / math.sqrt(3), rel=0.01)
    assert 0.9 * limit < fresh["bias"].abs().max() <= limit


@pytest.mark.parametrize("kind", [Linear, ScaledLinear])
def test_products_in_bfloat16_are_close_and_results_have_the_type_of_the_parameters(kind):
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
    for name, actual, expected in zip(("y", "x", *full.shapes), *results, strict=True):
        assert (actual - expected).norm() < 0.01 * expected.norm(), name
    assert not torch.equal(results[0][0], results[1][0])


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_agrees_with_torch_in_values_and_statistics(training):
    layer, x = BatchNorm(4).train(training), rows(4)
    params = parameters_of(layer)
    for m in range(MEMBERS):
        reference = nn.BatchNorm1d(4, dtype=torch.float64).train(training)
        reference.load_state_dict({name: p[m, 0] for name, p in params.items()}, strict=False)
        own = tuple(p[m : m + 1].clone() for p in params.values())
        with torch.inference_mode():
            torch.testing.assert_close(layer.run(x[m : m + 1], own)[0], reference(x[m]))
        torch.testing.assert_close(own[2][0, 0], reference.running_mean)
        torch.testing.assert_close(own[3][0, 0], reference.running_var)


def test_batch_norm_of_a_single_row_stays_finite():
    layer = BatchNorm(4).train()
    params = tuple(parameters_of(layer).values())
    with torch.inference_mode():
        y = layer.run(rows(4)[:, :1], params)
    assert torch.equal(y, params[1])
    assert all(torch.isfinite(p).all() for p in params)


def test_dropout_without_noise_does_nothing():
    layer, x = Dropout(4, 0.5), rows(4)
    forward, backward = layer.bind((), (), ROWS, needs_input_grad=True)
    assert torch.equal(forward(x), x)
    assert torch.equal(backward(x.clone()), x)


def test_dropout_as_a_module_agrees_with_torch():
    layer, x = Dropout(4, 0.5), rows(4)
    assert torch.equal(layer.eval()(x), x)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        actual = layer.train()(x)
        torch.manual_seed(0)
        assert torch.equal(actual, nn.Dropout(0.5)(x))


def test_the_repr_of_a_layer_shows_its_sizes():
    printed = [repr(layer) for layer in (Linear(4, 3), Activation("tanh"), Dropout(4, 0.5), BatchNorm(4))]
    assert printed == [
        "Linear(in_features=4, out_features=3)",
        "Activation(tanh)",
        "Dropout(rate=0.5)",
        "BatchNorm(width=4)",
    ]


def test_the_base_class_raises_the_name_of_a_layer_without_a_method():
    with pytest.raises(NotImplementedError, match=r"^Layer$"):
        Layer().run(rows(1), ())
    with pytest.raises(NotImplementedError, match=r"^Layer$"):
        Layer().bind((), (), ROWS)

"""Products against einsum, and bits of a member's result in joint and single training."""

import contextlib
import warnings
from itertools import product

import numpy as np
import pytest
import torch

from sknn.network import products
from sknn.network.mlp import MLP
from sknn.network.products import (
    ALIGNMENT,
    aligned_empty,
    column_sums_into,
    multiply,
    numpy_products,
    padded,
    product_with,
    transposed_product_into,
)

MEMBERS = (2, 5, 20)
ROWS = (1, 2, 5, 7, 9, 15, 16, 31, 32, 100)
WIDTHS = (1, 2, 3, 10, 32, 64, 100)
POOL = torch.randn(20 * 100 * 100 + 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=[1, 2], ids=["one_thread", "two_threads"])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def use_numpy():
    with numpy_products():
        yield


def aligned_normal(start, *shape):
    """Return an aligned tensor with the pool's normal numbers from `start` on."""
    out = aligned_empty(torch.empty(0), *shape)
    return out.copy_(POOL[start : start + out.numel()].view(shape))


def forward(x, weight, bias, grad):
    return multiply(x, weight, bias)


def forward_into_memory(x, weight, bias, grad):
    return product_with(weight, bias, x.shape[1], reuse_output=True)(x)


def forward_without_bias(x, weight, bias, grad):
    return multiply(x, weight)


def backward(x, weight, bias, grad):
    return multiply(grad, weight.transpose(1, 2))


def weight_gradient(x, weight, bias, grad):
    out = aligned_empty(x, *weight.shape)
    transposed_product_into(out, x.shape[1])(x, grad)
    return out


def bias_gradient(x, weight, bias, grad):
    out = aligned_empty(x, *bias.shape)
    column_sums_into(out, x.shape[1])(grad)
    return out


REFERENCES = {
    forward: lambda x, weight, bias, grad: torch.einsum("mri,mic->mrc", x, weight) + bias,
    forward_into_memory: lambda x, weight, bias, grad: torch.einsum("mri,mic->mrc", x, weight) + bias,
    forward_without_bias: lambda x, weight, bias, grad: torch.einsum("mri,mic->mrc", x, weight),
    backward: lambda x, weight, bias, grad: torch.einsum("mrc,mic->mri", grad, weight),
    weight_gradient: lambda x, weight, bias, grad: torch.einsum("mri,mrc->mic", x, grad),
    bias_gradient: lambda x, weight, bias, grad: torch.einsum("mrc->mc", grad)[:, None],
}
PRODUCTS = list(REFERENCES)


def operands(members, rows, inner, columns):
    shapes = (rows, inner), (inner, columns), (1, columns), (rows, columns)
    return [aligned_normal(start, members, *shape) for start, shape in enumerate(shapes)]


@pytest.mark.parametrize("function", PRODUCTS)
@pytest.mark.parametrize("with_autograd", [False, True])
def test_products_agree_with_einsum(function, with_autograd, use_numpy):
    for shape in product((1, 3), (1, 7, 31), (1, 2, 10), (1, 3, 32)):
        args = operands(*shape)
        if with_autograd and function not in (weight_gradient, bias_gradient, forward_into_memory):
            actual = function(*args)
        else:
            with torch.inference_mode():
                actual = function(*args)
        torch.testing.assert_close(actual, REFERENCES[function](*args), msg=lambda text, s=shape: f"{s}: {text}")


@pytest.mark.sample(3)
@pytest.mark.parametrize("function", [forward, forward_into_memory, backward, weight_gradient, bias_gradient])
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("context", [numpy_products, contextlib.nullcontext])
def test_a_member_has_the_same_bits_singly_and_jointly(function, rows, threads, context):
    different = []
    with torch.inference_mode(), context():
        for inner, columns in product(WIDTHS, WIDTHS):
            args = operands(max(MEMBERS), rows, inner, columns)
            single = {m: function(*(t[m : m + 1] for t in args))[0].clone() for m in (0, 1, 4, 19)}
            for members in MEMBERS:
                joint = function(*(t[:members] for t in args))
                if not all(torch.equal(joint[m], single[m]) for m in (0, members - 1)):
                    different.append((members, rows, inner, columns))
    assert different == []


@pytest.fixture
def numpy_calls(monkeypatch):
    """The number of axes of the operands in each product of numpy."""
    calls = []

    def counted(function):
        def count(a, b, *out):
            calls.append(a.ndim)
            return function(a, b, *out)

        return count

    for name in ("dot", "matmul"):
        monkeypatch.setattr(products.np, name, counted(getattr(np, name)))
    return calls


# Numbers of numpy's products with one thread and with two, for 32 rows and 24 inputs.
@pytest.mark.parametrize(
    ("function", "columns", "with_one_thread", "with_two_threads"),
    [
        (forward, 3, 1, 1),
        (forward, 1, 1, 1),
        (forward, 32, 0, 0),  # a new result, and a bias
        (forward_into_memory, 32, 1, 0),
        (forward_into_memory, 3, 1, 1),
        (backward, 3, 0, 0),  # transposed
        (weight_gradient, 3, 1, 1),
        (weight_gradient, 32, 1, 0),
    ],
)
@pytest.mark.parametrize("members", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numpy_takes_narrow_products_and_wide_ones_with_one_thread(
    function, columns, with_one_thread, with_two_threads, members, dtype, threads, numpy_calls, use_numpy
):
    args = [t.to(dtype) for t in operands(members, 32, 24, columns)]
    with torch.inference_mode():
        function(*args)
    assert len(numpy_calls) == (with_one_thread if threads == 1 else with_two_threads)
    assert set(numpy_calls) <= {2 if members == 1 else 3}


@pytest.mark.parametrize("function", PRODUCTS[1:])
@pytest.mark.parametrize("changed", [{"device": "meta"}, {"dtype": torch.bfloat16}], ids=str)
def test_torch_takes_products_of_other_devices_and_types(function, changed, numpy_calls, use_numpy):
    args = [t.to(**changed) for t in operands(3, 32, 24, 3)]
    with torch.inference_mode():
        actual = function(*args)
    assert numpy_calls == []
    assert actual.dtype == args[0].dtype
    assert actual.device == args[0].device


def test_torch_takes_products_outside_of_inference_mode(numpy_calls, use_numpy):
    x, weight, bias, grad = operands(3, 32, 24, 3)
    x.requires_grad_()
    with torch.no_grad():
        forward(x, weight, bias, grad)
    assert numpy_calls == []


def test_products_that_overflow_cause_no_warning_only_inside_numpy_products():
    huge = torch.full((2, 32, 3), 1e30)
    with torch.inference_mode(), np.errstate(all="raise"), numpy_products():
        assert multiply(huge, huge.transpose(1, 2)[..., :2]).isinf().all()
        assert (multiply(huge / 1e60, huge.transpose(1, 2)[..., :2] / 1e60) == 0).all()
    with pytest.warns(RuntimeWarning, match="overflow"):
        np.matmul(huge.numpy(), huge.mT.numpy())


@pytest.mark.parametrize("members", [1, 3])
def test_a_network_traced_in_inference_mode_depends_on_its_input(members, numpy_calls):
    network = MLP(members, 4, 2, (5, 8)).eval()
    x = torch.randn(32, 4)
    with torch.inference_mode(), warnings.catch_warnings(action="ignore"):
        traced = torch.jit.trace(network, x)
        torch.testing.assert_close(traced(x + 1), network(x + 1))
        torch.testing.assert_close(torch.func.vmap(network)(x[None]), network(x)[None])
    assert numpy_calls == []


@pytest.mark.parametrize("function", [forward, forward_into_memory, weight_gradient])
@pytest.mark.parametrize("members", [1, 3])
def test_a_product_uses_the_current_values_of_its_operands(function, members, numpy_calls, use_numpy):
    """Weights change between two calls, and a batch's memory is reused, so cached arrays have to be views."""
    x, weight, bias, grad = operands(members, 32, 24, 3)
    with torch.inference_mode():
        out = aligned_empty(x, *weight.shape)
        if function is weight_gradient:
            call, args = transposed_product_into(out, 32), (x, grad)
        else:
            call, args = product_with(weight, bias, 32, reuse_output=function is forward_into_memory), (x,)
        call(*args)
        for t in (x, weight, bias, grad):
            t.mul_(-0.5).add_(0.1)
        actual = call(*args)
        expected = REFERENCES[function](x, weight, bias, grad)
        assert len(numpy_calls) == 2
        torch.testing.assert_close(out if function is weight_gradient else actual, expected)


@pytest.mark.parametrize(("size", "expected"), [(0, 0), (1, 16), (16, 16), (17, 32)])
def test_padding_rounds_up_to_a_multiple_of_a_cache_line(size, expected):
    assert padded(size) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3, 7, 5), (3, 4, 4), (1, 1, 1)])
def test_every_member_of_an_aligned_tensor_starts_on_a_cache_line(shape, dtype):
    out = aligned_empty(torch.empty(0, dtype=dtype), *shape)
    assert out.shape == shape
    assert out.dtype == dtype
    assert {member.data_ptr() % (4 * ALIGNMENT) for member in out} == {0}

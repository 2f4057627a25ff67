"""The products against einsum, and a member's result alone against that in company, bit for bit."""

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
    beside_numpy,
    column_sums_into,
    multiply,
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
def numpy_beside():
    with beside_numpy():
        yield


def aligned_normal(start, *shape):
    """Normal numbers: those of the pool from `start` on."""
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
def test_a_product_has_the_value_that_einsum_gives(function, with_autograd, numpy_beside):
    for shape in product((1, 3), (1, 7, 31), (1, 2, 10), (1, 3, 32)):
        args = operands(*shape)
        if with_autograd and function not in (weight_gradient, bias_gradient, forward_into_memory):
            got = function(*args)
        else:
            with torch.inference_mode():
                got = function(*args)
        torch.testing.assert_close(got, REFERENCES[function](*args), msg=lambda text, s=shape: f"{s}: {text}")


@pytest.mark.parametrize("function", [forward, forward_into_memory, backward, weight_gradient, bias_gradient])
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("beside", [beside_numpy, contextlib.nullcontext])
def test_a_member_gets_the_same_bits_alone_and_in_company(function, rows, threads, beside):
    different = []
    with torch.inference_mode(), beside():
        for inner, columns in product(WIDTHS, WIDTHS):
            args = operands(max(MEMBERS), rows, inner, columns)
            alone = {m: function(*(t[m : m + 1] for t in args))[0].clone() for m in (0, 1, 4, 19)}
            for members in MEMBERS:
                together = function(*(t[:members] for t in args))
                if not all(torch.equal(together[m], alone[m]) for m in (0, members - 1)):
                    different.append((members, rows, inner, columns))
    assert different == []


@pytest.fixture
def by_numpy(monkeypatch):
    """The numbers of axes of the operands that numpy has multiplied."""
    calls = []

    def counted(function):
        def count(a, b, *out):
            calls.append(a.ndim)
            return function(a, b, *out)

        return count

    for name in ("dot", "matmul"):
        monkeypatch.setattr(products.np, name, counted(getattr(np, name)))
    return calls


# By one thread and by two: a product of 32 rows and 24 inputs, and which of them are numpy's.
@pytest.mark.parametrize(
    ("function", "columns", "alone", "beside"),
    [
        (forward, 3, 1, 1),
        (forward, 1, 1, 1),
        (forward, 32, 0, 0),  # into memory of its own, and with the bias
        (forward_into_memory, 32, 1, 0),
        (forward_into_memory, 3, 1, 1),
        (backward, 3, 0, 0),  # transposed
        (weight_gradient, 3, 1, 1),
        (weight_gradient, 32, 1, 0),
    ],
)
@pytest.mark.parametrize("members", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numpy_takes_narrow_products_and_with_one_thread_wide_ones(
    function, columns, alone, beside, members, dtype, threads, by_numpy, numpy_beside
):
    args = [t.to(dtype) for t in operands(members, 32, 24, columns)]
    with torch.inference_mode():
        function(*args)
    assert len(by_numpy) == (alone if threads == 1 else beside)
    assert set(by_numpy) <= {2 if members == 1 else 3}


@pytest.mark.parametrize("function", PRODUCTS[1:])
@pytest.mark.parametrize("changed", [{"device": "meta"}, {"dtype": torch.bfloat16}], ids=str)
def test_numpy_is_left_out_where_it_cannot_multiply(function, changed, by_numpy, numpy_beside):
    args = [t.to(**changed) for t in operands(3, 32, 24, 3)]
    with torch.inference_mode():
        got = function(*args)
    assert by_numpy == []
    assert got.dtype == args[0].dtype
    assert got.device == args[0].device


def test_numpy_is_left_out_outside_of_inference_mode(by_numpy, numpy_beside):
    x, weight, bias, grad = operands(3, 32, 24, 3)
    x.requires_grad_()
    with torch.no_grad():
        forward(x, weight, bias, grad)
    assert by_numpy == []


def test_products_that_overflow_are_silent_beside_numpy_and_nowhere_else():
    huge = torch.full((2, 32, 3), 1e30)
    with torch.inference_mode(), np.errstate(all="raise"), beside_numpy():
        assert multiply(huge, huge.transpose(1, 2)[..., :2]).isinf().all()
        assert (multiply(huge / 1e60, huge.transpose(1, 2)[..., :2] / 1e60) == 0).all()
    with pytest.warns(RuntimeWarning, match="overflow"):
        np.matmul(huge.numpy(), huge.mT.numpy())


@pytest.mark.parametrize("members", [1, 3])
def test_a_network_that_is_traced_in_inference_mode_follows_its_input(members, by_numpy):
    network = MLP(members, 4, 2, (5, 8)).eval()
    x = torch.randn(32, 4)
    with torch.inference_mode(), warnings.catch_warnings(action="ignore"):
        traced = torch.jit.trace(network, x)
        torch.testing.assert_close(traced(x + 1), network(x + 1))
        torch.testing.assert_close(torch.func.vmap(network)(x[None]), network(x)[None])
    assert by_numpy == []


@pytest.mark.parametrize("function", [forward, forward_into_memory, weight_gradient])
@pytest.mark.parametrize("members", [1, 3])
def test_a_product_sees_what_has_changed_in_the_memory_of_its_operands(function, members, by_numpy, numpy_beside):
    """A view that is kept is a view: weights move between two calls, and a batch's memory is written again."""
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
        got = call(*args)
        expected = REFERENCES[function](x, weight, bias, grad)
        assert len(by_numpy) == 2
        torch.testing.assert_close(out if function is weight_gradient else got, expected)


@pytest.mark.parametrize(("size", "expected"), [(0, 0), (1, 16), (16, 16), (17, 32)])
def test_padding_goes_up_to_the_next_multiple_of_a_cache_line(size, expected):
    assert padded(size) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3, 7, 5), (3, 4, 4), (1, 1, 1)])
def test_every_member_of_an_aligned_tensor_starts_on_a_cache_line(shape, dtype):
    out = aligned_empty(torch.empty(0, dtype=dtype), *shape)
    assert out.shape == shape
    assert out.dtype == dtype
    assert {member.data_ptr() % (4 * ALIGNMENT) for member in out} == {0}

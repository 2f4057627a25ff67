"""The products against einsum, and a member's result alone against that in company, bit for bit."""

from itertools import product

import pytest
import torch

from sknn.network.products import ALIGNMENT, aligned_empty, multiply, padded, transposed_product_into

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


def aligned_normal(start, *shape):
    """Normal numbers: those of the pool from `start` on."""
    out = aligned_empty(torch.empty(0), *shape)
    return out.copy_(POOL[start : start + out.numel()].view(shape))


def forward(x, weight, bias, grad):
    return multiply(x, weight, bias)


def forward_without_bias(x, weight, bias, grad):
    return multiply(x, weight)


def backward(x, weight, bias, grad):
    return multiply(grad, weight.transpose(1, 2))


def weight_gradient(x, weight, bias, grad):
    out = aligned_empty(x, *weight.shape)
    transposed_product_into(out, x.shape[1])(x, grad)
    return out


REFERENCES = {
    forward: lambda x, weight, bias, grad: torch.einsum("mri,mic->mrc", x, weight) + bias,
    forward_without_bias: lambda x, weight, bias, grad: torch.einsum("mri,mic->mrc", x, weight),
    backward: lambda x, weight, bias, grad: torch.einsum("mrc,mic->mri", grad, weight),
    weight_gradient: lambda x, weight, bias, grad: torch.einsum("mri,mrc->mic", x, grad),
}
PRODUCTS = list(REFERENCES)


def operands(members, rows, inner, columns):
    shapes = (rows, inner), (inner, columns), (1, columns), (rows, columns)
    return [aligned_normal(start, members, *shape) for start, shape in enumerate(shapes)]


@pytest.mark.parametrize("function", PRODUCTS)
@pytest.mark.parametrize("with_autograd", [False, True])
def test_a_product_has_the_value_that_einsum_gives(function, with_autograd):
    for shape in product((1, 3), (1, 7, 31), (1, 2, 10), (1, 3, 32)):
        args = operands(*shape)
        if with_autograd and function is not weight_gradient:
            got = function(*args)
        else:
            with torch.inference_mode():
                got = function(*args)
        torch.testing.assert_close(got, REFERENCES[function](*args), msg=lambda text, s=shape: f"{s}: {text}")


@pytest.mark.parametrize("function", [forward, backward, weight_gradient])
@pytest.mark.parametrize("rows", ROWS)
def test_a_member_gets_the_same_bits_alone_and_in_company(function, rows, threads):
    different = []
    with torch.inference_mode():
        for inner, columns in product(WIDTHS, WIDTHS):
            args = operands(max(MEMBERS), rows, inner, columns)
            alone = {m: function(*(t[m : m + 1] for t in args))[0].clone() for m in (0, 1, 4, 19)}
            for members in MEMBERS:
                together = function(*(t[:members] for t in args))
                if not all(torch.equal(together[m], alone[m]) for m in (0, members - 1)):
                    different.append((members, rows, inner, columns))
    assert different == []


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

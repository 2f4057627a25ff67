"""Matrix products over a members axis whose result for one member does not depend on the others.

On a CPU most of them are numpy's, in the memory of the tensors.  Its BLAS multiplies member by member, whoever else is
there; small matrices take it half the time; and where the result is narrow (a classifier's outputs) it was measured to
be up to twenty times as fast as the MKL in torch on an AMD processor.  It computes on one thread (`blas_beside_torch`),
since its threads and torch's would wait for one another; so with several threads wide products are torch's, as they
are on a GPU.

torch takes a batch of matrices by kernels that it chooses by shape and by the alignment of its operands, so the same
product can differ in its last bit when a matrix stands alone, in a batch, or at another address.  Three rules were
measured to be enough: weights, gradients and results start on a 64-byte boundary for every member; a dimension of one
is multiplied and summed; and a handful of rows is multiplied member by member, since a batch of one takes another
kernel there than a batch of many.

A training takes the same products thousands of times, and in a small network a question asked in Python costs as much
as a product.  So the rules are applied once, when a product is bound to its weight and to a number of rows; what comes
back is a function with nothing left to decide.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

ALIGNMENT = 16  # in numbers: 64 bytes of float32, a cache line
NARROW = 16  # columns; from here on torch's kernels are as good as numpy's
FEW_ROWS = 16  # below this a lone matrix and a batch of matrices use different kernels of torch
NUMPYS_TYPES = (torch.float32, torch.float64)


def padded(size: int) -> int:
    """The smallest multiple of the alignment that is at least `size`."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def aligned_empty(like: Tensor, members: int, rows: int, columns: int) -> Tensor:
    """An uninitialised (members, rows, columns) tensor in which every member starts on a boundary."""
    size = rows * columns
    if size % ALIGNMENT == 0:
        return like.new_empty((members, rows, columns))
    return like.new_empty((members, padded(size)))[:, :size].view(members, rows, columns)


def aligned(t: Tensor) -> Tensor:
    """`t`, or a copy of it in which every member starts on a boundary."""
    if t.shape[0] == 1 or t.stride(0) % ALIGNMENT == 0:
        return t
    return aligned_empty(t, *t.shape).copy_(t)


def multiply(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a @ b + bias, member by member.

    Parameters
    ----------
    a : Tensor of shape (M, rows, inner)
    b : Tensor of shape (M, inner, columns)
    bias : Tensor of shape (M, 1, columns), optional

    Returns
    -------
    Tensor of shape (M, rows, columns)
    """
    if not torch.is_inference_mode_enabled():  # under autograd, or a tracer
        return a @ b if bias is None else torch.baddbmm(bias, a, b)
    return product_with(b, bias, a.shape[1])(a)


def product_with(b: Tensor, bias: Tensor | None, rows: int, reuse: bool = False) -> Callable[[Tensor], Tensor]:
    """The function a -> a @ b + bias, for `a` of so many rows.

    With `reuse`, each call writes over the result of the call before.
    """
    members, inner, columns = b.shape
    out = aligned_empty(b, members, rows, columns) if reuse else None
    if inner == 1:
        return _product_with_row(b, bias, out)
    # torch adds the bias along with the product, and is the faster one with small matrices that are transposed.
    if rows >= FEW_ROWS and _suits_numpy(b, even_if_wide=reuse and b.stride(2) == 1):
        return _product_by_numpy(b, bias, out)
    if columns == 1:
        return _product_with_column(b, bias)
    if members > 1 and rows < FEW_ROWS:
        return _product_of_each(b, bias, rows, out)
    if out is None and members > 1 and rows * columns % ALIGNMENT:
        return lambda a: _into(aligned_empty(b, members, rows, columns), a, b, bias)
    if out is None:  # a new tensor is aligned as it is
        return (lambda a: torch.bmm(a, b)) if bias is None else (lambda a: torch.baddbmm(bias, a, b))
    if bias is None:
        return lambda a: torch.bmm(a, b, out=out)
    return lambda a: torch.baddbmm(bias, a, b, out=out)


def _suits_numpy(result: Tensor, even_if_wide: bool) -> bool:
    """Whether numpy's BLAS is to take a product whose result has the type and the columns of this one."""
    if result.device.type != "cpu" or result.dtype not in NUMPYS_TYPES:
        return False
    return result.shape[2] < NARROW or (even_if_wide and torch.get_num_threads() == 1)


def _product_by_numpy(b: Tensor, bias: Tensor | None, out: Tensor | None) -> Callable[[Tensor], Tensor]:
    multiply, as_array = _numpys_product(b.shape[0])
    weight = as_array(b.detach())
    if out is not None:
        array = as_array(out)

        def product_again(a: Tensor) -> Tensor:
            multiply(as_array(a), weight, array)
            return out if bias is None else out.add_(bias)

        return product_again

    with_members_axis = None if b.shape[0] == 1 else Ellipsis

    def product(a: Tensor) -> Tensor:
        result = torch.from_numpy(multiply(as_array(a), weight)[with_members_axis])
        return result if bias is None else result.add_(bias)

    return product


def _numpys_product(members: int) -> tuple[Callable[..., np.ndarray], Callable[[Tensor], np.ndarray]]:
    """numpy's function (a, b, out), and the one that makes its operands: arrays of the memory of tensors.

    A lone matrix takes less to call without its members axis, and gives the same bits.  As most tensors come again with
    the next step, the last view is kept.
    """
    seen: Tensor | None = None
    array: Any = None

    def as_array(t: Tensor) -> np.ndarray:
        nonlocal seen, array
        if t is not seen:
            seen, array = t, t.numpy()[0] if members == 1 else t.numpy()
        return array

    return (np.dot if members == 1 else np.matmul), as_array


def _product_with_column(b: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    row = b.transpose(1, 2)
    if bias is None:
        return lambda a: torch.mul(a, row).sum(2, keepdim=True)
    return lambda a: torch.mul(a, row).sum(2, keepdim=True).add_(bias)


def _product_with_row(b: Tensor, bias: Tensor | None, out: Tensor | None) -> Callable[[Tensor], Tensor]:
    if bias is None:
        return lambda a: torch.mul(a, b, out=out)
    return lambda a: torch.mul(a, b, out=out).add_(bias)


def _product_of_each(b: Tensor, bias: Tensor | None, rows: int, out: Tensor | None) -> Callable[[Tensor], Tensor]:
    members, _, columns = b.shape
    weights, biases = b.split(1), [None] * members if bias is None else bias.split(1)

    def product(a: Tensor) -> Tensor:
        results = aligned_empty(b, members, rows, columns) if out is None else out
        for result, rows_of_one, weight, its_bias in zip(results.split(1), a.split(1), weights, biases, strict=True):
            _into(result, rows_of_one, weight, its_bias)
        return results

    return product


def _into(out: Tensor, a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    return torch.bmm(a, b, out=out) if bias is None else torch.baddbmm(bias, a, b, out=out)


def transposed_product_into(out: Tensor, rows: int) -> Callable[[Tensor, Tensor], object]:
    """The function (a, b) -> out = a.T @ b, the gradient of a weight, for `a` and `b` of so many rows.

    Shapes: out (M, inner, columns), a (M, rows, inner), b (M, rows, columns).
    """
    inner = out.shape[1]
    if rows == 1:
        return lambda a, b: torch.mul(a.transpose(1, 2), b, out=out)
    if inner == 1:
        return lambda a, b: torch.sum(a * b, 1, keepdim=True, out=out)
    if _suits_numpy(out, even_if_wide=True):
        multiply, left = _numpys_product(len(out))
        right, array = _numpys_product(len(out))[1], left(out)
        return lambda a, b: multiply(left(a).swapaxes(-1, -2), right(b), array)
    if torch.get_num_threads() > 1:  # of the two ways to write it, the one whose bits several threads do not change
        flipped = out.transpose(1, 2)
        return lambda a, b: torch.bmm(b.transpose(1, 2), a, out=flipped)
    return lambda a, b: torch.bmm(a.transpose(1, 2), b, out=out)

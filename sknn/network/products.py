"""Matrix products over a members axis whose result for one member does not depend on the others.

A BLAS library chooses its kernel by shape and by the alignment of its operands, so the same product can differ in its
last bit when a matrix stands alone, in a batch, or at another address.  Three rules were measured to be enough:
weights, gradients and results start on a 64-byte boundary for every member; a dimension of one is multiplied and
summed; and a handful of rows is multiplied member by member, since a batch of one takes another kernel there than a
batch of many.

A training takes the same products thousands of times, and in a small network a question asked in Python costs as much
as a product.  So the rules are applied once, when a product is bound to its weight and to a number of rows; what comes
back is a function with nothing left to decide.
"""

from collections.abc import Callable

import torch
from torch import Tensor

ALIGNMENT = 16  # in numbers: 64 bytes of float32, a cache line
FEW_ROWS = 16  # below this a lone matrix and a batch of matrices use different kernels


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
    if torch.is_grad_enabled():
        return a @ b if bias is None else torch.baddbmm(bias, a, b)
    return product_with(b, bias, a.shape[1])(a)


def product_with(b: Tensor, bias: Tensor | None, rows: int, reuse: bool = False) -> Callable[[Tensor], Tensor]:
    """The function a -> a @ b + bias, for `a` of so many rows.

    With `reuse`, each call writes over the result of the call before.
    """
    members, inner, columns = b.shape
    if columns == 1 and inner > 1:
        return _product_with_column(b, bias)
    out = aligned_empty(b, members, rows, columns) if reuse else None
    if inner == 1:
        return _product_with_row(b, bias, out)
    if members > 1 and rows < FEW_ROWS:
        return _product_of_each(b, bias, rows, out)
    if out is None and members > 1 and rows * columns % ALIGNMENT:
        return lambda a: _into(aligned_empty(b, members, rows, columns), a, b, bias)
    if out is None:  # a new tensor is aligned as it is
        return (lambda a: torch.bmm(a, b)) if bias is None else (lambda a: torch.baddbmm(bias, a, b))
    if bias is None:
        return lambda a: torch.bmm(a, b, out=out)
    return lambda a: torch.baddbmm(bias, a, b, out=out)


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
    _, inner, columns = out.shape
    if rows == 1:
        return lambda a, b: torch.mul(a.transpose(1, 2), b, out=out)
    if inner == 1:
        return lambda a, b: torch.sum(a * b, 1, keepdim=True, out=out)
    if columns == 1:
        column = out.squeeze(2)
        return lambda a, b: torch.sum(a * b, 1, out=column)
    if torch.get_num_threads() > 1:  # of the two ways to write it, the one whose bits several threads do not change
        flipped = out.transpose(1, 2)
        return lambda a, b: torch.bmm(b.transpose(1, 2), a, out=flipped)
    return lambda a, b: torch.bmm(a.transpose(1, 2), b, out=out)

"""Matrix products over a members axis whose result for one member does not depend on the others.

A BLAS library chooses its kernel by shape and by the alignment of its operands, so the same product can differ in its
last bit when a matrix stands alone, in a batch, or at another address.  Three rules were measured to be enough:
every member's operands and results start on a 64-byte boundary; a dimension of one is multiplied and summed; and a
handful of rows is multiplied member by member, since there a batch of one takes another kernel than a batch of many.
"""

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
    members, rows, inner = a.shape
    columns = b.shape[2]
    if rows == 1 or inner == 1 or columns == 1:
        product = _multiply_thin(a, b)
        return product if bias is None else product.add_(bias)
    if members == 1 or (rows >= FEW_ROWS and rows * columns % ALIGNMENT == 0):  # a new tensor is aligned as it is
        return torch.bmm(a, b) if bias is None else torch.baddbmm(bias, a, b)
    out = aligned_empty(a, members, rows, columns)
    each = [slice(None)] if rows >= FEW_ROWS else [slice(m, m + 1) for m in range(members)]
    for part in each:
        if bias is None:
            torch.bmm(a[part], b[part], out=out[part])
        else:
            torch.baddbmm(bias[part], a[part], b[part], out=out[part])
    return out


def multiply_transposed_into(out: Tensor, a: Tensor, b: Tensor) -> None:
    """Write a.T @ b, the gradient of a weight, into `out`.

    Parameters
    ----------
    out : Tensor of shape (M, inner, columns)
    a : Tensor of shape (M, rows, inner)
    b : Tensor of shape (M, rows, columns)
    """
    _, rows, inner = a.shape
    if rows == 1:
        torch.mul(a.transpose(1, 2), b, out=out)
    elif inner == 1:
        torch.sum(a * b, 1, keepdim=True, out=out)
    elif b.shape[2] == 1:
        torch.sum(a * b, 1, out=out.squeeze(2))
    elif torch.get_num_threads() > 1:  # of the two ways to write it, the one whose bits several threads do not change
        torch.bmm(b.transpose(1, 2), a, out=out.transpose(1, 2))
    else:
        torch.bmm(a.transpose(1, 2), b, out=out)


def _multiply_thin(a: Tensor, b: Tensor) -> Tensor:
    """a @ b where one of the three dimensions is one."""
    if a.shape[2] == 1:
        return a * b
    if b.shape[2] == 1:
        return (a * b.transpose(1, 2)).sum(2, keepdim=True)
    return (a.transpose(1, 2) * b).sum(1, keepdim=True)

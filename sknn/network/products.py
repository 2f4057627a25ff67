"""Matrix products over a members axis whose result for one member does not depend on the others.

On a CPU many of them are numpy's, in the memory of the tensors.  Its BLAS multiplies member by member, whoever else is
there; small matrices take it half the time; and where the result is narrow (a classifier's outputs) it was measured to
be up to twenty times as fast as the MKL in torch on an AMD processor.  It computes on one thread, since its threads and
torch's would wait for one another; so with several threads wide products are torch's, as all are on a GPU, and outside
of `beside_numpy`: of a module that somebody calls, or traces.

torch takes a batch of matrices by kernels that it chooses by shape and by the alignment of its operands, so the same
product can differ in its last bit when a matrix stands alone, in a batch, or at another address.  Three rules were
measured to be enough: weights, gradients and results start on a 64-byte boundary for every member; a dimension of one
is multiplied and summed; and a handful of rows is multiplied member by member, since a batch of one takes another
kernel there than a batch of many.

A training takes the same products thousands of times, and in a small network a question asked in Python costs as much
as a product.  So the rules are applied once, when a product is bound to its weight and to a number of rows; what comes
back is a function with nothing left to decide.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sknn.utils.threads import one_blas_thread

ALIGNMENT = 16  # in numbers: 64 bytes of float32, a cache line
NARROW = 16  # columns; from here on several threads of torch's are better than one of numpy's
FEW_ROWS = 16  # below this a lone matrix and a batch of matrices use different kernels of torch
NUMPYS_TYPES = (torch.float32, torch.float64)

_is_beside_numpy: ContextVar[bool] = ContextVar("_is_beside_numpy", default=False)


@contextlib.contextmanager
def beside_numpy() -> Iterator[None]:
    """Let numpy take products in inference mode: on one thread, and as silent as torch about what overflows."""
    token = _is_beside_numpy.set(True)
    try:
        with one_blas_thread, np.errstate(all="ignore"):
            yield
    finally:
        _is_beside_numpy.reset(token)


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


def product_with(b: Tensor, bias: Tensor | None, rows: int, reuse_output: bool = False) -> Callable[[Tensor], Tensor]:
    """The function a -> a @ b + bias, for `a` of so many rows.

    With `reuse_output`, each call writes over the result of the call before.
    """
    members, inner, columns = b.shape
    out = aligned_empty(b, members, rows, columns) if reuse_output else None
    if inner == 1:
        return _product_with_row(b, bias, out)
    # torch adds the bias along with the product, and is the faster one with small matrices that are transposed; but a
    # handful of rows it has to multiply member by member.
    if _is_numpys(b, even_if_wide=rows < FEW_ROWS or (reuse_output and b.stride(2) == 1)):
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


def _is_numpys(t: Tensor, even_if_wide: bool) -> bool:
    """Whether numpy's BLAS is to take a product whose result has the type, and as many columns, as `t`."""
    if not (_is_beside_numpy.get() and torch.is_inference_mode_enabled()):
        return False
    if t.device.type != "cpu" or t.dtype not in NUMPYS_TYPES:
        return False
    return t.shape[2] < NARROW or (even_if_wide and torch.get_num_threads() == 1)


def _product_by_numpy(b: Tensor, bias: Tensor | None, out: Tensor | None) -> Callable[[Tensor], Tensor]:
    is_lone = b.shape[0] == 1
    numpys, as_array = _numpys_function(is_lone), _viewer(is_lone)
    weight = _viewer(is_lone)(b.detach())
    if out is not None:
        array = _viewer(is_lone)(out)

        def product_again(a: Tensor) -> Tensor:
            numpys(as_array(a), weight, array)
            return out if bias is None else out.add_(bias)

        return product_again

    def product(a: Tensor) -> Tensor:
        result = numpys(as_array(a), weight)
        t = torch.from_numpy(result[None] if is_lone else result)
        return t if bias is None else t.add_(bias)

    return product


def _numpys_function(is_lone: bool) -> Callable[..., np.ndarray]:
    """The function (a, b, out): a lone matrix takes `dot` less to call than `matmul`, and gives the same bits."""
    return np.dot if is_lone else np.matmul


def _viewer(is_lone: bool) -> Callable[[Tensor], np.ndarray]:
    """The function that gives a tensor's memory as an array, of a lone matrix without its members axis.

    The last view is kept, and with it the tensor: between hidden layers it comes again with every step.
    """
    seen: Tensor | None = None
    array: Any = None

    def as_array(t: Tensor) -> np.ndarray:
        nonlocal seen, array
        if t is not seen:
            seen, array = t, t.numpy()[0] if is_lone else t.numpy()
        return array

    return as_array


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


def column_sums_into(out: Tensor, rows: int) -> Callable[[Tensor], object]:
    """The function a -> out = the sums of a's columns, the gradient of a bias, for `a` of so many rows.

    Shapes: out (M, 1, columns), a (M, rows, columns).
    """
    if not _is_numpys(out, even_if_wide=True):
        return lambda a: torch.sum(a, 1, keepdim=True, out=out)
    is_lone = len(out) == 1
    numpys, as_array, array = _numpys_function(is_lone), _viewer(is_lone), _viewer(is_lone)(out)
    ones = np.ones((1, rows), array.dtype)  # of one row the product with them is the faster sum
    return lambda a: numpys(ones, as_array(a), array)


def transposed_product_into(out: Tensor, rows: int) -> Callable[[Tensor, Tensor], object]:
    """The function (a, b) -> out = a.T @ b, the gradient of a weight, for `a` and `b` of so many rows.

    Shapes: out (M, inner, columns), a (M, rows, inner), b (M, rows, columns).
    """
    _, inner, columns = out.shape
    if rows == 1:
        return lambda a, b: torch.mul(a.transpose(1, 2), b, out=out)
    if inner == 1:
        return lambda a, b: torch.sum(a * b, 1, keepdim=True, out=out)
    if _is_numpys(out, even_if_wide=True):
        is_lone = len(out) == 1
        numpys, left, right = _numpys_function(is_lone), _viewer(is_lone), _viewer(is_lone)
        array = _viewer(is_lone)(out)
        return lambda a, b: numpys(left(a).swapaxes(-1, -2), right(b), array)
    if columns == 1:
        column = out.squeeze(2)
        return lambda a, b: torch.sum(a * b, 1, out=column)
    if torch.get_num_threads() > 1:  # of the two ways to write it, the one whose bits several threads do not change
        flipped = out.transpose(1, 2)
        return lambda a, b: torch.bmm(b.transpose(1, 2), a, out=flipped)
    return lambda a, b: torch.bmm(a.transpose(1, 2), b, out=out)

"""Matrix products over a members axis, whose result for one member does not depend on the other members.

torch chooses its kernel for a batch of matrices by their number, shape and alignment, so a product can differ in its
last bit between a member that is trained singly and the same member in a joint training. numpy multiplies member by
member. The rules for exact results on a CPU, and the price of each:

1. Parameters, gradients and results start on a 64-byte boundary for every member (`padded`, `aligned_empty`). This
   costs 2 microseconds for each gradient that has to be copied (`aligned`), otherwise nothing.
2. With one column, multiply elementwise and sum. With several members this is also faster than a batch of
   matrices; with one member it costs 3 microseconds.
3. With several members, fewer than `FEW_ROWS` rows are multiplied member by member: 6 microseconds a member.
4. With several threads, a weight's gradient is computed transposed.
5. `row_sums` (optimizers.py) sums in two halves: 4 microseconds.
6. Activations use torch's kernel only for whole SIMD vectors (activations.py); the others take two to five times as
   long.

Times are of one thread of an AMD EPYC with torch 2.13. With an inner dimension of one torch's products are exact
there, too; the elementwise product is only faster.

On a CPU, numpy's BLAS computes many products, without copying the tensors. It takes half the time of torch's MKL for
small matrices, and as little as a twentieth for narrow results (a classifier's outputs, on an AMD processor). It runs
on one thread, because its threads and torch's would wait for each other. So with several threads torch takes wide
products. torch computes all products on a GPU and outside of `numpy_products`, for example if a user calls or traces a
module.

A training computes the same products thousands of times, and in a small network a decision in Python costs as much as
a product. So the functions here decide once, for a weight and a number of rows, and return a function that only
computes.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sknn.utils.threads import one_blas_thread

ALIGNMENT = 16  # elements: 64 bytes of float32, a cache line
NARROW = 16  # columns; from here on, several threads of torch are faster than one of numpy
FEW_ROWS = 16  # below, torch has different kernels for one matrix and for a batch of matrices
NUMPY_DTYPES = (torch.float32, torch.float64)

_uses_numpy_products: ContextVar[bool] = ContextVar("_uses_numpy_products", default=False)


@contextlib.contextmanager
def numpy_products() -> Iterator[None]:
    """Let numpy compute products in inference mode, on one thread, and (like torch) without overflow warnings."""
    token = _uses_numpy_products.set(True)
    try:
        with one_blas_thread, np.errstate(all="ignore"):
            yield
    finally:
        _uses_numpy_products.reset(token)


def padded(size: int) -> int:
    """Return the smallest multiple of the alignment that is at least `size`."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def aligned_empty(like: Tensor, members: int, rows: int, columns: int) -> Tensor:
    """Return an uninitialised (members, rows, columns) tensor in which every member starts on a boundary."""
    size = rows * columns
    if size % ALIGNMENT == 0:
        return like.new_empty((members, rows, columns))
    return like.new_empty((members, padded(size)))[:, :size].view(members, rows, columns)


def aligned(t: Tensor) -> Tensor:
    """Return `t`, or a copy of it, with every member on a boundary."""
    if t.shape[0] == 1 or t.stride(0) % ALIGNMENT == 0:
        return t
    return aligned_empty(t, *t.shape).copy_(t)


def multiply(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return a @ b + bias for each member.

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
    """Return the function a -> a @ b + bias, for `a` with this number of rows.

    With `reuse_output`, each call overwrites the result of the call before.
    """
    members, inner, columns = b.shape
    out = aligned_empty(b, members, rows, columns) if reuse_output else None
    if inner == 1:
        return _product_with_row(b, bias, out)
    # torch adds the bias along with the product, and is faster with small transposed matrices. But with few rows it
    # has to be called for each member (rule 3).
    if _uses_numpy(b, even_if_wide=rows < FEW_ROWS or (reuse_output and b.stride(2) == 1)):
        return _product_by_numpy(b, bias, out)
    if columns == 1:
        return _product_with_column(b, bias)
    if members > 1 and rows < FEW_ROWS:
        return _product_by_member(b, bias, rows, out)
    if out is None and members > 1 and rows * columns % ALIGNMENT:
        return lambda a: _into(aligned_empty(b, members, rows, columns), a, b, bias)
    if out is None:  # a new tensor is aligned
        return (lambda a: torch.bmm(a, b)) if bias is None else (lambda a: torch.baddbmm(bias, a, b))
    if bias is None:
        return lambda a: torch.bmm(a, b, out=out)
    return lambda a: torch.baddbmm(bias, a, b, out=out)


def _uses_numpy(t: Tensor, even_if_wide: bool) -> bool:
    """Return whether numpy takes a product whose result has the type and the number of columns of `t`."""
    if not (_uses_numpy_products.get() and torch.is_inference_mode_enabled()):
        return False
    if t.device.type != "cpu" or t.dtype not in NUMPY_DTYPES:
        return False
    return t.shape[2] < NARROW or (even_if_wide and torch.get_num_threads() == 1)


def _product_by_numpy(b: Tensor, bias: Tensor | None, out: Tensor | None) -> Callable[[Tensor], Tensor]:
    is_single = b.shape[0] == 1
    multiply_arrays, as_array = _numpy_product(is_single), _viewer(is_single)
    weight = _viewer(is_single)(b.detach())
    if out is not None:
        array = _viewer(is_single)(out)

        def product_again(a: Tensor) -> Tensor:
            multiply_arrays(as_array(a), weight, array)
            return out if bias is None else out.add_(bias)

        return product_again

    def product(a: Tensor) -> Tensor:
        result = multiply_arrays(as_array(a), weight)
        t = torch.from_numpy(result[None] if is_single else result)
        return t if bias is None else t.add_(bias)

    return product


def _numpy_product(is_single: bool) -> Callable[..., np.ndarray]:
    """Return the function (a, b, out). For one matrix, `dot` has less overhead than `matmul`, and the same bits."""
    return np.dot if is_single else np.matmul


def _viewer(is_single: bool) -> Callable[[Tensor], np.ndarray]:
    """Return a function that views a tensor as a numpy array; if `is_single`, without the members axis.

    It keeps the last tensor and its array, because hidden layers pass the same tensor in every step.
    """
    last: Tensor | None = None
    array: Any = None

    def as_array(t: Tensor) -> np.ndarray:
        nonlocal last, array
        if t is not last:
            last, array = t, t.numpy()[0] if is_single else t.numpy()
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


def _product_by_member(b: Tensor, bias: Tensor | None, rows: int, out: Tensor | None) -> Callable[[Tensor], Tensor]:
    members, _, columns = b.shape
    weights, biases = b.split(1), [None] * members if bias is None else bias.split(1)

    def product(a: Tensor) -> Tensor:
        results = aligned_empty(b, members, rows, columns) if out is None else out
        for result, x, weight, added in zip(results.split(1), a.split(1), weights, biases, strict=True):
            _into(result, x, weight, added)
        return results

    return product


def _into(out: Tensor, a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    return torch.bmm(a, b, out=out) if bias is None else torch.baddbmm(bias, a, b, out=out)


def column_sums_into(out: Tensor, rows: int) -> Callable[[Tensor], object]:
    """Return a function that writes the sums of a's columns, the gradient of a bias, into `out`.

    Shapes: out (M, 1, columns), a (M, rows, columns).
    """
    if not _uses_numpy(out, even_if_wide=True):
        return lambda a: torch.sum(a, 1, keepdim=True, out=out)
    is_single = len(out) == 1
    multiply_arrays, as_array, array = _numpy_product(is_single), _viewer(is_single), _viewer(is_single)(out)
    ones = np.ones((1, rows), array.dtype)  # a product with one row of ones is faster than a sum
    return lambda a: multiply_arrays(ones, as_array(a), array)


def transposed_product_into(out: Tensor, rows: int) -> Callable[[Tensor, Tensor], object]:
    """Return a function that writes a.T @ b, the gradient of a weight, into `out`.

    Shapes: out (M, inner, columns), a (M, rows, inner), b (M, rows, columns).
    """
    _, inner, columns = out.shape
    if rows == 1:
        return lambda a, b: torch.mul(a.transpose(1, 2), b, out=out)
    if inner == 1:
        return lambda a, b: torch.sum(a * b, 1, keepdim=True, out=out)
    if _uses_numpy(out, even_if_wide=True):
        is_single = len(out) == 1
        multiply_arrays, left, right = _numpy_product(is_single), _viewer(is_single), _viewer(is_single)
        array = _viewer(is_single)(out)
        return lambda a, b: multiply_arrays(left(a).swapaxes(-1, -2), right(b), array)
    if columns == 1:
        column = out.squeeze(2)
        return lambda a, b: torch.sum(a * b, 1, out=column)
    if torch.get_num_threads() > 1:  # rule 4; with one thread, the other form is faster
        flipped = out.transpose(1, 2)
        return lambda a, b: torch.bmm(b.transpose(1, 2), a, out=flipped)
    return lambda a, b: torch.bmm(a.transpose(1, 2), b, out=out)

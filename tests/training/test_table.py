"""The encoded table: dense rows, sparse rows, images, and the view of them that skorch gets."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from sknn.training.table import EncodedRows, Table
from tests.common import encoded_table

pytestmark = pytest.mark.usefixtures("torch_seed")


@pytest.mark.parametrize("sparse_type", [sp.csr_array, sp.csr_matrix])
def test_a_sparse_table_gives_the_rows_of_the_dense_table(sparse_type):
    dense = encoded_table(codes=True)
    dense.numeric = torch.where(dense.numeric > 0, dense.numeric, 0.0)
    sparse = Table(sparse_type(dense.numeric.numpy()), dense.codes, dense.target)
    rows = torch.randint(20, (4, 7))
    assert (len(sparse), sparse.width) == (len(dense), dense.width) == (20, 3)
    assert torch.equal(sparse.inputs(rows).numeric, dense.inputs(rows).numeric)
    assert torch.equal(sparse.inputs(rows).codes, dense.inputs(rows).codes)
    assert sparse.inputs(rows).numeric.shape == (4, 7, 3)


def test_a_table_of_images_gives_whole_images():
    images = Table(torch.randn(6, 2, 4, 5), None, torch.zeros(6, 1))
    rows = torch.tensor([[0, 5], [3, 3]])
    assert torch.equal(images.inputs(rows).numeric[1, 0], images.numeric[3])
    assert images.width == 40
    assert images.inputs(rows).codes is None


def test_encoded_rows_are_indexed_like_an_array():
    rows = EncodedRows(encoded_table(), torch.tensor([3, 1, 4, 15]), held_out=True)
    assert rows.shape == (4, 3)
    for index in (2, slice(1, 3), [0, 3], np.array([3, 1]), np.array([True, False, True, False]), np.int64(1)):
        part = rows[index]
        assert part.index.tolist() == np.atleast_1d(np.array([3, 1, 4, 15])[index]).tolist()
        assert part.held_out
        assert part.table is rows.table

"""Outputs are collected in batches and measured for each member."""

import pytest
import torch

from sknn.training.blocks import epoch_blocks
from sknn.training.measures import Outputs
from tests.common import encoded_table

pytestmark = pytest.mark.usefixtures("torch_seed")


def mean_error(z, target, weight):
    errors = ((z - target) ** 2).mean(2)
    return errors.mean(1) if weight is None else (errors * weight).sum(1) / weight.sum(1)


@pytest.mark.parametrize("sizes", [[20, 20, 20], [20, 13, 13], [9, 4, 1]])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_collected_outputs_of_each_member_are_measured_on_its_rows(sizes, weighted):
    weight = torch.rand(20, generator=torch.Generator().manual_seed(3)) if weighted else None
    data = encoded_table(weight=weight)
    rows = [torch.randperm(20)[:size] for size in sizes]
    z = [torch.randn(size, 2) for size in sizes]
    outputs = Outputs(data)
    for block in epoch_blocks(sizes, 4):
        members, part = range(3)[block.members], slice(block.start, block.stop)
        batch_outputs, batch_rows = (torch.stack([t[m][part] for m in members]) for t in (z, rows))
        outputs.add(block.members, batch_outputs, batch_rows)
    joined = list(outputs.joined())
    assert len(joined) == len(set(sizes))
    assert [m for members, *_ in joined for m in range(3)[members]] == [0, 1, 2]
    actual = torch.cat([mean_error(*parts) for _, *parts in joined])
    expected = [
        mean_error(z[m][None], data.target[rows[m]][None], None if weight is None else weight[rows[m]][None])
        for m in range(3)
    ]
    torch.testing.assert_close(actual, torch.cat(expected))

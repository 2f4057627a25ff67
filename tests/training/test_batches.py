"""A chunk gathers rows; its batches are views of them, in which the rows' shares sum to 1."""

import numpy as np
import pytest
import torch

from sknn.training.batches import Chunk, inverse, smooth_labels
from sknn.training.blocks import Block
from sknn.training.dropout import DropoutNoise
from tests.common import encoded_table

pytestmark = pytest.mark.usefixtures("torch_seed")

NO_NOISE = DropoutNoise([], [])
BLOCKS = [Block(slice(1, 3), 4, 16, 4), Block(slice(1, 3), 16, 19, 3)]


def make_chunk(data, rows, blocks=BLOCKS, smoothing=None):
    return Chunk(data, rows, blocks, [blocks[0].members], NO_NOISE, smoothing)


def row_orders(n=20):
    return [torch.randperm(n) for _ in range(3)]


@pytest.mark.parametrize("weighted", [False, True])
def test_the_batches_of_a_chunk_hold_its_rows_with_shares_that_sum_to_one(weighted):
    weight = torch.rand(20, generator=torch.Generator().manual_seed(1)) + 0.1 if weighted else None
    data, rows = encoded_table(weight=weight, codes=True), row_orders()
    batches = list(make_chunk(data, rows).batches())
    assert [batch.start for batch in batches] == [4, 8, 12, 16]
    assert torch.equal(torch.cat([batch.rows for batch in batches], 1), torch.stack(rows[1:])[:, 4:19])
    for batch in batches:
        size = 3 if batch.start == 16 else 4
        assert (batch.members, batch.step_groups) == (slice(1, 3), [slice(1, 3)])
        assert torch.equal(batch.inputs.numeric, data.numeric[batch.rows])
        assert torch.equal(batch.inputs.codes, data.codes[batch.rows])
        assert torch.equal(batch.target, data.target[batch.rows])
        assert batch.inputs.numeric.is_contiguous()
        assert batch.target.is_contiguous()
        scale = torch.as_tensor(batch.scale).expand(2, size, 1)
        torch.testing.assert_close(scale.sum(1), torch.ones(2, 1))
        row_weights = torch.ones(2, size) if weight is None else weight[batch.rows]
        torch.testing.assert_close(torch.as_tensor(batch.inverse_weight).expand(2), 1 / row_weights.sum(1))
        torch.testing.assert_close(scale[..., 0] * row_weights.sum(1, keepdim=True), row_weights)


def test_a_chunk_sorts_the_values_of_its_batches_by_member():
    data, rows = encoded_table(), row_orders()
    chunk = make_chunk(data, rows)
    joined = chunk.joined([batch.target for batch in chunk.batches()])
    assert torch.equal(joined, chunk.target)
    assert torch.equal(chunk.by_member(joined), data.target[torch.stack(rows[1:])[:, 4:19]])
    assert torch.equal(chunk.by_member(chunk.rows), torch.stack(rows[1:])[:, 4:19])
    assert chunk.n_batches == 4


@pytest.mark.parametrize("weighted", [False, True])
def test_the_totals_of_a_chunk_are_the_weighted_means_of_its_batches_times_their_rows(weighted):
    weight = torch.rand(20, dtype=torch.float64) + 0.1 if weighted else None
    rows = row_orders()
    chunk = make_chunk(encoded_table(weight=weight), rows)
    losses = torch.rand(len(chunk.rows), dtype=torch.float64)
    by_member = chunk.by_member(losses).numpy()
    row_weights = np.ones((2, 15)) if weight is None else weight[torch.stack(rows[1:])[:, 4:19]].numpy()
    batches = [slice(0, 4), slice(4, 8), slice(8, 12), slice(12, 15)]
    expected = [
        by_member[:, b].shape[1] * np.average(by_member[:, b], axis=1, weights=row_weights[:, b]) for b in batches
    ]
    np.testing.assert_allclose(chunk.totals_of(losses), expected)
    squares = torch.rand(4, 2, dtype=torch.float64)
    shares = [[row_weights[:, b].shape[1]] / row_weights[:, b].sum(1) for b in batches]
    np.testing.assert_allclose(chunk.penalties_of(squares), 0.5 * squares.numpy() * shares)


def test_a_batch_whose_rows_all_have_weight_0_adds_nothing():
    weight = torch.ones(20)
    weight[:5] = 0  # as with class_weight={"a": 0}
    chunk = make_chunk(encoded_table(weight=weight), [torch.arange(20)], [Block(slice(0, 1), 0, 20, 5)])
    first, second, *_ = chunk.batches()
    assert first.scale.flatten().tolist() == [0] * 5
    assert first.inverse_weight.tolist() == [0]
    assert chunk.penalties_of(torch.ones(4, 1))[:2].tolist() == [[0], [0.5]]
    torch.testing.assert_close(second.scale, torch.full((1, 5, 1), 0.2))
    assert chunk.totals_of(torch.ones(20)).isfinite().all()


@pytest.mark.parametrize("weight", [0.0, 1e-40, 1e-3])
def test_the_inverse_of_a_batch_weight_is_finite(weight):
    assert inverse(torch.tensor([weight]))[0] == pytest.approx(0 if weight == 0 else 1 / max(weight, 2**-126))


def test_a_chunk_smooths_labels_with_the_rates_of_its_members():
    data = encoded_table(outputs=3)
    data.target, data.n_choices = torch.eye(3)[torch.arange(20) % 3], 3
    rows, smoothing = [torch.arange(20)] * 3, torch.tensor([0.9, 0.0, 0.3])
    chunk = make_chunk(data, rows, [Block(slice(1, 3), 0, 15, 5), Block(slice(1, 3), 15, 20, 5)], smoothing)
    first, second = chunk.by_member(chunk.target)
    assert torch.equal(first, data.target)
    torch.testing.assert_close(second, 0.7 * data.target + 0.1)
    assert data.target.unique().tolist() == [0, 1]


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_label_smoothing_gives_the_loss_of_torchs_cross_entropy(n_classes):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(n_classes, (2, 30), generator=generator)
    log_p = torch.log_softmax(torch.randn(2, 30, n_classes, generator=generator), 2)
    smoothed = smooth_labels(torch.eye(n_classes)[codes], torch.tensor([0.0, 0.2]).view(2, 1, 1), n_classes)
    for m, smoothing in enumerate([0.0, 0.2]):
        expected = torch.nn.functional.cross_entropy(log_p[m], codes[m], label_smoothing=smoothing)
        torch.testing.assert_close(-(smoothed[m] * log_p[m]).sum(1).mean(), expected)


def test_a_binary_label_is_smoothed_as_one_of_two_classes():
    y = torch.tensor([0.0, 1.0, 1.0])
    smoothing = torch.tensor([0.3])
    one = smooth_labels(y[None, :, None], smoothing, 2)
    two = smooth_labels(torch.stack([1 - y, y], 1)[None], smoothing, 2)
    torch.testing.assert_close(one[..., 0], two[..., 1])

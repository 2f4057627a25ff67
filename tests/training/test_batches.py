"""How members go through their rows: blocks, chunks, batches, dropout noise and collected outputs."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from sknn.training.batches import (
    CHUNK_VALUES,
    Block,
    Chunk,
    epoch_blocks,
    epoch_chunks,
    equal_runs,
    smooth_labels,
    split_rows,
)
from sknn.training.dropout import DropoutNoise
from sknn.training.measures import Outputs
from sknn.training.table import EncodedRows, Table
from sknn.utils.random import member_bit_generator

CPU = torch.device("cpu")
quick = settings(max_examples=150, deadline=None, derandomize=True)
SIZES = st.one_of(
    st.lists(st.integers(1, 70), min_size=1, max_size=6),
    # folds of a cross-validation differ by a row
    st.tuples(st.integers(1, 70), st.lists(st.integers(0, 2), min_size=1, max_size=5)).map(
        lambda drawn: [drawn[0] + more for more in drawn[1]]
    ),
).map(lambda sizes: sorted(sizes, reverse=True))
NO_NOISE = DropoutNoise([], [])


def table(n=20, weight=None, codes=False, outputs=2):
    generator = torch.Generator().manual_seed(0)
    return Table(
        torch.randn(n, 3, generator=generator),
        torch.randint(5, (n, 2), generator=generator) if codes else None,
        torch.randn(n, outputs, generator=generator),
        weight,
    )


# --- Blocks -------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def seeded():
    state = torch.get_rng_state()
    torch.manual_seed(0)
    yield
    torch.set_rng_state(state)


def batches_of(blocks, n_members):
    """Each member's batches, as (start, stop), in the order in which it takes them."""
    taken = [[] for _ in range(n_members)]
    for block in blocks:
        for start in range(block.start, block.stop, block.size):
            for m in range(n_members)[block.members]:
                taken[m].append((start, start + block.size))
    return taken


@given(sizes=SIZES, batch_size=st.integers(1, 33), join_last_row=st.booleans())
@example(sizes=[97, 96], batch_size=32, join_last_row=True)
@quick
def test_each_member_takes_each_of_its_rows_once_and_in_order(sizes, batch_size, join_last_row):
    for size, taken in zip(sizes, batches_of(epoch_blocks(sizes, batch_size, join_last_row), len(sizes)), strict=True):
        assert [row for start, stop in taken for row in range(start, stop)] == list(range(size))


@given(sizes=SIZES, batch_size=st.integers(1, 33), join_last_row=st.booleans())
@quick
def test_every_batch_but_a_members_last_has_the_full_size(sizes, batch_size, join_last_row):
    for taken in batches_of(epoch_blocks(sizes, batch_size, join_last_row), len(sizes)):
        lengths = [stop - start for start, stop in taken]
        assert all(length == batch_size for length in lengths[:-1])
        assert lengths[-1] <= batch_size + join_last_row


@given(sizes=SIZES, batch_size=st.integers(2, 33))
@quick
def test_no_batch_has_one_row_if_it_joins_the_one_before(sizes, batch_size):
    for size, taken in zip(sizes, batches_of(epoch_blocks(sizes, batch_size, True), len(sizes)), strict=True):
        assert size == 1 or all(stop - start > 1 for start, stop in taken)


@given(sizes=SIZES, batch_size=st.integers(1, 33), join_last_row=st.booleans())
@quick
def test_a_block_is_taken_by_neighbours_in_whole_batches(sizes, batch_size, join_last_row):
    for block in epoch_blocks(sizes, batch_size, join_last_row):
        assert 0 <= block.members.start < block.members.stop <= len(sizes)
        assert block.stop > block.start
        assert (block.stop - block.start) % block.size == 0
        runs = block.step_groups(sizes)
        assert [m for run in runs for m in range(len(sizes))[run]] == list(range(len(sizes))[block.members])
        assert all(len({sizes[m] for m in range(len(sizes))[run]}) == 1 for run in runs)


@given(size=st.integers(1, 200), batch_size=st.integers(1, 70), n_members=st.integers(1, 4))
@quick
def test_equal_members_take_all_blocks_together(size, batch_size, n_members):
    blocks = epoch_blocks([size] * n_members, batch_size)
    assert all(block.members == slice(0, n_members) for block in blocks)
    assert len(blocks) == (size >= batch_size) + (size % batch_size > 0)


@given(n=st.integers(1, 300), batch_size=st.integers(1, 70), join_last_row=st.booleans())
@quick
def test_split_rows_accounts_for_every_row(n, batch_size, join_last_row):
    full, rest = split_rows(n, batch_size, join_last_row)
    assert full * batch_size + rest == n
    assert 0 <= rest < batch_size + 1 + join_last_row


@given(values=st.lists(st.integers(0, 3)))
@quick
def test_equal_runs_are_the_longest_slices_of_equal_neighbours(values):
    runs = equal_runs(values)
    assert [value for run in runs for value in values[run]] == values
    assert all(len(set(values[run])) == 1 for run in runs)
    assert all(values[a.start] != values[b.start] for a, b in pairwise(runs))


@given(sizes=SIZES, batch_size=st.integers(1, 33), width=st.sampled_from([0, 3, 2000, 30_000, 10**6]))
@quick
def test_chunks_are_whole_batches_of_bounded_size_that_cover_the_blocks(sizes, batch_size, width):
    blocks = epoch_blocks(sizes, batch_size)
    chunks = epoch_chunks(blocks, width)

    def rows(parts):
        return [(b.members, b.size, start) for b in parts for start in range(b.start, b.stop, b.size)]

    assert rows(blocks) == rows([block for chunk in chunks for block in chunk])
    for chunk in chunks:
        assert len({(block.members.start, block.members.stop) for block in chunk}) == 1
        numbers = [width * len(range(*block.members.indices(99))) * (block.stop - block.start) for block in chunk]
        assert sum(numbers) <= CHUNK_VALUES or rows(chunk) == rows(chunk)[:1]


def test_a_small_epoch_is_one_chunk():
    assert [len(chunk) for chunk in epoch_chunks(epoch_blocks([1000] * 3, 32), 20)] == [2]


# --- Chunks and batches -------------------------------------------------------------------------------------------


BLOCKS = [Block(slice(1, 3), 4, 16, 4), Block(slice(1, 3), 16, 19, 3)]


def chunk_of(data, rows, blocks=BLOCKS, smoothing=None):
    return Chunk(data, rows, blocks, [blocks[0].members], NO_NOISE, smoothing)


def orders(n=20):
    return [torch.randperm(n) for _ in range(3)]


@pytest.mark.parametrize("weighted", [False, True])
def test_a_chunks_batches_hold_its_rows_and_shares_that_sum_to_one(weighted):
    weight = torch.rand(20, generator=torch.Generator().manual_seed(1)) + 0.1 if weighted else None
    data, rows = table(weight=weight, codes=True), orders()
    batches = list(chunk_of(data, rows).batches())
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
        counted = torch.ones(2, size) if weight is None else weight[batch.rows]
        torch.testing.assert_close(torch.as_tensor(batch.per_weight).expand(2), 1 / counted.sum(1))
        torch.testing.assert_close(scale[..., 0] * counted.sum(1, keepdim=True), counted)


def test_a_chunk_brings_what_belongs_to_batches_back_to_the_members():
    data, rows = table(), orders()
    chunk = chunk_of(data, rows)
    joined = chunk.joined([batch.target for batch in chunk.batches()])
    assert torch.equal(joined, chunk.target)
    assert torch.equal(chunk.by_member(joined), data.target[torch.stack(rows[1:])[:, 4:19]])
    assert torch.equal(chunk.by_member(chunk.rows), torch.stack(rows[1:])[:, 4:19])
    assert chunk.n_batches == 4


@pytest.mark.parametrize("weighted", [False, True])
def test_a_chunks_total_is_the_batches_weighted_means_times_their_rows(weighted):
    weight = torch.rand(20, dtype=torch.float64) + 0.1 if weighted else None
    rows = orders()
    chunk = chunk_of(table(weight=weight), rows)
    losses = torch.rand(len(chunk.rows), dtype=torch.float64)
    by_member = chunk.by_member(losses).numpy()
    counted = np.ones((2, 15)) if weight is None else weight[torch.stack(rows[1:])[:, 4:19]].numpy()
    batches = [slice(0, 4), slice(4, 8), slice(8, 12), slice(12, 15)]
    expected = [by_member[:, b].shape[1] * np.average(by_member[:, b], axis=1, weights=counted[:, b]) for b in batches]
    np.testing.assert_allclose(chunk.totals_of(losses), expected)
    squares = torch.rand(4, 2, dtype=torch.float64)
    shares = [[counted[:, b].shape[1]] / counted[:, b].sum(1) for b in batches]
    np.testing.assert_allclose(chunk.penalties_of(squares), 0.5 * squares.numpy() * shares)


def test_a_batch_whose_rows_all_weigh_nothing_adds_nothing():
    weight = torch.ones(20)
    weight[:5] = 0  # as by class_weight={"a": 0}
    chunk = chunk_of(table(weight=weight), [torch.arange(20)], [Block(slice(0, 1), 0, 20, 5)])
    first, second, *_ = chunk.batches()
    assert first.scale.flatten().tolist() == [0] * 5
    assert first.per_weight.tolist() == [0]
    assert chunk.penalties_of(torch.ones(4, 1))[:2].tolist() == [[0], [0.5]]
    torch.testing.assert_close(second.scale, torch.full((1, 5, 1), 0.2))
    assert chunk.totals_of(torch.ones(20)).isfinite().all()


def test_a_chunk_smooths_the_labels_of_its_own_members():
    data = table(outputs=3)
    data.target, data.n_choices = torch.eye(3)[torch.arange(20) % 3], 3
    rows, smoothing = [torch.arange(20)] * 3, torch.tensor([0.9, 0.0, 0.3])
    chunk = chunk_of(data, rows, [Block(slice(1, 3), 0, 15, 5), Block(slice(1, 3), 15, 20, 5)], smoothing)
    first, second = chunk.by_member(chunk.target)
    assert torch.equal(first, data.target)
    torch.testing.assert_close(second, 0.7 * data.target + 0.1)
    assert data.target.unique().tolist() == [0, 1]


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_smoothed_labels_are_those_of_torchs_cross_entropy(n_classes):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(n_classes, (2, 30), generator=generator)
    log_p = torch.log_softmax(torch.randn(2, 30, n_classes, generator=generator), 2)
    smoothed = smooth_labels(torch.eye(n_classes)[codes], torch.tensor([0.0, 0.2]).view(2, 1, 1), n_classes)
    for m, smoothing in enumerate([0.0, 0.2]):
        expected = torch.nn.functional.cross_entropy(log_p[m], codes[m], label_smoothing=smoothing)
        torch.testing.assert_close(-(smoothed[m] * log_p[m]).sum(1).mean(), expected)


def test_a_smoothed_binary_label_is_that_of_two_classes():
    y = torch.tensor([0.0, 1.0, 1.0])
    smoothing = torch.tensor([0.3])
    one = smooth_labels(y[None, :, None], smoothing, 2)
    two = smooth_labels(torch.stack([1 - y, y], 1)[None], smoothing, 2)
    torch.testing.assert_close(one[..., 0], two[..., 1])


# --- Dropout noise ------------------------------------------------------------------------------------------------


def noise(layers, members=(0,), seed=0):
    return DropoutNoise(layers, [member_bit_generator(seed, m, "noise", CPU) for m in members])


LIKE = torch.empty(0)


@pytest.mark.parametrize("rate", [1e-3, 0.1, 0.15, 0.5, 0.9, 0.999])
def test_the_share_that_dropout_keeps_is_one_minus_the_rate(rate):
    n = 400_000
    (factors,) = noise([(100, [rate])]).draw(slice(0, 1), 10, n // 1000, LIKE)
    assert factors.shape == (10, 1, n // 1000, 100)
    kept = (factors > 0).double()
    assert abs(kept.mean() - (1 - rate)) < 5 * (rate * (1 - rate) / n) ** 0.5 + 1 / 65536
    scales = factors[factors > 0].unique()
    assert len(scales) == 1
    assert abs(1 / scales.item() - (1 - rate)) <= 1 / 65536
    by_unit = kept.mean((0, 1, 2))  # no unit is dropped more often than others
    statistic = ((by_unit - kept.mean()) ** 2).sum() * (n / 100) / (rate * (1 - rate))
    assert statistic < chi2(99).isf(1e-6)


def test_a_rate_of_zero_keeps_everything_as_it_is():
    (factors,) = noise([(7, [0.0, 0.5])], members=(0, 1)).draw(slice(0, 2), 50, 20, LIKE)
    assert (factors[:, 0] == 1).all()
    assert set(factors[:, 1].unique().tolist()) == {0, 2}


@pytest.mark.parametrize("rate", [0.99999, 0.999999, 1 - 2**-53])
def test_noise_is_finite_for_every_rate_below_one(rate):
    (factors,) = noise([(64, [rate])]).draw(slice(0, 1), 4, 1024, LIKE)
    assert factors.isfinite().all()


@given(
    parts=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    size=st.integers(1, 9),
    widths=st.lists(st.integers(1, 9), min_size=1, max_size=3),
)
@settings(quick, max_examples=50)
def test_noise_does_not_depend_on_how_many_batches_are_drawn_at_once(parts, size, widths):
    layers = [(width, [0.5]) for width in widths]
    once = noise(layers).draw(slice(0, 1), sum(parts), size, LIKE)
    one = noise(layers)
    pieces = [one.draw(slice(0, 1), part, size, LIKE) for part in parts]
    for i, whole in enumerate(once):
        assert torch.equal(torch.cat([piece[i] for piece in pieces]), whole)
        assert whole.shape == (sum(parts), 1, size, widths[i])


def test_noise_of_a_member_does_not_depend_on_which_are_drawn_beside_it():
    rates = [0.2, 0.5, 0.8]
    layers = [(30, rates), (5, rates)]
    together = noise(layers, range(3)).draw(slice(0, 3), 4, 8, LIKE)
    for m, rate in enumerate(rates):
        alone = noise([(30, [rate]), (5, [rate])], [m]).draw(slice(0, 1), 4, 8, LIKE)
        part = noise(layers, range(3)).draw(slice(m, m + 1), 4, 8, LIKE)
        for i in range(2):
            assert torch.equal(alone[i][:, 0], together[i][:, m])
            assert torch.equal(part[i][:, 0], together[i][:, m])
    assert not torch.equal(together[0][:, 0] > 0, together[0][:, 1] > 0)


def test_selected_members_go_on_with_their_own_noise():
    layers = [(30, [0.2, 0.5, 0.8])]
    whole, selected = noise(layers, range(3)), noise(layers, range(3))
    selected.select([2, 0])
    expected = whole.draw(slice(0, 3), 2, 8, LIKE)[0]
    assert torch.equal(selected.draw(slice(0, 2), 2, 8, LIKE)[0], expected[:, [2, 0]])


def test_without_dropout_there_is_no_noise_whichever_members_are_selected():
    none = noise([], range(3))
    assert none.draw(slice(0, 3), 2, 8, LIKE) == []
    none.select([2, 0])
    assert none.draw(slice(0, 2), 2, 8, LIKE) == []
    assert len(none.generators) == 2


def test_noise_has_the_type_of_the_targets_and_is_fresh_for_every_layer_and_batch():
    first, second = noise([(40, [0.5]), (40, [0.5])]).draw(slice(0, 1), 2, 10, torch.empty(0, dtype=torch.float64))
    assert first.dtype == torch.float64
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


# --- Tables, rows and outputs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [sp.csr_array, sp.csr_matrix])
def test_a_sparse_table_gives_the_rows_of_the_dense_one(make):
    dense = table(codes=True)
    dense.numeric = torch.where(dense.numeric > 0, dense.numeric, 0.0)
    sparse = Table(make(dense.numeric.numpy()), dense.codes, dense.target)
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
    rows = EncodedRows(table(), torch.tensor([3, 1, 4, 15]), held_out=True)
    assert rows.shape == (4, 3)
    for i in (2, slice(1, 3), [0, 3], np.array([3, 1]), np.array([True, False, True, False]), np.int64(1)):
        part = rows[i]
        assert part.index.tolist() == np.atleast_1d(np.array([3, 1, 4, 15])[i]).tolist()
        assert part.held_out
        assert part.table is rows.table


def mean_error(z, target, weight):
    errors = ((z - target) ** 2).mean(2)
    return errors.mean(1) if weight is None else (errors * weight).sum(1) / weight.sum(1)


@pytest.mark.parametrize("sizes", [[20, 20, 20], [20, 13, 13], [9, 4, 1]])
@pytest.mark.parametrize("weighted", [False, True])
def test_collected_outputs_are_measured_for_each_member_on_its_own_rows(sizes, weighted):
    weight = torch.rand(20, generator=torch.Generator().manual_seed(3)) if weighted else None
    data = table(weight=weight)
    rows = [torch.randperm(20)[:size] for size in sizes]
    z = [torch.randn(size, 2) for size in sizes]
    outputs = Outputs(data)
    for block in epoch_blocks(sizes, 4):
        members, part = range(3)[block.members], slice(block.start, block.stop)
        piece, places = (torch.stack([t[m][part] for m in members]) for t in (z, rows))
        outputs.add(block.members, piece, places)
    joined = list(outputs.joined())
    assert len(joined) == len(set(sizes))
    assert [m for members, *_ in joined for m in range(3)[members]] == [0, 1, 2]
    measured = torch.cat([mean_error(*parts) for _, *parts in joined])
    expected = [
        mean_error(z[m][None], data.target[rows[m]][None], None if weight is None else weight[rows[m]][None])
        for m in range(3)
    ]
    torch.testing.assert_close(measured, torch.cat(expected))


@pytest.mark.parametrize("streams", [[1, 1, 1, 1, 1], [1, 2, 1, 1, 2], [1, 2, 3, 4, 5]])
def test_members_of_one_stream_draw_what_each_would_draw_alone(streams):
    layers = [(5, [0.5, 0.2, 0.0, 0.5, 0.0]), (3, [0.1, 0.4, 0.0, 0.1, 0.0])]
    shared = {seed: np.random.SFC64(seed) for seed in streams}
    together = DropoutNoise(layers, [shared[seed] for seed in streams])
    alone = [
        DropoutNoise([(width, [rates[m]]) for width, rates in layers], [np.random.SFC64(seed)])
        for m, seed in enumerate(streams)
    ]
    staying = [0, 1, 2, 3, 4]
    for batches, size in [(2, 4), (1, 7), (3, 5)]:  # several times, for the streams go on
        drawn = together.draw(slice(0, len(staying)), batches, size, torch.zeros(1))
        for place, m in enumerate(staying):
            expected = alone[m].draw(slice(0, 1), batches, size, torch.zeros(1))
            for noise, own in zip(drawn, expected, strict=True):
                assert torch.equal(noise[:, place : place + 1], own)
        if batches == 1:
            staying = [0, 2, 3]
            together.select(staying)

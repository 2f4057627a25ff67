"""Blocks divide the rows of an epoch into batches of one size, without padding; each row is in one batch."""

from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sknn.training.blocks import CHUNK_VALUES, epoch_blocks, epoch_chunks, equal_runs, split_rows

quick = settings(max_examples=150, deadline=None, derandomize=True)
SIZES = st.one_of(
    st.lists(st.integers(1, 70), min_size=1, max_size=6),
    # The folds of a cross-validation differ by a row.
    st.tuples(st.integers(1, 70), st.lists(st.integers(0, 2), min_size=1, max_size=5)).map(
        lambda drawn: [drawn[0] + extra for extra in drawn[1]]
    ),
).map(lambda sizes: sorted(sizes, reverse=True))


def member_batches(blocks, n_members):
    """Return the batches of each member, as (start, stop), in the order in which it takes them."""
    batches = [[] for _ in range(n_members)]
    for block in blocks:
        for start in range(block.start, block.stop, block.size):
            for m in range(n_members)[block.members]:
                batches[m].append((start, start + block.size))
    return batches


@given(sizes=SIZES, batch_size=st.integers(1, 33), join_last_row=st.booleans())
@example(sizes=[97, 96], batch_size=32, join_last_row=True)
@quick
def test_each_member_takes_each_of_its_rows_once_and_in_order(sizes, batch_size, join_last_row):
    for size, batches in zip(
        sizes, member_batches(epoch_blocks(sizes, batch_size, join_last_row), len(sizes)), strict=True
    ):
        assert [row for start, stop in batches for row in range(start, stop)] == list(range(size))


@given(sizes=SIZES, batch_size=st.integers(1, 33), join_last_row=st.booleans())
@quick
def test_all_batches_of_a_member_but_its_last_have_the_full_size(sizes, batch_size, join_last_row):
    for batches in member_batches(epoch_blocks(sizes, batch_size, join_last_row), len(sizes)):
        lengths = [stop - start for start, stop in batches]
        assert all(length == batch_size for length in lengths[:-1])
        assert lengths[-1] <= batch_size + join_last_row


@given(sizes=SIZES, batch_size=st.integers(2, 33))
@quick
def test_with_join_last_row_no_batch_has_a_single_row(sizes, batch_size):
    for size, batches in zip(sizes, member_batches(epoch_blocks(sizes, batch_size, True), len(sizes)), strict=True):
        assert size == 1 or all(stop - start > 1 for start, stop in batches)


@given(sizes=SIZES, batch_size=st.integers(1, 33), join_last_row=st.booleans())
@quick
def test_a_block_holds_whole_batches_of_neighbouring_members(sizes, batch_size, join_last_row):
    for block in epoch_blocks(sizes, batch_size, join_last_row):
        assert 0 <= block.members.start < block.members.stop <= len(sizes)
        assert block.stop > block.start
        assert (block.stop - block.start) % block.size == 0
        groups = block.step_groups(sizes)
        assert [m for group in groups for m in range(len(sizes))[group]] == list(range(len(sizes))[block.members])
        assert all(len({sizes[m] for m in range(len(sizes))[group]}) == 1 for group in groups)


@given(size=st.integers(1, 200), batch_size=st.integers(1, 70), n_members=st.integers(1, 4))
@quick
def test_members_with_equally_many_rows_take_all_blocks_jointly(size, batch_size, n_members):
    blocks = epoch_blocks([size] * n_members, batch_size)
    assert all(block.members == slice(0, n_members) for block in blocks)
    assert len(blocks) == (size >= batch_size) + (size % batch_size > 0)


@given(n=st.integers(1, 300), batch_size=st.integers(1, 70), join_last_row=st.booleans())
@quick
def test_split_rows_counts_every_row(n, batch_size, join_last_row):
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

    def batches(blocks):
        return [(b.members, b.size, start) for b in blocks for start in range(b.start, b.stop, b.size)]

    assert batches(blocks) == batches([block for chunk in chunks for block in chunk])
    for chunk in chunks:
        assert len({(block.members.start, block.members.stop) for block in chunk}) == 1
        n_values = [width * len(range(*block.members.indices(99))) * (block.stop - block.start) for block in chunk]
        assert sum(n_values) <= CHUNK_VALUES or batches(chunk) == batches(chunk)[:1]


def test_a_small_epoch_is_one_chunk():
    assert [len(chunk) for chunk in epoch_chunks(epoch_blocks([1000] * 3, 32), 20)] == [2]

"""The allocator model against numbers computed by hand from the documented rules."""

import random

import pytest

from mmopt.engine.memory.allocator import CachingAllocator, DeviceOutOfMemory, replay, round_request, segment_bytes

KIB, MIB = 1024, 1024**2


@pytest.mark.parametrize(('size', 'rounded'), [(1, 512), (512, 512), (513, 1024), (1000, 1024), (MIB + 1, MIB + 512)])
def test_requests_are_rounded_up_to_512_bytes(size, rounded):
    assert round_request(size) == rounded


@pytest.mark.parametrize(
    ('size', 'segment'),
    [
        (512, 2 * MIB),
        (MIB, 2 * MIB),
        (MIB + 512, 20 * MIB),
        (10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB),
        (11 * MIB, 12 * MIB),
        (12 * MIB, 12 * MIB),
    ],
)
def test_segments_are_2_or_20_mib_or_multiples_of_2_mib(size, segment):
    assert segment_bytes(size) == segment
    allocator = CachingAllocator()
    allocator.allocate(size)
    assert allocator.reserved_bytes == segment


def test_a_request_of_no_bytes_takes_nothing():
    allocator = CachingAllocator()
    allocator.free(allocator.allocate(0))
    assert allocator.reserved_bytes == allocator.allocated_bytes == 0


def test_small_and_large_requests_never_share_a_segment():
    allocator = CachingAllocator()
    allocator.allocate(512)
    allocator.allocate(MIB + 512)
    allocator.allocate(MIB - 512)  # fits beside the first 512 bytes
    assert allocator.reserved_bytes == 22 * MIB
    assert allocator.allocated_bytes == 2 * MIB + 512


def test_the_small_pool_splits_to_the_last_512_bytes():
    allocator = CachingAllocator()
    for _ in range(2 * MIB // 512):
        allocator.allocate(1)
    assert allocator.reserved_bytes == 2 * MIB
    allocator.allocate(1)
    assert allocator.reserved_bytes == 4 * MIB


def test_the_large_pool_splits_only_if_more_than_1_mib_is_left():
    allocator = CachingAllocator()
    block = allocator.allocate(12 * MIB)
    allocator.free(block)
    # 1 MiB would be left: the whole block is handed out and counts as allocated.
    assert allocator.allocate(11 * MIB).size == 12 * MIB
    assert allocator.allocated_bytes == 12 * MIB

    allocator = CachingAllocator()
    allocator.free(allocator.allocate(12 * MIB))
    assert allocator.allocate(11 * MIB - 512).size == 11 * MIB - 512
    assert allocator.reserved_bytes == 12 * MIB


def test_the_best_fit_is_the_smallest_cached_block_that_is_large_enough():
    allocator = CachingAllocator()
    blocks = [allocator.allocate(size * MIB) for size in (40, 14, 30)]
    for block in blocks:
        allocator.free(block)
    assert allocator.allocate(12 * MIB).address == blocks[1].address
    assert allocator.allocate(29 * MIB).address == blocks[2].address
    assert allocator.reserved_bytes == 84 * MIB


def test_free_neighbors_merge_again():
    allocator = CachingAllocator()
    parts = [allocator.allocate(5 * MIB) for _ in range(4)]
    assert allocator.reserved_bytes == 20 * MIB
    for part in (parts[0], parts[2], parts[1], parts[3]):
        allocator.free(part)
    allocator.allocate(20 * MIB)
    assert allocator.reserved_bytes == 20 * MIB


def test_fragmentation_is_the_difference_of_reserved_and_allocated():
    allocator = CachingAllocator()
    parts = [allocator.allocate(5 * MIB) for _ in range(4)]
    allocator.free(parts[0])
    allocator.free(parts[2])
    allocator.allocate(9 * MIB)  # 10 MiB are free, in two pieces: a second segment
    assert allocator.allocated_bytes == 19 * MIB
    assert allocator.reserved_bytes == 40 * MIB


def test_at_the_limit_whole_free_segments_go_back_and_the_request_is_tried_again():
    allocator = CachingAllocator(capacity=64 * MIB)
    first, second = allocator.allocate(32 * MIB), allocator.allocate(20 * MIB)
    allocator.free(first)
    allocator.allocate(40 * MIB)
    assert allocator.num_retries == 1
    assert allocator.reserved_bytes == 60 * MIB
    assert allocator.peak_reserved_bytes == 60 * MIB
    allocator.free(second)


def test_a_segment_with_one_used_block_cannot_go_back():
    allocator = CachingAllocator(capacity=40 * MIB)
    parts = [allocator.allocate(5 * MIB) for _ in range(4)]
    for part in parts[1:]:
        allocator.free(part)
    with pytest.raises(DeviceOutOfMemory, match='31457280 bytes requested, 20971520 of 41943040 reserved'):
        allocator.allocate(30 * MIB)


def test_expandable_segments_grow_by_granules_of_their_pool():
    allocator = CachingAllocator(expandable_segments=True)
    allocator.allocate(512)
    assert allocator.reserved_bytes == 2 * MIB
    allocator.allocate(12 * MIB)
    assert allocator.reserved_bytes == 22 * MIB
    allocator.allocate(12 * MIB)  # 8 MiB are left of the granule: 4 more are missing, a granule has 20
    assert allocator.reserved_bytes == 42 * MIB
    assert allocator.allocated_bytes == 24 * MIB + 512


def test_expandable_segments_do_not_fragment_where_plain_ones_do():
    sizes = [12 * MIB + step * 2 * MIB for step in range(20)]  # each larger than what was freed before
    events = [event for number, size in enumerate(sizes) for event in ((number, size), (number, -1))]
    plain, expandable = replay(events), replay(events, expandable_segments=True)
    assert plain.peak_allocated_bytes == expandable.peak_allocated_bytes == 50 * MIB
    assert plain.peak_reserved_bytes == sum(sizes)
    assert expandable.peak_reserved_bytes == 60 * MIB


def test_expandable_segments_give_back_whole_granules_and_map_them_again():
    allocator = CachingAllocator(capacity=60 * MIB, expandable_segments=True)
    first, last = allocator.allocate(38 * MIB), allocator.allocate(2 * MIB + 512)
    assert allocator.reserved_bytes == 60 * MIB
    allocator.free(first)
    allocator.release_cached()  # one granule lies wholly in the free block, one is shared, the third has a free part
    assert allocator.reserved_bytes == 40 * MIB
    allocator.allocate(30 * MIB)
    assert allocator.reserved_bytes == 60 * MIB
    assert allocator.num_retries == 0
    allocator.free(last)


@pytest.mark.parametrize('expandable', [False, True])
def test_no_two_blocks_overlap_and_the_books_balance(expandable):
    rng = random.Random(0)
    allocator = CachingAllocator(capacity=1024 * MIB, expandable_segments=expandable)
    live: list = []
    for _ in range(4000):
        if live and rng.random() < 0.5:
            allocator.free(live.pop(rng.randrange(len(live))))
        else:
            size = int(2 ** rng.uniform(0, 26))
            try:
                live.append(allocator.allocate(size))
            except DeviceOutOfMemory:
                allocator.free(live.pop(0))
        if rng.random() < 0.01:
            allocator.release_cached()
    spans = sorted((block.pool.is_small, block.address, block.address + block.size) for block in live)
    assert all(a != b or stop <= start for (a, _, stop), (b, start, _) in zip(spans, spans[1:], strict=False))
    assert allocator.allocated_bytes == sum(block.size for block in live) <= allocator.reserved_bytes
    for block in live:
        allocator.free(block)
    allocator.release_cached()
    assert allocator.allocated_bytes == allocator.reserved_bytes == 0


def test_a_replay_says_where_memory_ran_out():
    events = [(0, 12 * MIB), (1, 12 * MIB), (0, -1), (2, 30 * MIB)]
    assert replay(events).out_of_memory_at is None
    assert replay(events, capacity=40 * MIB).out_of_memory_at == 3
    assert replay(events, capacity=42 * MIB).num_retries == 1

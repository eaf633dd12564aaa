"""A model of PyTorch's CUDA caching allocator: from requests and frees to the memory that the driver sees as taken.

Rules and numbers: ``c10/core/AllocatorConfig.h`` (in every torch wheel) for the sizes,
``c10/cuda/CUDACachingAllocator.cpp`` for best fit, splitting, merging, retrying and expandable segments.
Deviations: one stream; blocks are never kept by ``record_stream``; no ``max_split_size_mb``, no garbage collection.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

__all__ = ['CachingAllocator', 'DeviceOutOfMemory', 'Replay', 'replay', 'round_request', 'segment_bytes']

MIB = 1024**2
MIN_BLOCK = 512
"""``kMinBlockSize``: every request is rounded up to multiples of this."""
SMALL_REQUEST = MIB
"""``kSmallSize``: requests up to this come from the small pool."""
SMALL_SEGMENT = 2 * MIB
"""``kSmallBuffer``: segments of the small pool."""
LARGE_SEGMENT = 20 * MIB
"""``large_segment_size``: segments for requests above 1 MiB and below 10 MiB."""
MIN_LARGE_REQUEST = 10 * MIB
"""``kMinLargeAlloc``: requests from here on get a segment of their own."""
ROUND_LARGE = 2 * MIB
"""``kRoundLarge``: such segments are rounded up to multiples of this."""
_ENDLESS = 1 << 60


class DeviceOutOfMemory(MemoryError):
    """The modelled device has no memory left, not even after its cache was given back.

    Args:
        requested: Bytes asked for.
        reserved: Bytes held then.
        capacity: Bytes there are.
    """

    def __init__(self, requested: int, reserved: int, capacity: int) -> None:
        super().__init__(f'{requested} bytes requested, {reserved} of {capacity} reserved')


def round_request(size: int) -> int:
    """Round a request as the allocator does: up to multiples of 512 bytes, at least 512."""
    return max(-(-size // MIN_BLOCK) * MIN_BLOCK, MIN_BLOCK)


def segment_bytes(size: int) -> int:
    """Return how much is asked of the driver for a rounded request that no cached block can serve."""
    if size <= SMALL_REQUEST:
        return SMALL_SEGMENT
    if size < MIN_LARGE_REQUEST:
        return LARGE_SEGMENT
    return -(-size // ROUND_LARGE) * ROUND_LARGE


@dataclass(eq=False, slots=True)
class _Block:
    """A stretch of a segment: in use, free, or (expandable segments only) address space without memory behind it."""

    address: int
    size: int
    pool: '_Pool'
    is_free: bool = False
    is_mapped: bool = True
    prev: '_Block | None' = None
    next: '_Block | None' = None


@dataclass(eq=False)
class _Pool:
    granule: int
    is_small: bool
    free: list[tuple[int, int]] = field(default_factory=list)  # (size, address), sorted: best fit is one bisection
    block_at: dict[int, _Block] = field(default_factory=dict)  # free blocks by address
    tail: _Block | None = None  # expandable: the address space behind the last mapped byte

    def add(self, block: _Block) -> None:
        block.is_free = True
        insort(self.free, (block.size, block.address))
        self.block_at[block.address] = block

    def remove(self, block: _Block) -> None:
        block.is_free = False
        del self.free[bisect_left(self.free, (block.size, block.address))]
        del self.block_at[block.address]


class CachingAllocator:
    """Serve requests as the caching allocator of one device and stream would.

    Args:
        capacity: Bytes that the driver can give; None is endless.
        expandable_segments: ``PYTORCH_ALLOC_CONF=expandable_segments:True``: one growing segment per pool.
    """

    def __init__(self, capacity: int | None = None, *, expandable_segments: bool = False) -> None:
        self.capacity = _ENDLESS if capacity is None else capacity
        self.expandable_segments = expandable_segments
        self._small, self._large = _Pool(SMALL_SEGMENT, True), _Pool(LARGE_SEGMENT, False)
        self._next_address = 0
        self.allocated_bytes = 0
        """Bytes of blocks in use, rounded requests (``allocated_bytes.all.current``)."""
        self.reserved_bytes = 0
        """Bytes held from the driver (``reserved_bytes.all.current``)."""
        self.peak_allocated_bytes = 0
        self.peak_reserved_bytes = 0
        self.num_retries = 0
        """Times the cache was given back because the device was full (``num_alloc_retries``)."""

    def allocate(self, size: int) -> _Block | None:
        """Serve a request.

        Args:
            size: Bytes; 0 needs no block.

        Returns:
            The block, to be handed to :meth:`free`.

        Raises:
            DeviceOutOfMemory: If the device is full even without the cache.
        """
        if size == 0:
            return None
        rounded = round_request(size)
        pool = self._small if rounded <= SMALL_REQUEST else self._large
        block = self._best_fit(pool, rounded) or self._grow(pool, rounded)
        if block is None:
            self.num_retries += 1
            self.release_cached()
            block = self._grow(pool, rounded)
        if block is None:
            raise DeviceOutOfMemory(size, self.reserved_bytes, self.capacity)
        self._split(block, rounded)
        self.allocated_bytes += block.size
        self.peak_allocated_bytes = max(self.peak_allocated_bytes, self.allocated_bytes)
        return block

    def free(self, block: _Block | None) -> None:
        """Give a block back to the cache and merge it with free neighbors."""
        if block is None:
            return
        self.allocated_bytes -= block.size
        self._insert(block)

    def release_cached(self) -> None:
        """Give the driver what is wholly free, as ``torch.cuda.empty_cache`` does."""
        for pool in (self._small, self._large):
            for block in list(pool.block_at.values()):
                if self.expandable_segments:
                    self._unmap(block)
                elif block.prev is None and block.next is None:
                    pool.remove(block)
                    self.reserved_bytes -= block.size

    # ---------------------------------------------------------------- blocks
    def _best_fit(self, pool: _Pool, size: int) -> _Block | None:
        place = bisect_left(pool.free, (size, -1))
        if place == len(pool.free):
            return None
        if self.expandable_segments:
            # A block that could grow counts with the size it could grow to: larger free ones go first.
            while place + 1 < len(pool.free) and pool.free[place + 1][0] < self._could_be(pool.free[place], pool):
                place += 1
        block = pool.block_at[pool.free[place][1]]
        pool.remove(block)
        return block

    @staticmethod
    def _could_be(entry: tuple[int, int], pool: _Pool) -> int:
        following = pool.block_at[entry[1]].next
        return entry[0] + (following.size if following is not None and not following.is_mapped else 0)

    def _split(self, block: _Block, size: int) -> None:
        rest = block.size - size
        enough = rest >= MIN_BLOCK if block.pool.is_small or self.expandable_segments else rest > SMALL_REQUEST
        if enough:
            self._insert(self._cut(block, size))

    @staticmethod
    def _cut(block: _Block, size: int) -> _Block:
        """Cut a block in two and return the second."""
        rest = _Block(block.address + size, block.size - size, block.pool, is_mapped=block.is_mapped)
        rest.prev, rest.next = block, block.next
        if block.next is not None:
            block.next.prev = rest
        block.next, block.size = rest, size
        if block.pool.tail is block:
            block.pool.tail = rest
        return rest

    def _insert(self, block: _Block) -> None:
        for other in (block.prev, block.next):
            if other is not None and other.is_free and other.is_mapped:
                block.pool.remove(other)
                _merge(block, other)
        block.pool.add(block)

    # ---------------------------------------------------------------- memory of the driver
    def _grow(self, pool: _Pool, size: int) -> _Block | None:
        if self.expandable_segments:
            return self._expand(pool, size)
        total = segment_bytes(size)
        if not self._reserve(total):
            return None
        self._next_address += total
        return _Block(self._next_address - total, total, pool)

    def _reserve(self, size: int) -> bool:
        if self.reserved_bytes + size > self.capacity:
            return False
        self.reserved_bytes += size
        self.peak_reserved_bytes = max(self.peak_reserved_bytes, self.reserved_bytes)
        return True

    def _expand(self, pool: _Pool, size: int) -> _Block | None:
        if pool.tail is None:
            # Each pool has an address space of its own; granules count from its beginning.
            pool.tail = _Block(0, _ENDLESS, pool, is_mapped=False)
        hole = self._first_room(pool, size)
        # The free block before a hole is used first, then as many granules as are still missing.
        block = hole.prev if hole.prev is not None and hole.prev.is_free else None
        missing = size - (block.size if block else 0)
        while missing > 0:
            if block is not None:
                assert block.next is not None, 'behind every block lies the endless tail'
                hole = block.next
            wanted = min(-(-missing // pool.granule) * pool.granule, hole.size)
            if not self._reserve(wanted):
                return None
            if wanted < hole.size:
                self._cut(hole, wanted)
            hole.is_mapped = True
            self._insert(hole)
            block = hole
            missing = size - block.size
        assert block is not None
        pool.remove(block)
        return block

    @staticmethod
    def _first_room(pool: _Pool, size: int) -> _Block:
        """Find the first hole that, with its free neighbors, has room; the endless tail always has."""
        holes = []
        block = pool.tail
        while block is not None:
            if not block.is_mapped:
                holes.append(block)
            block = block.prev
        for hole in reversed(holes):
            room = hole.prev.size if hole.prev is not None and hole.prev.is_free else 0
            following: _Block | None = hole
            while following is not None and room < size and (following.is_free or not following.is_mapped):
                room += following.size
                following = following.next
            if room >= size:
                return hole
        raise AssertionError('the tail is endless')

    def _unmap(self, block: _Block) -> None:
        """Give back the whole granules inside a free block."""
        granule = block.pool.granule
        first = -(-block.address // granule) * granule
        last = (block.address + block.size) // granule * granule
        if last <= first:
            return
        block.pool.remove(block)
        middle = block
        if first > block.address:
            middle = self._cut(block, first - block.address)
            block.pool.add(block)
        if last < middle.address + middle.size:
            block.pool.add(self._cut(middle, last - middle.address))
        middle.is_mapped = False
        self.reserved_bytes -= middle.size
        for other in (middle.prev, middle.next):
            if other is not None and not other.is_mapped:
                _merge(middle, other)


def _merge(block: _Block, other: _Block) -> None:
    """Let ``block`` take in a neighbor."""
    if other is block.prev:
        block.address, block.prev = other.address, other.prev
        if other.prev is not None:
            other.prev.next = block
    else:
        block.next = other.next
        if other.next is not None:
            other.next.prev = block
    block.size += other.size
    if block.pool.tail is other:
        block.pool.tail = block


@dataclass(frozen=True)
class Replay:
    """What a trace does to the allocator.

    Attributes:
        peak_allocated_bytes: Peak of blocks in use.
        peak_reserved_bytes: Peak held from the driver: what has to fit into the card beside the CUDA context.
        num_retries: Times the cache had to be given back.
        out_of_memory_at: Number of the event that failed; None if all went well.
    """

    peak_allocated_bytes: int
    peak_reserved_bytes: int
    num_retries: int
    out_of_memory_at: int | None


def replay(
    events: Iterable[tuple[int, int]],
    capacity: int | None = None,
    *,
    expandable_segments: bool = False,
    at_event: Callable[[int, CachingAllocator], None] | None = None,
) -> Replay:
    """Run a trace through a fresh allocator.

    Args:
        events: ``(number, bytes)`` for an allocation, ``(number, -1)`` for its free.
        capacity: Bytes there are; None is endless.
        expandable_segments: See :class:`CachingAllocator`.
        at_event: Is called after each event with its place and the allocator.

    Returns:
        Peaks, retries and where memory ran out.
    """
    allocator = CachingAllocator(capacity, expandable_segments=expandable_segments)
    blocks: dict[int, _Block | None] = {}
    failed = None
    for place, (number, size) in enumerate(events):
        try:
            if size < 0:
                allocator.free(blocks.pop(number))
            else:
                blocks[number] = allocator.allocate(size)
        except DeviceOutOfMemory:
            failed = place
            break
        if at_event is not None:
            at_event(place, allocator)
    return Replay(allocator.peak_allocated_bytes, allocator.peak_reserved_bytes, allocator.num_retries, failed)

"""From a trace to what a user asks: what takes how much, and where."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mmopt.engine.memory.allocator import replay
from mmopt.engine.memory.trace import Allocation, Trace

__all__ = ['PARTS', 'Estimate', 'estimate', 'scaled_workspace']

PARTS = ('weights', 'averaged', 'gradients', 'optimizer', 'inputs', 'activations', 'temporary', 'workspace')
"""What lives at the peak: weights and buffers; averaged weights (EMA); gradients; the optimizer's state; the batch;
what forward made; what backward and step made; what kernels and libraries took."""

WORKSPACE_RANGE = (0.0, 2.0)
"""Factors on the workspace of convolutions for the two ends of the range."""


@dataclass(frozen=True)
class Estimate:
    """Memory of a training step, in bytes.

    Attributes:
        parts: :data:`PARTS` at the peak.
        most: :data:`PARTS`, each at its own largest.
        modules: Activations by module at the peak, the largest first.
        allocated: Peak of tensors and workspaces, rounded to blocks (``torch.cuda.max_memory_allocated``).
        reserved: Peak held from the driver (``torch.cuda.max_memory_reserved``).
        reserved_low: The same without workspace of convolutions.
        reserved_high: The same with twice the expected workspace.
        prefetched: What the next batch takes while this one is computed: part of what is reserved, and not of the peak
            of what is allocated, since it is asked for when all kernels of an iteration have been launched.
        phase: When the peak is: ``forward``, ``backward`` or ``step``.
        num_events: Allocations and frees.
    """

    parts: Mapping[str, int]
    most: Mapping[str, int]
    modules: tuple[tuple[str, int], ...]
    allocated: int
    reserved: int
    reserved_low: int
    reserved_high: int
    prefetched: int
    phase: str
    num_events: int


def _part(allocation: Allocation) -> str:
    if allocation.kind:
        return allocation.kind
    return 'activations' if allocation.phase in ('setup', 'forward') else 'temporary'


def _most(trace: Trace) -> dict[str, int]:
    """Return the largest each part ever is."""
    current, most = dict.fromkeys(PARTS, 0), dict.fromkeys(PARTS, 0)
    for number, size in trace.events:
        allocation = trace.allocations[number]
        part = _part(allocation)
        current[part] += size if size >= 0 else -allocation.size
        most[part] = max(most[part], current[part])
    return most


def estimate(trace: Trace, *, expandable_segments: bool = False) -> Estimate:
    """Read an estimate off a trace.

    Args:
        trace: Of at least two optimizer steps: the first makes the optimizer's state.
        expandable_segments: Model the allocator so.

    Returns:
        The estimate.
    """
    _, live = trace.peak()
    parts = dict.fromkeys(PARTS, 0)
    modules: dict[str, int] = defaultdict(int)
    for number in live:
        allocation = trace.allocations[number]
        part = _part(allocation)
        parts[part] += allocation.size
        if part == 'activations':
            modules[allocation.module or '(outside of modules)'] += allocation.size
    # The stream of copies has blocks of its own: those of the batch in use, and of the next one.
    pool, one = (replay(_copies(trace, num_batches), expandable_segments=expandable_segments) for num_batches in (2, 1))
    low, high = (
        replay(scaled_workspace(trace, factor), expandable_segments=expandable_segments).peak_reserved_bytes
        + pool.peak_reserved_bytes
        for factor in WORKSPACE_RANGE
    )
    expected = replay(_computing(trace), expandable_segments=expandable_segments)
    reserved = expected.peak_reserved_bytes + pool.peak_reserved_bytes
    return Estimate(
        parts=parts,
        most=_most(trace),
        modules=tuple(sorted(modules.items(), key=lambda item: -item[1])),
        allocated=expected.peak_allocated_bytes + one.peak_allocated_bytes,
        reserved=reserved,
        # Larger workspaces sometimes leave blocks that serve others well: the range stays around the middle.
        reserved_low=min(low, reserved),
        reserved_high=max(high, reserved),
        prefetched=pool.peak_reserved_bytes - one.peak_allocated_bytes,
        phase=trace.allocations[max(live)].phase if live else 'setup',
        num_events=len(trace.events),
    )


def _computing(trace: Trace) -> Iterator[tuple[int, int]]:
    return (event for event in trace.events if not trace.allocations[event[0]].is_copied)


def _copies(trace: Trace, num_batches: int) -> Iterator[tuple[int, int]]:
    """Return the allocations of the first batch that was copied, as often as batches live at once."""
    ends = [place for place, name in trace.marks if name in ('iteration 1', 'end')]
    sizes = [
        size
        for number, size in trace.events[: min(ends, default=0)]
        if size >= 0 and trace.allocations[number].is_copied
    ]
    return enumerate(sizes * num_batches)


def scaled_workspace(trace: Trace, factor: float) -> Iterator[tuple[int, int]]:
    """Return the events of what is computed with the workspace of convolutions multiplied."""
    for number, size in _computing(trace):
        is_scaled = size > 0 and trace.allocations[number].operator.startswith('convolution')
        if is_scaled and trace.allocations[number].kind == 'workspace':
            size = int(size * factor)
        yield number, size

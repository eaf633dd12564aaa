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
    low, high = (
        replay(scaled_workspace(trace, factor), expandable_segments=expandable_segments).peak_reserved_bytes
        for factor in WORKSPACE_RANGE
    )
    expected = replay(trace.events, expandable_segments=expandable_segments)
    return Estimate(
        parts=parts,
        most=_most(trace),
        modules=tuple(sorted(modules.items(), key=lambda item: -item[1])),
        allocated=expected.peak_allocated_bytes,
        reserved=expected.peak_reserved_bytes,
        # Larger workspaces sometimes leave blocks that serve others well: the range stays around the middle.
        reserved_low=min(low, expected.peak_reserved_bytes),
        reserved_high=max(high, expected.peak_reserved_bytes),
        phase=trace.allocations[max(live)].phase if live else 'setup',
        num_events=len(trace.events),
    )


def scaled_workspace(trace: Trace, factor: float) -> Iterator[tuple[int, int]]:
    """Return the events with the workspace of convolutions multiplied."""
    for number, size in trace.events:
        is_scaled = size > 0 and trace.allocations[number].operator.startswith('convolution')
        if is_scaled and trace.allocations[number].kind == 'workspace':
            size = int(size * factor)
        yield number, size

"""The largest batch that fits, from few traces.

Memory is nearly a line in the batch size: weights, their gradients and the optimizer's state stay, the rest grows by
the sample. So two traces give the line, one where it meets the capacity confirms it, and further ones correct it where
the allocator rounds: the answer is that of looking at every size, within one percent or one sample. A trace whose
length grows with the batch, as with a loss that loops over the samples, is not made beyond :data:`MAX_EVENTS`: from
there the line is taken at its word, which is right within two percent.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ['MAX_EVENTS', 'Largest', 'Need', 'between', 'largest_batch']

MAX_EVENTS = 30_000
"""Allocations and frees that a trace of a guess may have; a few seconds on one core."""
_LENIENCE = 1.25  # what is long at every batch size is traced
_MAX_TRACES = 6


@dataclass(frozen=True)
class Need:
    """What a batch needs.

    Attributes:
        num_bytes: Of memory.
        num_events: Length of the trace that found it.
    """

    num_bytes: int
    num_events: int = 0


@dataclass(frozen=True)
class Largest:
    """What the search found.

    Attributes:
        batch_size: 0 if not even one sample fits.
        beyond: The two traced batches on whose line the batch lies; None if it was traced itself.
    """

    batch_size: int
    beyond: tuple[int, int] | None = None


def largest_batch(
    need: Callable[[int], Need | None], capacity: int, start: int, *, limit: int = 4096, max_events: int = MAX_EVENTS
) -> Largest:
    """Find the largest batch that needs no more than a capacity.

    Args:
        need: Batch size -> what it needs; None if the model refuses so few samples.
        capacity: Bytes.
        start: First guess.
        limit: Larger batches are not looked for.
        max_events: See :data:`MAX_EVENTS`.

    Returns:
        The batch size. That the next one does not fit follows from the line; it is not traced.
    """
    known: dict[int, Need] = {}
    low, high = 0, limit + 1  # low fits or is 0, high does not

    def ask(batch: int) -> None:
        nonlocal low, high
        found = need(batch)
        if found is not None:
            known[batch] = found
        if found is not None and found.num_bytes <= capacity:
            low = max(low, batch)
        else:
            high = min(high, batch)

    start = max(1, min(start, limit))
    ask(start)
    if start not in known:
        return Largest(0)
    second = min(4 * start, limit) if low else max(start // 2, 1)
    if second != start:
        ask(second)
    while high - low > 1 and len(known) < _MAX_TRACES:
        guess = max(_crossing(known, capacity), low)
        guess = min(guess, high - 1)
        if guess == low and low:
            break
        guess = max(guess, 1)
        affordable = _affordable(known, guess, max_events)
        if affordable < guess:
            if affordable > max(known):  # the longer the line, the better
                ask(affordable)
            if low == max(known):
                first, second = sorted(known)[-2:]
                return Largest(min(max(_crossing(known, capacity), low), limit), (first, second))
            continue
        ask(guess)
        if guess not in known:
            break
    return Largest(low)


def between(known: Mapping[int, float], batch: int) -> float:
    """Return the value at a batch on the line through the two largest ones that are known."""
    first, second = sorted(known)[-2:]
    return known[first] + (known[second] - known[first]) / (second - first) * (batch - first)


def _crossing(known: Mapping[int, Need], capacity: int) -> int:
    """Return where the line through the two batches on both sides of a capacity, or nearest to it, meets it."""
    if len(known) == 1:
        (only,) = known
        return only * 2 if known[only].num_bytes <= capacity else only // 2
    fitting = [batch for batch in known if known[batch].num_bytes <= capacity]
    too_large = [batch for batch in known if known[batch].num_bytes > capacity]
    nearest = sorted(known, key=lambda batch: abs(known[batch].num_bytes - capacity))
    first, second = (max(fitting), min(too_large)) if fitting and too_large else nearest[:2]
    slope = (known[second].num_bytes - known[first].num_bytes) / (second - first)
    if slope <= 0:  # memory does not depend on the batch here
        return max(known) if known[second].num_bytes > capacity else 2**31
    return int(first + (capacity - known[first].num_bytes) / slope)


def _affordable(known: Mapping[int, Need], guess: int, max_events: int) -> int:
    """Return the largest batch up to a guess whose trace is not too long, by what is known of their lengths."""
    longest = max(max_events, _LENIENCE * max(found.num_events for found in known.values()))
    events = {batch: found.num_events for batch, found in known.items()}
    if len(events) < 2 or between(events, guess) <= longest:
        return guess
    first, second = sorted(events)[-2:]
    slope = (events[second] - events[first]) / (second - first)
    return max(int(first + (longest - events[first]) / slope), 1)

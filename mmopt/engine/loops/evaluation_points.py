"""The points at which mmcv 1.x and MMEngine evaluate."""

import bisect
from collections.abc import Sequence

__all__ = ['interval_at', 'should_evaluate']


def interval_at(done: int, interval: int, dynamic_intervals: Sequence[tuple[int, int]] | None = None) -> int:
    """Return the interval that holds after ``done`` iterations (or epochs); see :func:`should_evaluate`."""
    if not dynamic_intervals:
        return interval
    place = bisect.bisect([milestone for milestone, _ in dynamic_intervals], done)
    return dynamic_intervals[place - 1][1] if place else interval


def should_evaluate(
    done: int,
    interval: int,
    start: int | None = None,
    dynamic_intervals: Sequence[tuple[int, int]] | None = None,
) -> bool:
    """Tell whether mmcv 1.x evaluates after ``done`` iterations (or epochs).

    Args:
        done: Finished iterations (epochs), from 1.
        interval: Evaluate every so many.
        start: First point; the interval counts from there. None: from 0.
        dynamic_intervals: ``(milestone, interval)`` pairs: from ``milestone`` on the new interval holds.

    Returns:
        Whether to evaluate.
    """
    interval = interval_at(done, interval, dynamic_intervals)
    if start is None:
        return done % interval == 0
    return done >= start and (done - start) % interval == 0

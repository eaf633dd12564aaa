"""The points at which mmcv 1.x evaluates."""

import bisect
from collections.abc import Sequence

__all__ = ['should_evaluate']


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
    if dynamic_intervals:
        milestones = [milestone for milestone, _ in dynamic_intervals]
        place = bisect.bisect(milestones, done)
        interval = dynamic_intervals[place - 1][1] if place else interval
    if start is None:
        return done % interval == 0
    return done >= start and (done - start) % interval == 0

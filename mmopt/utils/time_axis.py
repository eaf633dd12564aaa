"""A time axis with ticks at round numbers."""

import math

__all__ = ['clock', 'round_ticks']

_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
"""Steps that people count in, up to an hour; beyond it whole hours, below a second decimals of 1, 2 and 5."""


def round_ticks(start_s: float, stop_s: float, max_ticks: int = 10) -> list[float]:
    """Return the multiples of a round step within an interval.

    Args:
        start_s: Begin in seconds.
        stop_s: End in seconds.
        max_ticks: The step is the smallest round one that makes at most so many.

    Returns:
        Seconds, ascending; empty where the interval is.
    """
    if not stop_s > start_s:
        return []
    least = (stop_s - start_s) / max_ticks
    if least > _STEPS_S[-1]:
        step: float = math.ceil(least / 3600) * 3600
    elif least > 0.5:
        step = next(step for step in _STEPS_S if step >= least)
    else:
        power = 10.0 ** math.floor(math.log10(least))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
    first, last = math.ceil(start_s / step - 1e-9), math.floor(stop_s / step + 1e-9)
    return [round(number * step, 9) for number in range(first, last + 1)]


def clock(seconds: float, longest_s: float) -> str:
    """Write a time as ``12 s`` or ``0.5 s``; in an axis of more than two minutes as ``3:20`` or ``1:03:20``.

    Args:
        seconds: The time.
        longest_s: The last time of the axis, so that all of its ticks look alike.

    Returns:
        The text.
    """
    if longest_s <= 120:
        return f'{seconds:g} s'
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02d}:{rest:02d}' if longest_s >= 3600 else f'{minutes}:{rest:02d}'

"""Where the time of a training goes: waiting for data, copying, computing, logging, evaluating, saving.

On a CPU the parts are what the loop's own clock says; they add up to the whole. On a GPU the loop runs ahead of the
device, so its clock alone would call the wait for the device "logging". There, events around each step say how long the
device computed; only what it stood idle is shared out among what the loop did meanwhile. Events are read when they have
passed: nothing here waits for the device.
"""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ['PARTS', 'DeviceTime', 'TimeSplit']

PARTS = ('data', 'copy', 'compute', 'hooks', 'evaluation', 'checkpoints')
"""``hooks`` is logging and whatever else hooks do between two steps."""


class TimeSplit:
    """A clock that runs for exactly one part at a time."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._part: str | None = None
        self._since = 0.0

    def switch(self, part: str | None) -> float:
        """Let the clock run for another part.

        Args:
            part: One of :data:`PARTS`; None stops it.

        Returns:
            The time, of :func:`time.perf_counter`.
        """
        now = time.perf_counter()
        if self._part is not None:
            self.seconds[self._part] += now - self._since
        self._part, self._since = part, now
        return now

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Let the clock run for a part inside, and for what it ran for before afterwards.

        Args:
            part: One of :data:`PARTS`.

        Yields:
            None: The clock is running.
        """
        before = self._part
        self.switch(part)
        try:
            yield
        finally:
            self.switch(before)

    def shares(self, device_s: dict[str, float] | None = None) -> dict[str, float]:
        """Return the seconds of each part as people mean them.

        Args:
            device_s: What :class:`DeviceTime` counted; None on a CPU.

        Returns:
            Seconds by part; they add up to what the clock ran.
        """
        seconds = dict(self.seconds)
        if self._part is not None:
            seconds[self._part] += time.perf_counter() - self._since
        if device_s is None:
            return seconds
        training = sum(seconds[part] for part in ('data', 'copy', 'compute', 'hooks'))
        copy = min(device_s['copy'], training)
        idle = max(training - copy - device_s['compute'], 0.0)
        # A wait for data while the device was busy costs nothing.
        data = min(seconds['data'], idle)
        hooks = min(seconds['hooks'], idle - data)
        # What is left of the idle time, the device waited for launches of the step itself.
        return seconds | dict(data=data, copy=copy, hooks=hooks, compute=training - data - copy - hooks)


class DeviceTime:
    """Count what a GPU did between pairs of events, without waiting for it.

    Args:
        make_event: Makes an event with ``record()``, ``query()`` and ``elapsed_time(other)`` in milliseconds.
    """

    def __init__(self, make_event: Any = None) -> None:
        self.seconds = dict(copy=0.0, compute=0.0)
        self._make_event = make_event or (lambda: torch.cuda.Event(enable_timing=True))
        self._free: list[Any] = []
        self._pending: deque[tuple[str, Any, Any]] = deque()

    def mark(self) -> Any:
        """Return an event that is recorded now."""
        event = self._free.pop() if self._free else self._make_event()
        event.record()
        return event

    def add(self, part: str, start: Any) -> None:
        """Count from ``start`` to now, once the device has passed here.

        Args:
            part: ``'copy'`` or ``'compute'``.
            start: What :meth:`mark` gave.
        """
        self._pending.append((part, start, self.mark()))
        self.collect()

    def collect(self) -> None:
        """Read the events that have passed."""
        while self._pending and self._pending[0][2].query():
            part, start, stop = self._pending.popleft()
            self.seconds[part] += start.elapsed_time(stop) / 1000
            self._free += [start, stop]

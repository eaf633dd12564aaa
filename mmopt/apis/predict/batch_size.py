"""The batch that predicts fastest: doubled while pictures get cheaper and memory lasts.

What does not fit is predicted in parts by :class:`mmopt.engine.micro_batch.Predictor`; from then on the batch does not
grow. Where running out of memory is no error but the end (a CPU's process is killed), the batch grows only if twice its
memory is there.
"""

import statistics
from collections.abc import Callable

from mmopt.utils.host import available_host_bytes
from mmopt.utils.platform import peak_resident_bytes

__all__ = ['BatchSize']

_LARGEST = 256
_TIMED = 3
"""Batches of a size whose times are compared; the one before them sets up caches and workspaces."""
_GAIN = 0.97
"""A larger batch stays if a picture takes at most this share of the time before."""


class BatchSize:
    """Pictures that are predicted at once.

    Args:
        size: The first size.
        is_fixed: Whether it stays.
        free_bytes: Returns the host's free memory.
        peak_bytes: Returns the most that the process has held.
    """

    def __init__(
        self,
        size: int,
        is_fixed: bool = True,
        free_bytes: Callable[[], int] = available_host_bytes,
        peak_bytes: Callable[[], int] = peak_resident_bytes,
    ) -> None:
        self.size = size
        self.is_fixed = is_fixed
        self._is_settled = is_fixed
        self._free_bytes = free_bytes
        self._peak_bytes = peak_bytes
        self._before_bytes = peak_bytes()
        self._best: float | None = None
        self._times: list[float] = []

    def note(self, num_pictures: int, seconds: float, largest: int | None) -> None:
        """Take in how a batch went.

        Args:
            num_pictures: Its pictures; a smaller batch, the last of a film, is passed over.
            seconds: What the model took.
            largest: Pictures that fit into memory, if it ran out of it; None if it never did.
        """
        if self._is_settled:
            return
        if largest is not None:
            self.size, self._is_settled = min(largest, self.size), True
            return
        if num_pictures != self.size:
            return
        self._times.append(seconds / num_pictures)
        if len(self._times) <= _TIMED:
            return
        time_s = statistics.median(self._times[1:])
        self._times = []
        if self._best is not None and time_s > _GAIN * self._best:
            self.size, self._is_settled = self.size // 2, True
        elif 2 * self.size > _LARGEST or not self._fits_twice():
            self._is_settled = True
        else:
            self.size, self._best = 2 * self.size, time_s

    def _fits_twice(self) -> bool:
        """Tell whether a batch of twice the size takes at most half of the memory that is free."""
        taken = max(self._peak_bytes() - self._before_bytes, 0)
        return 2 * (2 * taken) <= self._free_bytes()

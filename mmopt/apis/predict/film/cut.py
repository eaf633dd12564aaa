"""Which part of a film is predicted: from where, up to where, every how many frames."""

import bisect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from mmopt.utils.errors import UserError

__all__ = ['Cut', 'Moment']

_SECONDS = re.compile(r'(\d+(?:\.\d*)?|\.\d+)\s*s')
_CLOCK = re.compile(r'(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d*)?)')
_EARLY_S = 1e-6
"""A frame may be shown so much before a wanted time: 0.1 s is no exact number."""


@dataclass(frozen=True)
class Moment:
    """A number of frames, or of seconds.

    Attributes:
        value: How many.
        is_seconds: Of which.
    """

    value: float
    is_seconds: bool = False

    @classmethod
    def parse(cls, text: str | int, flag: str) -> Self:
        """Read what a user wrote.

        Args:
            text: ``300`` or ``300f``: frames. ``12.5s``, ``1:30`` (minutes) or ``1:02:03`` (hours): seconds.
            flag: What it was given to, for the message.

        Returns:
            The moment.

        Raises:
            UserError: If it is none of these.
        """
        plain = str(text).strip().lower()
        if match := _SECONDS.fullmatch(plain):
            return cls(float(match[1]), is_seconds=True)
        if match := _CLOCK.fullmatch(plain):
            return cls(int(match[1] or 0) * 3600 + int(match[2]) * 60 + float(match[3]), is_seconds=True)
        if re.fullmatch(r'\d+\s*f?', plain):
            return cls(int(plain.rstrip('f ')))
        raise UserError(f'{flag} {text}: must be a number of frames (300) or of seconds (12.5s, 1:30).')


@dataclass(frozen=True)
class Cut:
    """A part of a film; all of it by default.

    Attributes:
        start: The first frame or time.
        end: The first frame or time behind the part; None: the film's end.
        step: Frames or seconds from one frame to the next.
    """

    start: Moment = Moment(0)
    end: Moment | None = None
    step: Moment = Moment(1)

    @classmethod
    def parse(cls, start: str | int | None, end: str | int | None, step: str | int | None) -> Self:
        """Read ``--start``, ``--end`` and ``--step``; see :meth:`Moment.parse`.

        Returns:
            The cut.

        Raises:
            UserError: If one is no moment, the step is 0, or the end is not behind the start.
        """
        cut = cls(
            Moment(0) if start is None else Moment.parse(start, '--start'),
            None if end is None else Moment.parse(end, '--end'),
            Moment(1) if step is None else Moment.parse(step, '--step'),
        )
        if cut.step.value <= 0:
            raise UserError(f'--step {step}: must be above 0.')
        if cut.end is not None and cut.end.is_seconds == cut.start.is_seconds and cut.end.value <= cut.start.value:
            raise UserError(f'--end {end} must lie behind --start {0 if start is None else start}.')
        return cut

    def choose(self, numbers: Sequence[int], time_of: Callable[[int], float]) -> Sequence[int]:
        """Choose frames.

        Args:
            numbers: The frames that there are, ascending.
            time_of: Gives the seconds at which a frame of these is shown, by its place in them.

        Returns:
            Their places in ``numbers``, ascending.
        """

        def place_of(moment: Moment) -> int:
            if moment.is_seconds:
                return bisect.bisect_left(range(len(numbers)), moment.value - _EARLY_S, key=time_of)
            return bisect.bisect_left(numbers, moment.value)

        first, stop = place_of(self.start), len(numbers) if self.end is None else place_of(self.end)
        if first >= stop:
            return range(0)
        if self.step.is_seconds:
            places, begin = [first], time_of(first)
            for count in range(1, int((time_of(stop - 1) - begin) / self.step.value) + 2):
                place = place_of(Moment(begin + count * self.step.value, is_seconds=True))
                if places[-1] < place < stop:
                    places.append(place)
            return places
        return range(first, stop, int(self.step.value))

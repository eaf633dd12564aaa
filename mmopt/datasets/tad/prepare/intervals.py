"""Annotated intervals of a session, whatever program wrote them, and what is odd about them."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmopt.utils.errors import DataError

__all__ = ['Event', 'Intervals', 'tidy_streams']

Event = tuple[int, int, str]
"""Start, stop (excluded) and behavior."""


@dataclass(frozen=True)
class Intervals:
    """The intervals of one session.

    Attributes:
        events: By start; of all streams and subjects together.
        behaviors: All that were looked for, those without an interval included, in the file's order.
        notes: What was odd about the file, in sentences for the user.
    """

    events: tuple[Event, ...]
    behaviors: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def within(self, num_frames: int, path: Path) -> 'Intervals':
        """Cut what goes on after the video ends.

        Args:
            num_frames: Frames of the video.
            path: The file, for messages.

        Returns:
            The intervals inside, with a note if some were not.

        Raises:
            DataError: If more than a twentieth of the video lies beyond its end: the two are not of one session.
        """
        last = max((stop for _, stop, _ in self.events), default=0)
        if last <= num_frames:
            return self
        if last > 1.05 * num_frames:
            raise DataError(
                f'{path}: an interval ends at frame {last}, but the tracks have {num_frames} frames: they are not of '
                'one session.'
            )
        inside = [(start, min(stop, num_frames), name) for start, stop, name in self.events if start < num_frames]
        count = sum(stop > num_frames for _, stop, _ in self.events)
        note = f'{count} intervals go on after the last of {num_frames} tracked frames: they are cut there.'
        return Intervals(tuple(inside), self.behaviors, (*self.notes, note))


def tidy_streams(streams: Iterable[Sequence[Event]], behaviors: Iterable[str] = ()) -> Intervals:
    """Put the streams of a file together.

    Some programs let an interval end in the frame in which the next one starts, and include both: the frame then goes
    to the later one. Longer overlaps stay: two behaviors may happen at once. What ends before it starts is left out.

    Args:
        streams: The events of each stream (channel, subject).
        behaviors: Names that the file lists.

    Returns:
        The intervals; each oddity is counted in a note.
    """
    events: list[Event] = []
    num_reversed = num_touching = num_overlapping = 0
    for stream in streams:
        kept = sorted(event for event in stream if event[0] < event[1])
        num_reversed += len(stream) - len(kept)
        for place, (one, after) in enumerate(itertools.pairwise(kept)):
            shared = one[1] - after[0]
            if shared == 1 and one[0] < after[0]:
                kept[place] = (one[0], after[0], one[2])
                num_touching += 1
            elif shared > 0:
                num_overlapping += 1
        events += kept
    counted = [
        (num_touching, 'intervals end in the frame in which the next one starts: it goes to the later one.'),
        (num_overlapping, 'intervals overlap the next one of their stream: both are kept.'),
        (num_reversed, 'intervals end before they start: they are left out.'),
    ]
    named = dict.fromkeys([*behaviors, *(name for *_, name in events)])
    return Intervals(tuple(sorted(events)), tuple(named), tuple(f'{n} {text}' for n, text in counted if n))

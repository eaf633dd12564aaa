"""A film of drawn frames, written in parts: what an interruption leaves of them stays, and the next call goes on.

A part is a file of its own, named after the frames in it, in a hidden folder beside the film. It counts when it is
closed: after a few hundred frames, at the end, or when Ctrl-C comes. In the end the parts are joined by copying their
packets, and no frame is encoded twice. Every frame keeps its time.
"""

import hashlib
import shutil
from bisect import bisect_right
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmopt.apis.predict.items import Film
from mmopt.datasets.common.film.frame_index import import_av

__all__ = ['FilmFile']

_FRAMES_PER_PART = 300
_TICKS = 90_000
"""Per second; every common frame rate is a whole number of them, or off by less than 0.02 ms."""
_MAX_THREADS = 4


class FilmFile:
    """One film that is written; frames come in order, each once.

    Args:
        path: The film, ``.mp4``.
        film: What it is made from.
        is_made: Whether an earlier call has finished it.
    """

    def __init__(self, path: Path, film: Film, is_made: bool) -> None:
        self.path = path
        self.film = film
        self.is_made = is_made and path.is_file()
        self._begin = f'.{path.stem}-'
        digest = hashlib.sha256(film.identity().encode()).hexdigest()[:12]
        self._folder = path.parent / f'{self._begin}{digest}.parts'
        self._times: dict[int, float] = {}
        self._ranges: list[tuple[int, int]] = []
        if self._folder.is_dir():
            for part in self._folder.glob('*-*.mp4'):
                first, stop = part.stem.split('-')
                self._ranges.append((int(first), int(stop)))
            self._ranges.sort()
        self._part: _Part | None = None

    def covers(self, place: int) -> bool:
        """Tell whether a frame is in what is finished."""
        if self.is_made:
            return True
        at = bisect_right(self._ranges, (place, 1 << 62)) - 1
        return at >= 0 and place < self._ranges[at][1]

    def add(self, place: int, time_s: float, picture_HW3: np.ndarray) -> None:
        """Add a frame; one that is there already is passed over.

        Args:
            place: Its place among the frames that are predicted of the film.
            time_s: When it is shown.
            picture_HW3: uint8 RGB; scaled to the first one's size if it has another.
        """
        if self.covers(place):
            return
        part = self._part
        if part is not None and (part.num_frames >= _FRAMES_PER_PART or self._is_between(part.stop, place)):
            self.pause()
        if self._part is None:
            self._remove_others()
            self._folder.mkdir(parents=True, exist_ok=True)
            self._part = _Part(self._folder / 'open.mp4', place, time_s, self._size() or _even(picture_HW3), self.film)
        self._part.add(place, time_s, picture_HW3)

    def _is_between(self, first: int, stop: int) -> bool:
        """Tell whether a finished part begins there."""
        return any(first <= begin < stop for begin, _ in self._ranges)

    def pause(self) -> None:
        """Close the part that is being written: from now on it counts."""
        part, self._part = self._part, None
        if part is not None:
            part.close()
            part.path.rename(self._folder / f'{part.first:08d}-{part.stop:08d}.mp4')
            self._times[part.first] = part.begin_s
            self._ranges = sorted([*self._ranges, (part.first, part.stop)])

    def finish(self) -> bool:
        """Join the parts.

        Returns:
            Whether there now is a film; not if none of its frames could be read.
        """
        self.pause()
        if self.is_made or not self._ranges:
            return self.is_made
        draft = self._folder / 'joined.mp4'
        self._join(draft)
        draft.replace(self.path)
        shutil.rmtree(self._folder)
        self.is_made = True
        return True

    def _begin_s(self, first: int) -> float:
        return self._times[first] if first in self._times else self.film.time_s(first)

    def _join(self, draft: Path) -> None:
        av = import_av()
        begin_s = self._begin_s(self._ranges[0][0])
        with av.open(str(draft), 'w', options=dict(movflags='+faststart')) as joined:
            stream: Any = None
            for first, stop in self._ranges:
                offset = round((self._begin_s(first) - begin_s) * _TICKS)
                with av.open(str(self._folder / f'{first:08d}-{stop:08d}.mp4')) as part:
                    source = part.streams.video[0]
                    if stream is None:
                        stream = joined.add_stream_from_template(source)
                        stream.time_base = Fraction(1, _TICKS)
                    for packet in part.demux(source):
                        if packet.dts is None:
                            continue
                        ticks = Fraction(packet.time_base) * _TICKS
                        packet.pts = round(packet.pts * ticks) + offset
                        packet.dts = packet.pts  # no frame is stored out of order
                        packet.duration = round((packet.duration or 0) * ticks)
                        packet.time_base = Fraction(1, _TICKS)
                        packet.stream = stream
                        joined.mux(packet)

    def _size(self) -> tuple[int, int] | None:
        """Return height and width of the parts that there are."""
        if not self._ranges:
            return None
        first, stop = self._ranges[0]
        with import_av().open(str(self._folder / f'{first:08d}-{stop:08d}.mp4')) as part:
            return part.streams.video[0].height, part.streams.video[0].width

    def _remove_others(self) -> None:
        """Remove parts of a file that has changed since."""
        if not self._ranges and self.path.parent.is_dir():
            for folder in self.path.parent.iterdir():
                if folder.name.startswith(self._begin) and folder.suffix == '.parts' and folder != self._folder:
                    shutil.rmtree(folder)


def _even(picture_HW3: np.ndarray) -> tuple[int, int]:
    height, width = picture_HW3.shape[:2]
    return height + height % 2, width + width % 2


class _Part:
    def __init__(self, path: Path, first: int, begin_s: float, size: tuple[int, int], film: Film) -> None:
        av = import_av()
        self.path = path
        self.first = self.stop = first
        self.begin_s = begin_s
        self.num_frames = 0
        self._size = size
        self._last_pts = -1
        self._container = av.open(str(path), 'w')
        rate = max(Fraction(film.fps).limit_denominator(1001), Fraction(1, 10))
        if 'libx264' in av.codecs_available:
            # Without frames stored out of order parts can be joined as they are.
            self._stream = self._container.add_stream(
                'libx264', rate=rate, options=dict(preset='veryfast', crf='20', bf='0')
            )
        else:
            self._stream = self._container.add_stream('mpeg4', rate=rate, options=dict(qscale='3', bf='0'))
        self._stream.height, self._stream.width = size
        self._stream.pix_fmt = 'yuv420p'
        self._stream.codec_context.thread_count = _MAX_THREADS
        self._stream.codec_context.time_base = Fraction(1, _TICKS)
        self._frame_type = av.VideoFrame

    def add(self, place: int, time_s: float, picture_HW3: np.ndarray) -> None:
        if _even(picture_HW3) != self._size:
            picture_HW3 = cv2.resize(picture_HW3, self._size[::-1], interpolation=cv2.INTER_AREA)
        missing = [(0, size - given) for size, given in zip(self._size, picture_HW3.shape, strict=False)]
        if any(after for _, after in missing):
            picture_HW3 = np.pad(picture_HW3, [*missing, (0, 0)], mode='edge')
        frame = self._frame_type.from_ndarray(np.ascontiguousarray(picture_HW3), format='rgb24')
        frame.pts = max(round((time_s - self.begin_s) * _TICKS), self._last_pts + 1)
        frame.time_base = Fraction(1, _TICKS)
        self._last_pts = frame.pts
        self._container.mux(self._stream.encode(frame))
        self.stop = place + 1
        self.num_frames += 1

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()

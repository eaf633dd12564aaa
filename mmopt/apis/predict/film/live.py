"""Films that pass by once: a camera, and an encoded stream from standard input."""

import io
import itertools
import math
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Protocol

import cv2
import numpy as np

from mmopt.apis.predict.film.cut import Cut, Moment
from mmopt.apis.predict.items import Film, Item
from mmopt.datasets.common.film.frame_index import import_av
from mmopt.datasets.common.film.orientation import Orientation
from mmopt.datasets.common.predict import Frame
from mmopt.utils.errors import UserError

__all__ = ['FilmEndedError', 'LiveFilm', 'open_camera', 'open_stream']


class FilmEndedError(Exception):
    """There is no further frame."""


class _Reader(Protocol):
    fps: float

    def read(self) -> tuple[np.ndarray, float] | None:
        """Return the next frame and its seconds; None at the end."""
        ...

    def close(self) -> None:
        """Let go of the device or the stream."""
        ...


class LiveFilm(Film):
    """Frames in the order in which they come; times are known once they were read.

    Args:
        path: What it is called in the results.
        name: See :class:`~mmopt.apis.predict.items.Film`.
        reader: Gives the frames.
        cut: What of it is predicted.
    """

    is_live = True

    def __init__(self, path: str, name: str, reader: _Reader, cut: Cut) -> None:
        self.path = path
        self.name = name
        self._reader = reader
        self._cut = cut
        self._next = -1
        self._due_s = 0.0
        self._shown: dict[int, tuple[int, float]] = {}  # place -> number and seconds, of the last few
        self.fps = reader.fps / cut.step.value if not cut.step.is_seconds else 1 / cut.step.value

    def __len__(self) -> int:
        raise TypeError(f'{self.path}: nobody knows how long it lasts.')

    def __iter__(self) -> Iterator[Item]:
        return map(self.item, itertools.count())

    def item(self, place: int) -> Item:
        """Return a frame's item; it is numbered as it comes."""
        return Item(self.source(place), f'{self.name}/{place:06d}', self, place)

    def frame(self, place: int) -> int:
        """Return the number of a frame that was read lately."""
        return self._shown.get(place, (place, 0.0))[0]

    def time_s(self, place: int) -> float:
        """Return when a frame came, in seconds after the first."""
        return self._shown.get(place, (place, 0.0))[1]

    def source(self, place: int) -> Frame:
        """Return what waits for the frame; to be called in order."""
        return Frame(self.path, lambda: self._read(place))

    def close(self) -> None:
        """Let go of the device or the stream."""
        self._reader.close()

    def _read(self, place: int) -> np.ndarray:
        while (got := self._reader.read()) is not None:
            image_HW3, time_s = got
            self._next += 1
            if self._cut.end is not None and _reached(self._cut.end, self._next, time_s):
                break
            if _reached(self._cut.start, self._next, time_s) and self._is_due(time_s):
                self._shown[place] = self._next, time_s
                self._shown.pop(place - 4096, None)
                return image_HW3
        raise FilmEndedError

    def _is_due(self, time_s: float) -> bool:
        step = self._cut.step
        position = time_s if step.is_seconds else self._next
        if not self._shown:
            self._due_s = position
        if position < self._due_s - 1e-6:
            return False
        self._due_s += step.value * max(math.floor((position - self._due_s) / step.value + 1e-6) + 1, 1)
        return True


def _reached(moment: Moment, number: int, time_s: float) -> bool:
    return time_s >= moment.value - 1e-6 if moment.is_seconds else number >= moment.value


class _Camera:
    def __init__(self, capture: Any) -> None:
        self._capture = capture
        self.fps = capture.get(cv2.CAP_PROP_FPS) or 30.0
        self._begin: float | None = None

    def read(self) -> tuple[np.ndarray, float] | None:
        is_there, image_HW3 = self._capture.read()
        if not is_there:
            return None
        now = time.monotonic()
        self._begin = now if self._begin is None else self._begin
        return cv2.cvtColor(image_HW3, cv2.COLOR_BGR2RGB), now - self._begin

    def close(self) -> None:
        self._capture.release()


def open_camera(number: int, name: str, cut: Cut) -> LiveFilm:
    """Open a camera by its number.

    Returns:
        What it films.

    Raises:
        UserError: If there is none.
    """
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # the line below says what its six do not
    try:
        capture = cv2.VideoCapture(number)
    finally:
        cv2.utils.logging.setLogLevel(before)
    if not capture.isOpened():
        raise UserError(
            f'{number}: OpenCV opens no camera of this number (and there is no file of this name). Is it plugged in, '
            'used by another program, or closed to you?'
        )
    return LiveFilm(f'camera {number}', name, _Camera(capture), cut)


class _Stream:
    def __init__(self, container: Any) -> None:
        self._container = container
        self._stream = container.streams.video[0]
        self._stream.codec_context.thread_count = 1
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps = float(rate) if rate else 25.0
        self._frames = container.decode(self._stream)
        self._first_pts: int | None = None
        self._num_read = 0

    def read(self) -> tuple[np.ndarray, float] | None:
        try:
            frame = next(self._frames, None)
        except import_av().error.FFmpegError:
            return None  # cut off: what came before counts
        if frame is None:
            return None
        if self._first_pts is None:
            self._first_pts = frame.pts
        if frame.pts is None or self._first_pts is None:
            time_s = self._num_read / self.fps
        else:
            time_s = float((frame.pts - self._first_pts) * Fraction(frame.time_base or self._stream.time_base))
        self._num_read += 1
        image_HW3 = Orientation.of_frame(frame, 'standard input').apply(frame.to_ndarray(format='rgb24'))
        return np.ascontiguousarray(image_HW3), time_s

    def close(self) -> None:
        self._container.close()


class _OneWay(io.RawIOBase):
    """Standard input for FFmpeg, which must not try to seek in it."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        return self._file.read1(size) if hasattr(self._file, 'read1') else self._file.read(size)


def open_stream(file: Any, name: str, cut: Cut) -> LiveFilm:
    """Open an encoded film that is piped in: MPEG-TS, Matroska, MJPEG, or what else needs no look at its end.

    Args:
        file: A binary file.
        name: See :class:`~mmopt.apis.predict.items.Film`.
        cut: What of it is predicted.

    Returns:
        The film.

    Raises:
        UserError: If it is no film.
    """
    av = import_av()
    try:
        container = av.open(_OneWay(file), 'r')
    except av.error.FFmpegError as error:
        raise UserError(
            f'-: what is piped in is neither a list of paths nor a film that FFmpeg can read from its beginning on '
            f'({error.strerror}): send MPEG-TS or Matroska (ffmpeg -i FILM -c copy -f matroska - | ...).'
        ) from error
    if not container.streams.video:
        container.close()
        raise UserError('-: what is piped in has no pictures, only sound or text.')
    return LiveFilm('standard input', name, _Stream(container), cut)

"""A video file as a film: frames by number, with the time stamps of the file."""

import threading
from collections.abc import Sequence
from functools import partial

import numpy as np

from mmopt.apis.predict.film.cut import Cut
from mmopt.apis.predict.items import Film, mean_rate
from mmopt.datasets.common.film.frame_index import FrameIndex
from mmopt.datasets.common.film.reader import VideoReader
from mmopt.datasets.common.predict import Frame
from mmopt.utils.errors import DataError

__all__ = ['BrokenFilm', 'OpenFilm', 'VideoFilm']


class OpenFilm:
    """The one video of a list that is open: they are read one after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reader: VideoReader | None = None

    def close(self) -> None:
        """Close the file; the next frame opens it again."""
        with self._lock:
            if self._reader is not None:
                self._reader.close()
            self._reader = None

    def read(self, path: str, index: FrameIndex, frame: int) -> np.ndarray:
        """Decode a frame: fastest one after the other.

        Args:
            path: The video.
            index: Its index, by which it is known.
            frame: Counted from 0, as the index counts.

        Returns:
            uint8 RGB (H, W, 3).

        Raises:
            DataError: If it cannot be decoded.
        """
        with self._lock:
            if self._reader is None or self._reader.index is not index:
                if self._reader is not None:
                    self._reader.close()
                self._reader = VideoReader(path, index)
            return self._reader.read([frame])[0]


class VideoFilm(Film):
    """The frames of a video file. Its packets are read once to number them; none is decoded before it is asked for.

    Args:
        path: The file.
        name: See :class:`~mmopt.apis.predict.items.Film`.
        cut: What of it is predicted.
        reader: Shared by all films of a list.

    Raises:
        DataError: If the file is no readable video.
    """

    def __init__(self, path: str, name: str, cut: Cut, reader: OpenFilm) -> None:
        self.path = path
        self.name = name
        self._reader = reader
        self._index = FrameIndex.scan(path)
        num_frames = len(self._index.pts_N)
        self._frames: Sequence[int] = cut.choose(range(num_frames), lambda frame: float(self._index.time_s(frame)))
        self.num_missing = max(self._index.num_promised - num_frames, 0)
        """Frames that the file's head promises, and that are not there: it was cut off."""
        self.fps = mean_rate(self, 25.0)

    def __len__(self) -> int:
        return len(self._frames)

    def frame(self, place: int) -> int:
        """Return the number of the frame in the file, from 0."""
        return self._frames[place]

    def time_s(self, place: int) -> float:
        """Return when it is shown."""
        return float(self._index.time_s(self._frames[place]))

    def source(self, place: int) -> Frame:
        """Return what decodes it."""
        return Frame(self.path, partial(self._reader.read, self.path, self._index, self._frames[place]))


class BrokenFilm(Film):
    """A video that cannot be opened: one item, whose reading says why."""

    fps = 1.0
    has_files = True

    def __init__(self, path: str, name: str, error: DataError | OSError) -> None:
        self.path = path
        self.name = name
        self._error = error

    def __len__(self) -> int:
        return 1

    def frame(self, place: int) -> int:
        """Return 0."""
        return place

    def time_s(self, place: int) -> float:
        """Return 0."""
        return float(place)

    def source(self, place: int) -> Frame:
        """Return what raises the error."""
        return Frame(self.path, self._raise)

    def _raise(self) -> np.ndarray:
        raise self._error

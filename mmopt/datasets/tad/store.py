"""Tracks of whole videos, parsed once.

Pivoting the long form of a ten-minute video takes half a second; cutting a window out of an array takes microseconds.
"""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmopt.datasets.tad.tables import read_tracks

__all__ = ['TrackStore']


class TrackStore:
    """Hand out the tracks of videos.

    Args:
        folder: Where arrays are kept between runs and shared between workers, as memory maps. None keeps the last
            ``in_memory`` videos of this process.
        in_memory: Videos held open (``folder``) or in memory.
    """

    def __init__(self, folder: str | Path | None = None, in_memory: int = 64) -> None:
        self.folder = None if folder is None else Path(folder)
        self.in_memory = in_memory
        self._recent: OrderedDict[Path, np.ndarray] = OrderedDict()

    def __call__(self, path: str | Path, body_parts: Sequence[str]) -> np.ndarray:
        """Return the tracks of a file.

        Args:
            path: Tracking file.

        Returns:
            (T, M, P, 2) in pixels; do not write into it.
        """
        path = Path(path)
        if path in self._recent:
            self._recent.move_to_end(path)
            return self._recent[path]
        folder = self.folder
        tracks = read_tracks(path, body_parts) if folder is None else self._from_folder(folder, path, body_parts)
        self._recent[path] = tracks
        if len(self._recent) > self.in_memory:
            self._recent.popitem(last=False)
        return tracks

    def _from_folder(self, folder: Path, path: Path, body_parts: Sequence[str]) -> np.ndarray:
        state = path.stat() if path.is_file() else None
        # A changed file or another list of parts must not find the old array.
        key = repr((str(path.resolve()), tuple(body_parts), state and (state.st_size, state.st_mtime_ns)))
        cached = folder / f'{path.stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy'
        if not cached.is_file():
            tracks = read_tracks(path, body_parts)
            folder.mkdir(parents=True, exist_ok=True)
            # Workers may parse the same video at once: each writes its own file, the last rename wins.
            partial = cached.with_suffix(f'.{os.getpid()}.tmp')
            with partial.open('wb') as file:
                np.save(file, tracks)
            partial.replace(cached)
        return np.load(cached, mmap_mode='r')

    def __getstate__(self) -> dict:
        return self.__dict__ | dict(_recent=OrderedDict())  # a worker opens its own

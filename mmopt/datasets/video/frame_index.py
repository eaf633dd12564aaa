"""Which frame is where in a video file: timestamps in the order of display, and where decoding can begin.

Made by reading the packets of a file without decoding any. Timestamps are whole multiples of the stream's time base, so
no frame number is ever computed from a rounded frame rate.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Self

import numpy as np

from mmopt.utils.errors import DataError, DataNotFoundError, UserError

__all__ = ['FrameIndex', 'count_frames', 'import_av']


def import_av():
    """Import PyAV, which only this task needs.

    Returns:
        The module ``av``.

    Raises:
        UserError: If it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise UserError(
            f'Videos need PyAV, which cannot be imported ({error}): pip install -c requirements/constraints.txt '
            "-e '.[video]'"
        ) from error
    return av


def open_video(path: str | Path):
    """Open a file and return PyAV's container and its video stream.

    Returns:
        Container and stream.

    Raises:
        DataNotFoundError: If the file is not there.
        DataError: If it is no video.
    """
    av = import_av()
    if not Path(path).is_file():
        raise DataNotFoundError(f'{path}: no such video.')
    try:
        container = av.open(str(path))
    except av.error.FFmpegError as error:
        raise DataError(f'{path}: not a readable video ({error.strerror}). Copy it again or leave it out.') from error
    if not container.streams.video:
        container.close()
        raise DataError(f'{path}: the file has no video stream.')
    return container, container.streams.video[0]


def count_frames(path: str | Path, stored: str | Path | None = None) -> int:
    """Return the number of frames: from the stored index or the header (1 ms), else by reading the file.

    Args:
        path: The video.
        stored: Its index, where :meth:`FrameIndex.save` may have put it. A header can count frames that are not shown.

    Returns:
        The number.
    """
    index = FrameIndex.load(path, stored)
    if index is not None:
        return len(index.pts_N)
    container, stream = open_video(path)
    with container:
        number = stream.frames
    return number or len(FrameIndex.scan(path).pts_N)


@dataclass(frozen=True)
class FrameIndex:
    """Timestamps of one video.

    Attributes:
        pts_N: Timestamp of each frame, ascending, in units of the time base.
        key_pts_K: Timestamps of the key frames, ascending.
        key_seek_K: What to seek for to begin at each: its decoding timestamp.
        time_base: Seconds per unit.
        num_bytes: Size of the file, by which a stored index is known to be of this file.
    """

    pts_N: np.ndarray
    key_pts_K: np.ndarray
    key_seek_K: np.ndarray
    time_base: Fraction
    num_bytes: int

    @classmethod
    def scan(cls, path: str | Path) -> Self:
        """Read the packets of a file.

        Args:
            path: The video.

        Returns:
            Its index.

        Raises:
            DataNotFoundError: If the file is not there.
            DataError: If it cannot be read, has no frame, or carries no timestamps.
        """
        av = import_av()
        container, stream = open_video(path)
        pts, keys = [], []
        with container:
            try:
                for packet in container.demux(stream):
                    if not packet.size or packet.is_discard:
                        continue
                    if packet.pts is None:
                        raise DataError(
                            f'{path}: its frames have no timestamps; `ffmpeg -i IN -c copy -fflags +genpts OUT.mp4` '
                            'adds them.'
                        )
                    pts.append(packet.pts)
                    if packet.is_keyframe:
                        keys.append((packet.pts, packet.pts if packet.dts is None else packet.dts))
            except av.error.FFmpegError as error:
                raise DataError(f'{path}: cannot be read after {len(pts)} frames ({error.strerror}).') from error
            time_base = stream.time_base
        if not pts or not keys:
            raise DataError(
                f'{path}: the video has {len(pts)} frames, {len(keys)} of them key frames; both must be > 0.'
            )
        key_pts_K, key_seek_K = np.array(sorted(keys), dtype=np.int64).T
        return cls(
            np.unique(np.array(pts, dtype=np.int64)), key_pts_K, key_seek_K, time_base, Path(path).stat().st_size
        )

    def save(self, path: str | Path) -> None:
        """Store it as npz."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        numbers = np.array([self.time_base.numerator, self.time_base.denominator, self.num_bytes], dtype=np.int64)
        np.savez(path, pts=self.pts_N, key_pts=self.key_pts_K, key_seek=self.key_seek_K, numbers=numbers)

    @classmethod
    def load(cls, path: str | Path, stored: str | Path | None) -> Self | None:
        """Return the stored index of a video, if it is there and of this very file.

        Args:
            path: The video.
            stored: Where :meth:`save` may have put it.

        Returns:
            The index, or None.
        """
        if stored is None or not Path(stored).is_file() or not Path(path).is_file():
            return None
        with np.load(stored) as arrays:
            numerator, denominator, num_bytes = arrays['numbers'].tolist()
            if Path(path).stat().st_size != num_bytes:
                return None
            pts, key_pts, key_seek = (arrays[name] for name in ('pts', 'key_pts', 'key_seek'))
            return cls(pts, key_pts, key_seek, Fraction(numerator, denominator), num_bytes)

    @classmethod
    def of(cls, path: str | Path, stored: str | Path | None = None) -> Self:
        """Return the index of a video: the stored one, else a new one.

        Args:
            path: The video.
            stored: See :meth:`load`.

        Returns:
            The index.
        """
        index = cls.load(path, stored)
        return cls.scan(path) if index is None else index

    def time_s(self, frame: int) -> Fraction:
        """Return when a frame is shown, in exact seconds after the first."""
        return int(self.pts_N[frame] - self.pts_N[0]) * self.time_base

    def frame_at(self, time_s: Fraction) -> int:
        """Return the frame whose time is nearest; the earlier one of two that are equally near."""
        wanted = time_s / self.time_base + int(self.pts_N[0])
        later = int(np.searchsorted(self.pts_N, float(wanted)))
        near = range(max(later - 2, 0), min(later + 2, len(self.pts_N)))
        return min(near, key=lambda frame: (abs(int(self.pts_N[frame]) - wanted), frame))

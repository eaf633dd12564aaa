"""Which frame is where in a video file: timestamps in the order of display, and where decoding can begin.

Made by reading the packets of a file without decoding any. Timestamps are whole multiples of the stream's time base, so
no frame number is ever computed from a rounded frame rate.

Some containers do not say when a frame is shown: AVI numbers packets as they are stored, raw streams not at all. Where
frames are stored in another order than they are shown (B-frames), such numbers name wrong frames. Their frames are
*counted*: the decoder hands them out in the order in which they are shown, and no frame before a key frame that resets
the decoder is shown after it.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Self
from zipfile import BadZipFile

import numpy as np

from mmopt.utils.errors import DataError, DataNotFoundError, UserError
from mmopt.utils.whole_file import whole_file

__all__ = ['FrameIndex', 'count_frames', 'import_av']


def import_av():
    """Import PyAV, which only videos need.

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
    """Return the number of frames: from the stored index, else by reading the file.

    Args:
        path: The video.
        stored: Its index, where :meth:`FrameIndex.save` may have put it.

    Returns:
        The number.
    """
    return len(FrameIndex.of(path, stored).pts_N)


def _resets(codec: str, packet: Any) -> bool:
    """Tell whether a key frame resets the decoder: in H.264 only an IDR picture does, whose NAL unit is of type 5."""
    if codec != 'h264':
        return codec in ('mjpeg', 'mpeg4', 'png', 'ffv1', 'huffyuv', 'rawvideo')
    content = bytes(packet)
    place = content.find(b'\x00\x00\x01')
    while 0 <= place < len(content) - 3:
        kind = content[place + 3] & 31
        if kind in (1, 5):
            return kind == 5
        place = content.find(b'\x00\x00\x01', place + 3)
    return False


@dataclass(frozen=True)
class FrameIndex:
    """Timestamps of one video.

    Attributes:
        pts_N: Timestamp of each frame, ascending, in units of the time base.
        key_pts_K: Timestamps of the key frames, ascending.
        key_seek_K: What to seek for to begin at each: its decoding timestamp.
        time_base: Seconds per unit.
        num_bytes: Size of the file, by which a stored index is known to be of this file.
        num_promised: Frames that the header says there are, 0 if it says nothing; a file that was cut off has fewer.
        is_counted: Whether timestamps are the numbers of the frames, because the file's own do not say which is which.
    """

    pts_N: np.ndarray
    key_pts_K: np.ndarray
    key_seek_K: np.ndarray
    time_base: Fraction
    num_bytes: int
    is_counted: bool = False
    num_promised: int = 0

    @classmethod
    def scan(cls, path: str | Path) -> Self:
        """Read the packets of a file.

        Args:
            path: The video.

        Returns:
            Its index.

        Raises:
            DataNotFoundError: If the file is not there.
            DataError: If it cannot be read, has no frame, or neither timestamps nor a frame rate.
        """
        av = import_av()
        container, stream = open_video(path)
        pts: list[Any] = []
        keys, resets = [], []
        with container:
            try:
                for packet in container.demux(stream):
                    if not packet.size or packet.is_discard:
                        continue
                    if packet.is_keyframe:
                        keys.append((packet.pts, packet.pts if packet.dts is None else packet.dts))
                        if not pts or _resets(stream.codec_context.name, packet):
                            resets.append((len(pts), packet.pts if packet.dts is None else packet.dts))
                    pts.append(packet.pts)
            except av.error.FFmpegError as error:
                raise DataError(f'{path}: cannot be read after {len(pts)} frames ({error.strerror}).') from error
            time_base, rate = stream.time_base, stream.average_rate or stream.guessed_rate
            reorders, promised = bool(stream.codec_context.has_b_frames), stream.frames
        if not pts or not keys:
            raise DataError(
                f'{path}: the video has {len(pts)} frames, {len(keys)} of them key frames; both must be > 0.'
            )
        has_none, num_bytes = None in pts, Path(path).stat().st_size
        if has_none or (reorders and pts == sorted(pts)):
            if not rate:
                raise DataError(f'{path}: neither its frames nor its header say how long they are shown.')
            # A raw stream cannot be sought in.
            usable = [(number, dts) for number, dts in resets if dts is not None and not has_none] or [(0, 0)]
            key_pts_K, key_seek_K = np.array(usable, dtype=np.int64).T
            frames_N = np.arange(len(pts))
            time_base = 1 / Fraction(rate)
            return cls(frames_N, key_pts_K, key_seek_K, time_base, num_bytes, is_counted=True, num_promised=promised)
        key_pts_K, key_seek_K = np.array(sorted(keys), dtype=np.int64).T
        pts_N = np.unique(np.array(pts, dtype=np.int64))
        return cls(pts_N, key_pts_K, key_seek_K, time_base, num_bytes, num_promised=promised)

    def save(self, path: str | Path) -> None:
        """Store it as npz."""
        facts = [self.time_base.numerator, self.time_base.denominator, self.num_bytes, self.is_counted]
        numbers = np.array(facts, dtype=np.int64)
        with whole_file(path) as unfinished:
            np.savez(unfinished, pts=self.pts_N, key_pts=self.key_pts_K, key_seek=self.key_seek_K, numbers=numbers)

    @classmethod
    def load(cls, path: str | Path, stored: str | Path | None) -> Self | None:
        """Return the stored index of a video, if it is there, whole, and of this very file.

        Args:
            path: The video.
            stored: Where :meth:`save` may have put it.

        Returns:
            The index, or None.
        """
        if stored is None or not Path(stored).is_file() or not Path(path).is_file():
            return None
        try:
            with np.load(stored) as arrays:
                numbers = arrays['numbers'].tolist()
                pts, key_pts, key_seek = (arrays[name] for name in ('pts', 'key_pts', 'key_seek'))
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):  # cut off by a full disk or a kill
            return None
        # One of an earlier version does not say whether frames were counted.
        if len(numbers) < 4 or Path(path).stat().st_size != numbers[2]:
            return None
        numerator, denominator, num_bytes, is_counted = numbers
        return cls(pts, key_pts, key_seek, Fraction(numerator, denominator), num_bytes, bool(is_counted))

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

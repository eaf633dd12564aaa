"""Frames of a video by number: decode what is needed, resize at once, hold nothing else.

Frame k is the k-th frame that is shown. To reach it, decoding begins at the last key frame at or before it, or goes on
from where it stands if that is nearer. Frames are upright: what the file says of turning and mirroring them is done.
"""

import itertools
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mmopt.datasets.common.film.frame_index import FrameIndex, import_av, open_video
from mmopt.datasets.common.film.orientation import Orientation
from mmopt.utils.errors import DataError

__all__ = ['ReaderPool', 'VideoReader']


class VideoReader:
    """Read frames of one video by number; one thread at a time.

    Args:
        path: The video.
        index: Its index; None reads the packets once.

    Raises:
        DataNotFoundError: If the file is not there.
        DataError: If it is no video.
    """

    def __init__(self, path: str | Path, index: FrameIndex | None = None) -> None:
        self._av = import_av()
        self.path = path
        self.index = FrameIndex.scan(path) if index is None else index
        self._container, self._stream = open_video(path)
        # One thread per video: views are read in parallel, and each decoder thread would hold frames of its own.
        self._stream.codec_context.thread_count = 1
        self._scaler = self._av.video.reformatter.VideoReformatter()
        self._frames: Iterator | None = None
        self._shown_pts: int | None = None  # of the last frame that was decoded
        self._is_damaged = False

    def __len__(self) -> int:
        return len(self.index.pts_N)

    def close(self) -> None:
        """Close the file and free the decoder's frames."""
        self._frames = None
        self._container.close()

    def read(self, frames: Sequence[int], size: tuple[int, int] | None = None) -> np.ndarray:
        """Decode frames.

        Args:
            frames: Numbers in any order, repeated or not.
            size: Height and width to scale the upright frame to, by area; None keeps the video's.

        Returns:
            uint8 RGB (len(frames), H, W, 3).

        Raises:
            DataError: If a number is out of range, the file is broken there, or its frames are to be shown askew.
        """
        wanted = np.asarray(frames, dtype=np.int64)
        if not len(wanted) or wanted.min() < 0 or wanted.max() >= len(self):
            raise DataError(f'{self.path}: frames {list(frames)} were asked for, the video has 0 to {len(self) - 1}.')
        clip_THW3: np.ndarray | None = None
        for frame in np.unique(wanted):
            image_HW3 = self._to_image(self._decode(int(self.index.pts_N[frame]), int(frame)), size)
            if clip_THW3 is None:
                clip_THW3 = np.empty((len(wanted), *image_HW3.shape), dtype=np.uint8)
            clip_THW3[wanted == frame] = image_HW3
        assert clip_THW3 is not None, 'at least one frame is wanted'
        return clip_THW3

    def _to_image(self, decoded, size: tuple[int, int] | None) -> np.ndarray:
        orientation = Orientation.of_frame(decoded, self.path)
        height, width = (decoded.height, decoded.width) if size is None else orientation.size(*size)
        scaled = self._scaler.reformat(
            decoded, width=width, height=height, format='rgb24', interpolation='AREA', threads=1
        )
        return orientation.apply(scaled.to_ndarray())

    def _decode(self, pts: int, frame: int):
        key = int(np.searchsorted(self.index.key_pts_K, pts, side='right')) - 1
        key_pts = self.index.key_pts_K[max(key, 0)]
        goes_on = self._shown_pts is not None and self._shown_pts < pts and self._shown_pts >= key_pts
        if not goes_on:
            self._seek(max(key, 0))
        found = self._walk(pts)
        # A container may seek to a later place than asked for, and frames before a key frame may need the one before
        # it: an earlier start is always right. Of a file that is known to be damaged one is tried: else every frame
        # behind a gap would be looked for from the beginning on.
        last = max(key - 1, 0) if self._is_damaged else 0
        while found is None and key > last and not goes_on:
            key -= 1
            self._seek(key)
            found = self._walk(pts)
        if found is None:
            self._frames = self._shown_pts = None
            self._is_damaged = self._is_damaged or not goes_on
            raise DataError(
                f'{self.path}: frame {frame} of {len(self)} cannot be decoded; the file is damaged or truncated. Copy '
                'it again or leave it out.'
            )
        return found

    def _seek(self, key: int) -> None:
        if self.index.is_counted:
            self._frames = self._count_from(key)
        else:
            self._container.seek(int(self.index.key_seek_K[key]), stream=self._stream, backward=True)
            self._frames = ((frame.pts, frame) for frame in self._container.decode(self._stream))
        self._shown_pts = None

    def _count_from(self, key: int) -> Iterator[tuple[int, Any]]:
        """Yield frames with their numbers, from a key frame on."""
        number, wanted = int(self.index.key_pts_K[key]), int(self.index.key_seek_K[key])
        if number == 0:
            self._reopen()
            packets = self._container.demux(self._stream)
        else:
            self._container.seek(wanted, stream=self._stream, backward=True)
            packets = self._container.demux(self._stream)
            first = next(packets, None)
            if first is None or first.dts != wanted:
                return  # elsewhere: an earlier key frame is tried
            packets = itertools.chain([first], packets)
        for packet in packets:
            for frame in packet.decode():
                yield number, frame
                number += 1

    def _reopen(self) -> None:
        self._container.close()
        self._container, self._stream = open_video(self.path)
        self._stream.codec_context.thread_count = 1

    def _walk(self, pts: int):
        """Decode until the frame of this timestamp; None if it is not there or the stream breaks."""
        try:
            for shown_pts, decoded in self._frames or ():
                if shown_pts is None:
                    continue
                self._shown_pts = shown_pts
                if shown_pts == pts:
                    return decoded
                if shown_pts > pts:
                    return None
        except self._av.error.FFmpegError:
            return None
        return None


class ReaderPool:
    """Open videos, the least recently used one closed first. Every process and every copy has files of its own.

    Args:
        max_open: Videos that stay open. Each holds the frames its decoder refers to: a dozen of full size.

    Raises:
        ValueError: If ``max_open`` is below 1.
    """

    def __init__(self, max_open: int = 3) -> None:
        if max_open < 1:
            raise ValueError(f'max_open_videos must be at least 1, got {max_open}.')
        self.max_open = max_open
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._idle: OrderedDict[str, VideoReader] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict:
        return dict(max_open=self.max_open)

    def __setstate__(self, state: dict) -> None:
        self.max_open = state['max_open']
        self._start()

    def __len__(self) -> int:
        return len(self._idle)

    @contextmanager
    def open(self, path: str | Path, stored_index: str | Path | None = None) -> Iterator[VideoReader]:
        """Lend a reader; it is nobody else's until it comes back, and closed if an error came out of it.

        Args:
            path: The video.
            stored_index: See :meth:`FrameIndex.of`.

        Yields:
            VideoReader: The reader.
        """
        if self._process != os.getpid():
            # A forked worker shares file positions with its parent: start anew, and leave the parent's files alone.
            self._start()
        key = str(path)
        with self._lock:
            reader = self._idle.pop(key, None)
        if reader is None:
            reader = VideoReader(path, FrameIndex.of(path, stored_index))
        try:
            yield reader
        except BaseException:
            reader.close()
            raise
        with self._lock:
            twin, self._idle[key] = self._idle.pop(key, None), reader
            closing = [] if twin is None else [twin]
            while len(self._idle) > self.max_open:
                closing.append(self._idle.popitem(last=False)[1])
        for old in closing:
            old.close()

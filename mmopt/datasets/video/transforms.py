"""From a labeled segment to the network's input.

Shape letters: T frames, H W pixels, K keypoints.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from mmopt.datasets.common.film.reader import ReaderPool
from mmopt.datasets.video.layout import Recording, read_keypoints
from mmopt.registry import TRANSFORMS
from mmopt.structures import DataSample
from mmopt.utils.errors import DataError

__all__ = ['LoadDriverClip', 'PackDriverClip', 'ShiftDriverClip']


@TRANSFORMS.register_module()
class LoadDriverClip:
    """Decode a sample's ``frames`` from every view and read their keypoints.

    Labels count frames of the first view. Another view shows, at a frame's exact time, its own nearest frame, so views
    of different rates or with lost frames stay together. Writes, of what the data set's ``load_rgb`` and ``load_kpt``
    ask for, ``clips`` (uint8 (T, H, W, 3) by view) and ``keypoints`` (float32 (T, K, 3)).

    Args:
        num_points: Keypoints K of a frame.
    """

    def __init__(self, num_points: int = 52) -> None:
        self.num_points = num_points
        self._pool: ReaderPool | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._process = -1

    def __getstate__(self) -> dict:
        # Threads and open files belong to a process.
        return self.__dict__ | dict(_pool=None, _threads=None, _process=-1)

    def __call__(self, results: dict) -> dict:
        recording: Recording = results['recording']
        frames_T = results['frames']
        each = self._mapper(results['num_io_threads'], results['max_open_videos'])
        pool: Any = self._pool  # the mapper has made it
        if results['load_rgb']:
            views = results['views']
            # Exact times come from the first view, which is then open anyway.
            with pool.open(recording.video_path(views[0]), recording.index_path(views[0])) as reader:
                _check_frames(frames_T, len(reader), reader.path)
                times_s = [reader.index.time_s(int(frame)) for frame in frames_T]

            def load(view: str) -> np.ndarray:
                with pool.open(recording.video_path(view), recording.index_path(view)) as reader:
                    chosen = frames_T if view == views[0] else [reader.index.frame_at(time_s) for time_s in times_s]
                    return reader.read(chosen, results['img_size'])

            results['clips'] = dict(zip(views, each(load, views), strict=True))
        if results['load_kpt']:
            paths = [recording.keypoint_path(int(frame)) for frame in frames_T]
            results['keypoints'] = np.stack(list(each(lambda path: read_keypoints(path, self.num_points), paths)))
        return results

    def _mapper(self, num_threads: int, max_open: int) -> Callable:
        if self._process != os.getpid():
            # First call in this process: a forked worker has the parent's objects, but none of its threads.
            self._process = os.getpid()
            self._pool = ReaderPool(max_open)
            self._threads = ThreadPoolExecutor(num_threads, 'driver-io') if num_threads > 1 else None
        return map if self._threads is None else self._threads.map


def _check_frames(frames: Sequence[int], num_frames: int, path: object) -> None:
    if max(frames) >= num_frames:
        raise DataError(f'{path}: a label reaches frame {max(frames)}, the video has {num_frames}.')


@TRANSFORMS.register_module()
class ShiftDriverClip:
    """Move the picture of every view a little and change its light, as other seats, mounts and hours would.

    All frames of a clip alike; edges are repeated. The light is one factor for all views and one per color.

    Args:
        max_shift: Largest move in either direction, as a share of height and width.
        max_gain: Largest change of brightness: factors lie in 1 / (1 + max_gain) to 1 + max_gain.
        max_tint: The same for each color by itself.

    Raises:
        ValueError: If a number is negative, or the shift a half or more.
    """

    def __init__(self, max_shift: float = 0.08, max_gain: float = 0.3, max_tint: float = 0.15) -> None:
        if not 0 <= max_shift < 0.5 or min(max_gain, max_tint) < 0:
            raise ValueError(
                f'ShiftDriverClip: max_shift must be in [0, 0.5), max_gain and max_tint at least 0, got {max_shift}, '
                f'{max_gain}, {max_tint}.'
            )
        self.max_shift = max_shift
        self.max_gain = max_gain
        self.max_tint = max_tint

    def __call__(self, results: dict) -> dict:
        if 'clips' not in results:
            raise ValueError('ShiftDriverClip moves clips, and load_rgb=False: take it out of the pipeline.')
        rng: np.random.Generator = results['rng']
        gain = (1 + self.max_gain) ** rng.uniform(-1, 1) * (1 + self.max_tint) ** rng.uniform(-1, 1, 3)
        levels_3L = np.rint(np.clip(gain[:, None] * np.arange(256), 0, 255)).astype(np.uint8)
        moved = {}
        for view, clip_THW3 in results['clips'].items():
            places = []
            for length in clip_THW3.shape[1:3]:
                most = round(self.max_shift * length)
                places.append(np.clip(np.arange(length) + rng.integers(-most, most + 1), 0, length - 1))
            shifted_THW3 = clip_THW3[:, places[0][:, None], places[1]]
            moved[view] = np.stack([levels_3L[color][shifted_THW3[..., color]] for color in range(3)], axis=-1)
        return results | dict(clips=moved)


@TRANSFORMS.register_module()
class PackDriverClip:
    """Make the sample: ``inputs`` holds uint8 (3, T, H, W) by view and ``keypoints``; the sample has ``label``."""

    def __call__(self, results: dict) -> dict:
        inputs = {
            view: torch.from_numpy(np.ascontiguousarray(clip_THW3.transpose(3, 0, 1, 2)))
            for view, clip_THW3 in results.get('clips', {}).items()
        }
        if 'keypoints' in results:
            inputs['keypoints'] = torch.from_numpy(results['keypoints'])
        sample = DataSample(
            metainfo=dict(
                sample_idx=results['sample_idx'],
                epoch=results['epoch'],
                recording=results['recording'].name,
                chunk=results['chunk'],
                segment=results['segment'],
                frames=results['frames'].tolist(),
            )
        )
        sample.label = torch.tensor(results['label'])
        return dict(inputs=inputs, data_samples=sample)

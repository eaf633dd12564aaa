"""From a labelled segment to the network's input.

Shape letters: T frames, H W pixels, K keypoints.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from mmopt.datasets.video.chunks import sample_frames
from mmopt.datasets.video.layout import Recording, read_keypoints
from mmopt.datasets.video.reader import ReaderPool
from mmopt.registry import TRANSFORMS
from mmopt.structures import DataSample
from mmopt.utils.errors import DataError

__all__ = ['LoadDriverClip', 'PackDriverClip']


@TRANSFORMS.register_module()
class LoadDriverClip:
    """Choose frames of the segment, decode them from every view and read their keypoints.

    Labels count frames of the first view. Another view shows, at a frame's exact time, its own nearest frame, so views
    of different rates or with lost frames stay together. Writes ``frames`` (T,) and, of what the data set's
    ``load_rgb`` and ``load_kpt`` ask for, ``clips`` (uint8 (T, H, W, 3) by view) and ``keypoints`` (float32 (T, K, 3)).

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
        chunk_start, (start, stop) = results['chunk'][0], results['segment']
        frames_T = chunk_start + sample_frames(start, stop, results['uniform_temporal_subsample_num'])
        results['frames'] = frames_T
        each = self._mapper(results['num_io_threads'], results['max_open_videos'])
        if results['load_rgb']:
            views = results['views']
            # Exact times come from the first view, which is then open anyway.
            with self._pool.open(recording.video_path(views[0]), recording.index_path(views[0])) as reader:
                _check_frames(frames_T, len(reader), reader.path)
                times_s = [reader.index.time_s(int(frame)) for frame in frames_T]

            def load(view: str) -> np.ndarray:
                with self._pool.open(recording.video_path(view), recording.index_path(view)) as reader:
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

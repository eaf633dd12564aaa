"""One recording, cut into sliding windows or into segments that the user names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mmopt.datasets.common.cut_source import CutSource, number_option
from mmopt.datasets.common.film.frame_index import FrameIndex
from mmopt.datasets.common.windows import window_starts
from mmopt.datasets.video.chunks import sample_frames
from mmopt.datasets.video.predict.find import FilmedDrive
from mmopt.datasets.video.predict.result import ActionResult
from mmopt.datasets.video.predict.segments import find_segments
from mmopt.structures import DataSample
from mmopt.utils.errors import DataError, UserError

__all__ = ['OPTIONS', 'Clip', 'DriveFacts', 'DriveRecording']

OPTIONS = dict(
    view='files of a recording, by view: front=a.mp4 left=b.mp4 right=c.mp4',
    keypoints='folder of keypoints',
    fps='frames per second, of a recording without a video',
    window_s='seconds of a window; default: the median segment that the model was trained on',
    step_s='seconds from one window to the next; default: half a window',
    segments='table or labels, or a folder of them: predict these segments in the place of windows',
)
"""What the user can say of recordings."""
_DEFAULT_WINDOW_S = 2.0


@dataclass(frozen=True)
class DriveFacts:
    """What the model and the user say of all recordings.

    Attributes:
        options: What the user said; see :data:`OPTIONS`.
        segment_frames: Length of the training's segments; None: unknown.
        label_first_frame: Number that labels give to the first frame.
        loading: What the data set loads: views, sizes, numbers of frames.
    """

    options: Mapping[str, Any]
    classes: tuple[str, ...]
    segment_frames: int | None
    label_first_frame: int
    loading: Mapping[str, Any]

    def positive(self, name: str) -> float | None:
        """Return an option that is a positive number."""
        return number_option(dict(self.options), name, lambda value: value > 0, 'more than 0')


@dataclass(frozen=True)
class Clip:
    """A part of a recording."""

    recording: 'DriveRecording'
    start: int
    stop: int


class DriveRecording(CutSource):
    """The frames of a recording and their times; those of the first view count.

    Args:
        drive: Its files.
        facts: What holds for all.

    Raises:
        DataNotFoundError: If a file is missing.
        DataError: If one cannot be read, or there is no frame.
        UserError: If an option does not serve.
    """

    def __init__(self, drive: FilmedDrive, facts: DriveFacts) -> None:
        self.drive = drive
        self.facts = facts
        views = facts.loading['views']
        self._index: FrameIndex | None = None
        if facts.loading['load_rgb']:
            for view in views:
                drive.video_path(view)  # which of them is missing is said before one is read
        if facts.loading['load_rgb'] or (facts.positive('fps') is None and views[0] in drive.videos):
            self._index = FrameIndex.of(drive.video_path(views[0]), drive.index_path(views[0]))
        if facts.loading['load_rgb']:
            self.num_frames = len(self._index.pts_N) if self._index else 0
        else:
            self.num_frames = _count_keypoints(drive)
        self.fps = self._rate()
        self._segments_N2 = self._cut()
        self.parts = [Clip(self, start, stop) for start, stop in self._segments_N2.tolist()]

    def _rate(self) -> float:
        if self._index is not None and len(self._index.pts_N) > 1:
            return float((len(self._index.pts_N) - 1) / self._index.time_s(-1))
        if (fps := self.facts.positive('fps')) is not None:
            return fps
        if self._index is not None:  # a video of one frame
            return 1.0
        raise UserError(f'{self.drive.path}: nothing says its frame rate: say --fps.')

    def _cut(self) -> np.ndarray:
        given = self.facts.options.get('segments')
        if given is not None:
            if clash := [name for name in ('window_s', 'step_s') if self.facts.options.get(name) is not None]:
                raise UserError(f'--segments and --{clash[0].replace("_", "-")} exclude each other.')
            segments = find_segments(
                Path(given), self.drive.name, self.fps, self.facts.classes, self.facts.label_first_frame
            )
            if segments[:, 0].max() >= self.num_frames:
                raise DataError(
                    f'{self.drive.path}: a segment begins at frame {segments[:, 0].max()}, the recording has '
                    f'{self.num_frames}.'
                )
            return np.minimum(segments, self.num_frames)
        window_s, step_s = self.facts.positive('window_s'), self.facts.positive('step_s')
        if window_s is not None:
            window = max(round(window_s * self.fps), 1)
        else:
            window = self.facts.segment_frames or max(round(_DEFAULT_WINDOW_S * self.fps), 1)
        window = min(window, self.num_frames)
        step = max(window // 2 if step_s is None else round(step_s * self.fps), 1)
        if step > window:
            raise UserError(
                f'--step-s {step / self.fps:g}: must be at most a window ({window / self.fps:g} s), or frames between '
                'windows would be seen by none.'
            )
        starts = window_starts(self.num_frames, window, window - step)
        return np.array([(start, start + window) for start in starts], dtype=np.int64)

    def time_s(self, frame: int) -> float:
        """Return when a frame begins; of the frame behind the last, when that one ends."""
        if self._index is None or frame >= len(self._index.pts_N):
            known = 0 if self._index is None else len(self._index.pts_N) - 1
            base = Fraction(0) if self._index is None else self._index.time_s(known)
            return float(base) + (frame - known) / self.fps
        return float(self._index.time_s(frame))

    def info(self, start: int, stop: int) -> dict[str, Any]:
        """Return what the pipeline starts from."""
        return dict(self.facts.loading) | dict(
            recording=self.drive,
            chunk=(0, self.num_frames),
            segment=(start, stop),
            label=-1,
            frames=sample_frames(start, stop, self.facts.loading['uniform_temporal_subsample_num']),
        )

    def join(self, samples: Sequence[DataSample]) -> ActionResult:
        """Put the scores of all parts together."""
        scores_NK = np.stack([sample.get('pred_scores').float().cpu().numpy() for sample in samples])
        times = [(self.time_s(start), self.time_s(stop)) for start, stop in self._segments_N2.tolist()]
        return ActionResult(
            self._segments_N2,
            np.array(times),
            scores_NK.astype(np.float64),
            self.facts.classes,
            num_frames=self.num_frames,
            fps=self.fps,
            title=self.drive.name,
        )


def _count_keypoints(drive: FilmedDrive) -> int:
    folder = drive.keypoint_path(0).parent
    numbers = [int(path.stem) for path in folder.glob('*.npz') if re.fullmatch(r'\d+', path.stem)]
    if not numbers:
        raise DataError(f'{folder}: holds no keypoints (000000.npz, 000001.npz, ...).')
    if (lost := max(numbers) + 1 - len(numbers)) > 0:
        first = min(set(range(max(numbers))) - set(numbers))
        raise DataError(f'{folder}: {lost} of {max(numbers) + 1} frames have no keypoints, frame {first} first.')
    return max(numbers) + 1

"""Temporal action detection over whole videos: windows merged, then interval F1, mAP and Kaggle's score.

Shape letters: N predictions, M true events; a row of five is start, stop, agent, target, action.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from mmengine.dist import all_gather_object, is_main_process
from mmengine.logging import print_log

from mmopt.evaluation.class_names import class_names
from mmopt.evaluation.tad.intervals import average_precision, count_frames, count_matches, f1, match_intervals
from mmopt.evaluation.tad.kaggle import kaggle_score, short_names, to_events, write_submission
from mmopt.ops.merge_events import JOIN_MARGIN, NMS_IOU, SCORE_THRESHOLD, merge_windows, resolve_overlaps
from mmopt.registry import METRICS
from mmopt.structures.mice import mouse_name, target_name
from mmopt.utils.timeline import draw_timeline

__all__ = ['TemporalDetection']


@dataclass
class _Video:
    """What is known of one video, window by window."""

    lab_id: str
    num_frames: int
    fps: float
    labeled: np.ndarray
    truth: set[tuple[int, ...]] = field(default_factory=set)
    rows: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    windows: list[np.ndarray] = field(default_factory=list)


@METRICS.register_module()
class TemporalDetection:
    """Score predicted intervals against whole videos.

    ============================ ======================================================================================
    ``F1``                       of intervals at IoU >= ``f1_iou``, counts pooled over videos and actions; likewise
                                 ``precision`` and ``recall``; ``F1.<action>`` by action
    ``F1_exclusive``             the same after :func:`~mmopt.ops.merge_events.resolve_overlaps`
    ``mAP``                      mean over actions that occur and over ``tious``; ``mAP.tIoU50`` and so on are its parts
    ``kaggle_F``                 the competition's score, which is defined after ``resolve_overlaps``
    ``frame_F1.<a>``             of the frames of an action, pooled over videos and pairs, after ``resolve_overlaps``
    ``frame_F1_overlapping.<a>`` the same before it: of the frames of the intervals that ``F1`` counts
    ============================ ======================================================================================

    ``F1`` asks whether events were found one by one, ``frame_F1`` what a frame shows when it can show one action. Each
    is there in both ways, and the tables' headers say which is which.

    Only rows of events are kept, no tensors; ranks exchange them at the end. Truth outside ``behaviors_labeled`` is
    not in the samples, and a model never predicts such a triple, so nothing there counts.

    Args:
        score_threshold: Predictions below it count for mAP only.
        f1_iou: Least overlap of a right interval.
        tious: Overlaps of the mean average precision.
        nms_iou: See :func:`~mmopt.ops.merge_events.merge_windows`.
        join_margin: See :func:`~mmopt.ops.merge_events.merge_windows`; frames.
        out_dir: Folder for ``submission.csv`` and a timeline picture per video; None writes nothing.
        max_pictures: Timelines at most.
        prefix: Put before every key, with a slash.
    """

    TABLE_NOTES: ClassVar = {
        'F1': 'of intervals, which may overlap',
        'F1_exclusive': 'of intervals, after each frame is given to its best action',
        'frame_F1': 'of frames, each given to its best action',
        'frame_F1_overlapping': 'of frames, intervals may overlap',
    }
    """What a table of one value per action is about: printed in its header."""

    def __init__(
        self,
        score_threshold: float = SCORE_THRESHOLD,
        f1_iou: float = 0.5,
        tious: Sequence[float] = (0.3, 0.4, 0.5, 0.6, 0.7),
        nms_iou: float = NMS_IOU,
        join_margin: float = JOIN_MARGIN,
        out_dir: str | None = None,
        max_pictures: int = 16,
        prefix: str | None = None,
    ) -> None:
        self.score_threshold = score_threshold
        self.f1_iou = f1_iou
        self.tious = tuple(tious)
        self.nms_iou = nms_iou
        self.join_margin = join_margin
        self.out_dir = out_dir
        self.max_pictures = max_pictures
        self.prefix = prefix
        self.dataset_meta: dict | None = None  # the evaluator sets it
        self._videos: dict[str, _Video] = {}

    @property
    def metric_keys(self) -> tuple[str, ...]:
        """Names of the metrics without the prefix; ``*`` stands for a class."""
        tious = [f'mAP.tIoU{round(100 * tiou)}' for tiou in self.tious]
        single = ('F1', 'F1_exclusive', 'precision', 'recall', 'mAP', *tious, 'kaggle_F')
        return (*single, *(f'{table}.*' for table in self.TABLE_NOTES))

    def process(self, data_batch: Any, data_samples: Sequence) -> None:
        """Note the rows of one batch.

        Args:
            data_batch: The batch; all that is needed is in the samples.
            data_samples: Samples (or their dicts) of a data set in test mode, with predictions.
        """
        del data_batch  # MMEngine's signature
        for sample in data_samples:
            # Laboratories number their videos from 1.
            name = f'{sample.get("lab_id")}/{sample.get("video_id")}'
            if name not in self._videos:
                labeled = sample.get('labeled').cpu().numpy()
                self._videos[name] = _Video(sample.get('lab_id'), sample.get('num_frames'), sample.get('fps'), labeled)
            video = self._videos[name]
            video.truth.update(map(tuple, sample.get('truth').tolist()))
            start, stop = sample.get('window')
            segments = sample.get('pred_segments').cpu().numpy().astype(np.float64) + start
            video.rows.append(np.concatenate((segments, sample.get('pred_triples').cpu().numpy()), axis=1))
            video.scores.append(sample.get('pred_scores').cpu().numpy().astype(np.float64))
            video.windows.append(np.tile([[start, stop]], (len(segments), 1)))

    def evaluate(self, size: int) -> dict[str, float]:
        """Merge the windows of each video, over all ranks, and compute the metrics; then start anew.

        Args:
            size: Samples of the data set; an empty one is an error.

        Returns:
            Metrics by name.

        Raises:
            ValueError: If no sample was seen.
        """
        videos: dict[str, _Video] = {}
        for part in all_gather_object(self._videos):
            for name, video in part.items():
                if name not in videos:
                    videos[name] = video
                    continue
                whole = videos[name]
                whole.truth |= video.truth
                for column in ('rows', 'scores', 'windows'):
                    getattr(whole, column).extend(getattr(video, column))
        self._videos = {}
        if not videos:
            raise ValueError(f'TemporalDetection saw no sample of {size}: is the data set in test mode?')
        videos = dict(sorted(videos.items()))
        metrics = self._compute(videos)
        return {f'{self.prefix}/{key}' if self.prefix else key: value for key, value in metrics.items()}

    def _compute(self, videos: Mapping[str, _Video]) -> dict[str, float]:
        classes = class_names(self)
        merged, confident, truth = {}, {}, {}
        for name, video in videos.items():
            found, found_scores, windows = (
                np.concatenate(column) for column in (video.rows, video.scores, video.windows)
            )
            rows, scores = merge_windows(found, found_scores, windows, self.nms_iou, self.join_margin)
            merged[name] = rows, scores
            good = scores >= self.score_threshold
            confident[name] = rows[good], scores[good]
            truth[name] = np.array(sorted(video.truth), dtype=np.int64).reshape(-1, 5)
        counts: Any = sum(count_matches(*confident[n], truth[n], self.f1_iou, len(classes)) for n in videos)
        pooled = counts.sum(axis=1)
        metrics = dict(
            F1=float(f1(pooled)),
            precision=float(pooled[0] / max(pooled[0] + pooled[1], 1)),
            recall=float(pooled[0] / max(pooled[0] + pooled[2], 1)),
        )
        metrics |= self._mean_precision(merged, truth, len(classes))
        resolved = {name: resolve_overlaps(*confident[name]) for name in videos}
        metrics['kaggle_F'] = self._kaggle(videos, truth, resolved, classes)
        exclusive: Any = sum(
            # Of equal scores the first is matched first: intervals without overlap are in no order.
            count_matches(resolved[n], np.zeros(len(resolved[n])), truth[n], self.f1_iou, len(classes))
            for n in videos
        )
        metrics['F1_exclusive'] = float(f1(exclusive.sum(axis=1)))
        occurs = counts[[0, 2]].sum(axis=0) > 0
        tables = {
            'F1': counts,
            'F1_exclusive': exclusive,
            'frame_F1': self._count_frames(videos, truth, resolved),
            'frame_F1_overlapping': self._count_frames(
                videos, truth, {name: rows for name, (rows, _) in confident.items()}
            ),
        }
        for table, counted in tables.items():
            values = zip(classes, f1(counted), occurs, strict=True)
            metrics |= {f'{table}.{name}': float(value) for name, value, is_there in values if is_there}
        if self.out_dir is not None and is_main_process():
            self._write(Path(self.out_dir), videos, truth, resolved, classes)
        return metrics

    def _count_frames(self, videos: Mapping, truth: Mapping, predicted: Mapping) -> np.ndarray:
        num_classes = len(class_names(self))
        return sum(
            (
                count_frames(predicted[name], truth[name], video.num_frames, num_classes)
                for name, video in videos.items()
            ),
            start=np.zeros((3, num_classes), dtype=np.int64),
        )

    def _mean_precision(self, merged: Mapping, truth: Mapping, num_classes: int) -> dict[str, float]:
        actions = np.concatenate([rows[:, 4] for rows, _ in merged.values()])
        scores = np.concatenate([scores for _, scores in merged.values()])
        num_truth = np.bincount(np.concatenate([rows[:, 4] for rows in truth.values()]), minlength=num_classes)
        means = {}
        for tiou in self.tious:
            right = np.concatenate(
                [match_intervals(rows, own, truth[name], tiou)[0] for name, (rows, own) in merged.items()]
            )
            values = [
                average_precision(right[actions == action], scores[actions == action], count)
                for action, count in enumerate(num_truth)
            ]
            means[f'mAP.tIoU{round(100 * tiou)}'] = float(np.nanmean(values)) if num_truth.any() else 0.0
        return dict(mAP=float(np.mean(list(means.values())))) | means

    def _kaggle(self, videos: Mapping, truth: Mapping, resolved: Mapping, classes: Sequence[str]) -> float:
        solution = [event for name, rows in truth.items() for event in to_events(name, rows, classes)]
        if not solution:
            return 0.0
        submission = [event for name, rows in resolved.items() for event in to_events(name, rows, classes)]
        labeled = {
            name: {f'{mouse_name(a)},{target_name(a, t)},{classes[c]}' for a, t, c in video.labeled.tolist()}
            for name, video in videos.items()
        }
        return kaggle_score(solution, submission, labeled, {name: video.lab_id for name, video in videos.items()})

    def _write(self, folder: Path, videos: Mapping, truth: Mapping, resolved: Mapping, classes: Sequence[str]) -> None:
        ids = short_names(videos)
        events = [event for name, rows in resolved.items() for event in to_events(ids[name], rows, classes)]
        write_submission(folder / 'submission.csv', events)
        for name, video in list(videos.items())[: self.max_pictures]:
            title = name.replace('/', ' ')
            picture = draw_timeline(truth[name], resolved[name], (0, video.num_frames), classes, video.fps, title)
            cv2.imwrite(str(folder / f'timeline_{ids[name].replace("/", "_")}.png'), picture[..., ::-1])
        print_log(f'Wrote {len(events)} intervals to {folder / "submission.csv"} and timelines beside it.', 'current')

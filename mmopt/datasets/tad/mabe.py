"""Videos of Kaggle's MABe challenge, cut into overlapping windows that cover each video whole.

A sample holds, beside the inputs that its pipeline makes: ``segments`` (M, 2) frames of the window, ``actions``,
``agents`` and ``targets`` (M,), with -1 for an agent or target that is not annotated, and ``labeled`` (L, 3): the
(agent, target, action) triples that an annotator looked for. In test mode ``truth`` (N, 5) has start, stop, agent,
target and action, in frames of the video, of each event that touches the window.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmopt.datasets.common import SampleFacts, SeededDataset, find_transform
from mmopt.datasets.common.cut_source import FoundSource
from mmopt.datasets.common.windows import window_starts
from mmopt.datasets.common.wrappers import OF_DATA
from mmopt.datasets.tad.layout import Video, pick_videos, read_videos
from mmopt.datasets.tad.motion import count_inputs
from mmopt.datasets.tad.predict.behaviors import rules_of
from mmopt.datasets.tad.predict.find import find_tracks
from mmopt.datasets.tad.predict.recording import OPTIONS, MergeSettings, TrackFacts, TrackRecording, TrackWindow
from mmopt.datasets.tad.predict.result import BehaviorResult
from mmopt.datasets.tad.store import TrackStore
from mmopt.datasets.tad.tables import count_frames, read_annotation, video_length
from mmopt.datasets.tad.transforms import MotionFeatures
from mmopt.registry import DATASETS
from mmopt.structures import DataSample
from mmopt.utils.errors import DataError, DataNotFoundError, UserError
from mmopt.utils.shipped import tool_command
from mmopt.utils.terminal import nearest
from mmopt.utils.timeline import draw_timeline

__all__ = ['MABeDataset', 'window_starts']


@DATASETS.register_module()
class MABeDataset(SeededDataset):
    """Windows of all labeled videos.

    Args:
        ann_file: train.csv or test.csv, relative to ``data_root``.
        split_file: Text file with one video id per line: only these. Empty: all.
        data_prefix: Folders: ``tracks`` and ``annotations``, relative to ``data_root``. An empty ``annotations`` reads
            none (the competition's test set).
        window: Frames of a window.
        overlap: Frames that neighboring windows share.
        min_visible: Share of an event, or of the window for an event longer than it, that must be visible for the
            event to count in a window.
        labs: Only these laboratories; None: all.
        cache_dir: Folder for parsed tracks, relative to ``data_root``; None keeps them in memory.
        **kwargs: Passed on to :class:`~mmopt.datasets.common.SeededDataset`. ``metainfo['classes']`` names the actions
            in the model's order; without it they are those of ``behaviors_labeled``, sorted.

    Raises:
        ValueError: If ``overlap`` is not in ``[0, window)``.
        DataNotFoundError: If a file is missing.
        DataError: If a file cannot be read or contradicts another.
    """

    METAINFO = dict(task='temporal action detection')
    result_type = BehaviorResult
    predict_options = OPTIONS
    TARGETS = 'intervals'

    def __init__(
        self,
        ann_file: str = 'train.csv',
        *,
        split_file: str = '',
        data_prefix: dict | None = None,
        window: int = 1000,
        overlap: int = 500,
        min_visible: float = 0.25,
        labs: Sequence[str] | None = None,
        cache_dir: str | None = None,
        **kwargs,
    ) -> None:
        if not 0 <= overlap < window:
            raise ValueError(f'overlap must be in [0, window={window}), got {overlap}.')
        self.split_file = split_file
        self.window = window
        self.overlap = overlap
        self.min_visible = min_visible
        self.labs = None if labs is None else set(labs)
        self.cache_dir = cache_dir
        self.videos: list[Video] = []
        """The records that windows refer to by number."""
        self.events: list[np.ndarray] = []
        """Per video (N, 5): start, stop, agent, target, action."""
        prefix = dict(tracks='train_tracking', annotations='train_annotation') if data_prefix is None else data_prefix
        # Asked now: joined with the data root, an empty one is the root itself.
        self._has_annotations = bool(prefix.get('annotations'))
        super().__init__(ann_file=ann_file, data_prefix=prefix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Index the windows."""
        root = Path(self.data_root or '.')
        self.store = TrackStore(None if self.cache_dir is None else root / self.cache_dir)
        known = read_videos(self.ann_file)
        if 'classes' not in self._metainfo:
            self._metainfo['classes'] = tuple(sorted({action for video in known for *_, action in video.labeled}))
        self._check_classes(known)
        # Checkpoints keep it: in a recording that nobody annotated, this is what to look for, and at which rates.
        rates = tuple(sorted({video.fps for video in known}))
        self._metainfo[OF_DATA] = dict(behaviors=rules_of(known), fps=rates)
        windows: list[dict] = []
        for video in self._choose(known):
            path = Path(self.data_prefix['tracks']) / video.lab_id / f'{video.video_id}.parquet'
            events, num_frames = self._read_events(video, count_frames(path))
            number = len(self.videos)
            self.videos.append(video)
            self.events.append(events)
            windows += [
                dict(video=number, path=str(path), start=start, num_frames=num_frames)
                for start in window_starts(num_frames, self.window, self.overlap)
            ]
        return windows

    def _check_classes(self, videos: Sequence[Video]) -> None:
        unknown = {action for video in videos for *_, action in video.labeled} - set(self._metainfo['classes'])
        if unknown:
            raise DataError(
                f'{self.ann_file}: behaviors_labeled has action(s) {sorted(unknown)} that metainfo.classes lacks; add '
                'them there and raise model.num_classes.'
            )

    def _choose(self, known: Sequence[Video]) -> list[Video]:
        labs = sorted({video.lab_id for video in known})
        if unknown := sorted((self.labs or set()) - set(labs)):
            near = nearest(unknown[0], labs)
            hint = f'Did you mean {" or ".join(near)}? ' if near else ''
            raise DataError(f'labs: {self.ann_file} has no {", ".join(unknown)}. {hint}There are: {", ".join(labs)}.')
        chosen = [video for video in known if video.labeled and (self.labs is None or video.lab_id in self.labs)]
        if not chosen:
            raise DataError(
                f'{self.ann_file}: none of the {len(known)} videos'
                + (f' of labs={sorted(self.labs)}' if self.labs is not None else '')
                + ' has behaviors_labeled, so there is nothing to learn or to measure.'
            )
        if self.split_file:
            path = Path(self.data_root or '.') / self.split_file
            if not path.is_file():
                command = tool_command('prepare_mabe', '--data-root', self.data_root or '.')
                raise DataNotFoundError(f'{path} is missing: `{command}` makes it.')
            wanted = {video.name for video in pick_videos(path, known)}
            here = [video for video in chosen if video.name in wanted]
            if not here:
                raise DataError(
                    f'{path}: none of its {len(wanted)} videos is chosen: labeled'
                    + (f' and of labs={sorted(self.labs)}' if self.labs is not None else '')
                    + f' are {", ".join(video.name for video in chosen[:5])}'
                    + (f' and {len(chosen) - 5} more.' if len(chosen) > 5 else '.')
                )
            chosen = here
        return chosen

    def _read_events(self, video: Video, num_tracked: int) -> tuple[np.ndarray, int]:
        """Return the labeled events and the number of frames."""
        if not self._has_annotations:
            return np.zeros((0, 5), dtype=np.int64), num_tracked
        path = Path(self.data_prefix['annotations']) / video.lab_id / f'{video.video_id}.parquet'
        classes = self._metainfo['classes']
        events = read_annotation(path, classes)
        num_frames = video_length(num_tracked, events, path)
        # Nothing can be said of a behavior outside behaviors_labeled, so its events count neither in loss nor metric.
        labeled = {(agent, target, action) for agent, target, action in video.labeled}
        keep = [(agent, target, classes[action]) in labeled for _, _, agent, target, action in events.tolist()]
        return events[np.array(keep, dtype=bool)], num_frames

    def get_data_info(self, idx: int) -> dict:
        """Return what the pipeline starts from: one window with its video's record, events and labeled triples."""
        info = super().get_data_info(idx)
        video = self.videos[info['video']]
        number = {name: index for index, name in enumerate(self._metainfo['classes'])}
        labeled = np.array([(agent, target, number[action]) for agent, target, action in video.labeled])
        return info | dict(
            sample_idx=int(idx),
            epoch=getattr(idx, 'epoch', 0),
            video=video,
            window=self.window,
            min_visible=self.min_visible,
            events=self.events[info['video']],
            labeled=labeled.astype(np.int64).reshape(-1, 3),
            store=self.store,
            test_mode=self.test_mode,
        )

    def nothing_to_learn(self) -> str:
        """Tell whether no video has an event of a labeled behavior."""
        self.full_init()
        if any(len(events) for events in self.events):
            return ''
        folder = self.data_prefix['annotations'] if self._has_annotations else 'no folder of annotations'
        return (
            f'{self.ann_file}: none of the {len(self.videos)} chosen videos has a segment of a behavior in '
            f'behaviors_labeled ({folder}).'
        )

    def describe_sample(self, index: int) -> SampleFacts:
        """Return the intervals that begin in a window and how much of its tracks is missing.

        An interval counts in the first window that shows its start, so that the sum over all windows is right. See
        :mod:`mmopt.datasets.common.facts`.
        """
        self.full_init()
        info = super().get_data_info(index)
        video, events, start = self.videos[info['video']], self.events[info['video']], info['start']
        stop = min(start + self.window, info['num_frames'])
        known = super().get_data_info(index - 1) if index else None
        shown = known['start'] + self.window if known and known['video'] == info['video'] else 0
        new = events[(events[:, 0] >= max(start, shown)) & (events[:, 0] < stop)]
        names = self._metainfo['classes']
        targets = {
            names[action]: float(count) for action, count in zip(*np.unique(new[:, 4], return_counts=True), strict=True)
        }
        tracks_TMP2 = self.store(info['path'], video.body_parts)[start:stop]
        missing = 1.0 - float(np.isfinite(tracks_TMP2).all(-1).mean()) if tracks_TMP2.size else 1.0
        inside = np.clip(events[:, :2], start, stop)
        covered = min(float((inside[:, 1] - inside[:, 0]).sum()) / max(stop - start, 1), 1.0)
        numbers = {'missing points, share': missing, 'frames': float(stop - start), 'share within intervals': covered}
        if len(new):
            numbers['shortest interval frames'] = float((new[:, 1] - new[:, 0]).min())
            numbers['longest interval frames'] = float((new[:, 1] - new[:, 0]).max())
        notes = ('no point is tracked',) if missing == 1.0 else ()
        return SampleFacts(f'{video.name} {start}-{stop}', targets, numbers, notes)

    def anchor_sizes(self) -> np.ndarray:
        """Return the lengths of all events as windows show them, in frames, shape (N, 1): for tools/fit_anchors.py."""
        self.full_init()
        sizes = [np.zeros(0, dtype=np.int64)]
        for index in range(len(self)):
            info = super().get_data_info(index)
            events = self.events[info['video']]
            start, stop = info['start'], info['start'] + self.window
            clipped = np.clip(events[:, :2], start, stop)
            visible, whole = clipped[:, 1] - clipped[:, 0], np.minimum(events[:, 1] - events[:, 0], self.window)
            sizes.append(visible[visible >= np.maximum(self.min_visible * whole, 1)])
        return np.concatenate(sizes)[:, None].astype(np.float64)

    @classmethod
    def example_sample(cls, config: Mapping, max_items: int | None = None) -> dict:
        """Return what the pipeline gives; see :mod:`mmopt.datasets.common.example`.

        Args:
            config: Part of a lowered config.
            max_items: Events of the window, side by side; 32 unless given.

        Returns:
            A sample.

        Raises:
            UserError: If the pipeline has no MotionFeatures, so that the number of channels is not known.
        """
        window, num_events = config.get('window', 1000), 32 if max_items is None else max_items
        features = find_transform(config['pipeline'], 'MotionFeatures')
        if features is None:
            raise UserError(f'{cls.__name__}: its pipeline has no MotionFeatures: the input channels are not known.')
        num_mice = features.get('num_mice', 4)
        num_keypoints = features.get('num_keypoints') or num_mice * len(features['body_parts'])
        num_pairs = num_mice * (num_mice - 1) // 2 if features.get('use_pair_features') else 0
        channels = count_inputs(num_keypoints, features.get('use_motion_features', True), num_pairs)
        num_classes = len((config.get('metainfo') or {}).get('classes') or (0,))
        sample = DataSample(metainfo=dict(window=(0, window), num_frames=window, fps=30.0))
        start = torch.arange(num_events) * window // max(num_events, 1)
        sample.segments = torch.stack((start, start + max(window // max(num_events, 1), 1)), dim=-1).float()
        sample.agents = torch.zeros(num_events, dtype=torch.int64)
        sample.targets, sample.actions = torch.ones_like(sample.agents), torch.zeros_like(sample.agents)
        sample.labeled = torch.stack([torch.tensor([0, 1, action]) for action in range(num_classes)])
        inputs = dict(features=torch.zeros(window, channels), valid=torch.ones(window, dtype=torch.bool))
        return dict(inputs=inputs, data_samples=sample)

    def find_sources(self, named: Any) -> list[FoundSource]:
        """Return the files of tracks that a file or a folder stands for."""
        if named is None:
            raise UserError('There is no source: name a file of tracks or a folder of them.')
        return find_tracks(named)

    def prepare_predict(self, options: Mapping[str, Any], trained: Mapping[str, Any], metrics: Sequence) -> None:
        """Take what holds for all recordings; see :mod:`mmopt.datasets.common.cut_source`."""
        features = next((step for step in self.pipeline.transforms if isinstance(step, MotionFeatures)), None)
        rules = tuple(trained.get(OF_DATA, {}).get('behaviors', ()))
        if not rules and Path(self.ann_file).is_file():
            rules = rules_of(read_videos(self.ann_file))
        self._facts = TrackFacts(
            options=dict(options),
            classes=tuple(self.metainfo['classes']),
            rules=rules,
            rates=tuple(trained.get(OF_DATA, {}).get('fps', ())),
            body_parts=None if features is None else tuple(features.body_parts),
            num_mice=None if features is None else features.num_mice,
            window=self.window,
            merging=MergeSettings.of_metrics(metrics),
        )

    def open_source(self, source: str) -> TrackRecording:
        """Read the tracks of a file."""
        return TrackRecording(source, self._facts, partial(window_starts, window=self.window, overlap=self.overlap))

    def predict_info(self, source: TrackWindow) -> dict:
        """Return what the test pipeline starts from."""
        return source.recording.info(source.start)

    def draw(self, sample: DataSample, image: Tensor | dict | None = None) -> np.ndarray:
        """Draw a window's timeline: truth above prediction, pair by pair.

        Args:
            sample: A sample, with ``pred_segments`` and the like if it was predicted.
            image: Not needed; part of the interface of all data sets.

        Returns:
            uint8 RGB picture.
        """
        del image
        start, stop = sample.window
        columns = [sample.segments + start, sample.agents[:, None], sample.targets[:, None], sample.actions[:, None]]
        truth = np.concatenate([column.cpu().numpy() for column in columns], axis=1)
        predicted = None
        if 'pred_segments' in sample:
            predicted = np.concatenate(
                [(sample.pred_segments + start).cpu().numpy(), sample.pred_triples.cpu().numpy()], axis=1
            )
        title = f'{sample.lab_id} {sample.video_id}'
        return draw_timeline(truth, predicted, (start, stop), self.metainfo['classes'], sample.fps, title)

"""Labeled segments of multi-view driver videos; the layout is in :mod:`mmopt.datasets.video.layout`."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmopt.datasets.common import SampleFacts, SeededDataset
from mmopt.datasets.common.cut_source import FoundSource
from mmopt.datasets.common.film.frame_index import count_frames
from mmopt.datasets.common.pictures import text_size, write_text
from mmopt.datasets.common.wrappers import OF_DATA
from mmopt.datasets.video.chunks import cut_chunks, sample_frames, segments_in_chunk
from mmopt.datasets.video.example import example_driver, host_bytes_driver
from mmopt.datasets.video.layout import (
    DRIVER_ACTIONS,
    DRIVER_VIEWS,
    Recording,
    find_recordings,
    read_ranges,
    read_segments,
)
from mmopt.datasets.video.pictures import draw_skeletons
from mmopt.datasets.video.predict.find import FilmedDrive, drive_of_files, find_drives, parse_views
from mmopt.datasets.video.predict.recording import OPTIONS, Clip, DriveFacts, DriveRecording
from mmopt.datasets.video.predict.result import ActionResult
from mmopt.registry import DATASETS
from mmopt.structures import DataSample
from mmopt.utils.errors import DataError, DataNotFoundError, UserError
from mmopt.utils.shipped import tool_command

__all__ = ['DriverActionDataset']


@DATASETS.register_module()
class DriverActionDataset(SeededDataset):
    """One sample per labeled segment: T frames of each view, the keypoints of these frames, or both.

    What is switched off is neither read nor allocated: without ``load_rgb`` no video has to be there.

    Args:
        split_file: Text file with one ``person/environment`` per line, relative to ``data_root``; empty: all.
        views: Cameras, in order; labels count frames of the first.
        load_rgb: Decode the videos.
        load_kpt: Read the keypoints.
        img_size: Height and width of the frames; one number is both.
        uniform_temporal_subsample_num: Frames T of a sample.
        max_video_frames: Longer videos are cut into chunks of at most so many frames, at the edges of segments where
            they can be; None: no chunks. The samples are the same as long as no segment is longer.
        num_io_threads: Views and keypoint files that a worker reads at the same time.
        max_open_videos: Videos that a worker keeps open; None: as many as there are views. Each holds a dozen frames
            of full size.
        label_first_frame: Number that the label files give to a video's first frame (Label Studio can count from 1).
        pipeline: Transforms; the default loads and packs.
        **kwargs: Passed on to :class:`~mmopt.datasets.common.SeededDataset`. ``metainfo['classes']`` names the actions
            in the model's order.

    Raises:
        ValueError: If a number is out of range or nothing is to be loaded.
        DataNotFoundError: If a file is missing.
        DataError: If a file cannot be read or contradicts another.
    """

    METAINFO = dict(task='driver action recognition', classes=DRIVER_ACTIONS)
    result_type = ActionResult
    predict_options = OPTIONS
    reads_in_order = True
    TARGETS = 'segments'

    def __init__(
        self,
        split_file: str = '',
        *,
        views: Sequence[str] = DRIVER_VIEWS,
        load_rgb: bool = True,
        load_kpt: bool = False,
        img_size: int | tuple[int, int] = 224,
        uniform_temporal_subsample_num: int = 8,
        max_video_frames: int | None = None,
        num_io_threads: int = 1,
        max_open_videos: int | None = None,
        label_first_frame: int = 0,
        pipeline: Sequence[dict | Callable] = (dict(type='LoadDriverClip'), dict(type='PackDriverClip')),
        **kwargs,
    ) -> None:
        if not (load_rgb or load_kpt):
            raise ValueError('load_rgb and load_kpt are both False: nothing would be loaded.')
        counts = dict(
            uniform_temporal_subsample_num=uniform_temporal_subsample_num,
            num_io_threads=num_io_threads,
            max_open_videos=max(len(views), 1) if max_open_videos is None else max_open_videos,
        )
        size = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
        for name, value in (*counts.items(), ('img_size', min(size)), ('number of views', len(views))):
            if value < 1:
                raise ValueError(f'{name} must be at least 1, got {value}.')
        self.split_file = split_file
        self.max_video_frames = max_video_frames
        self.label_first_frame = label_first_frame
        self._options: dict[str, Any] = dict(
            counts, views=tuple(views), load_rgb=load_rgb, load_kpt=load_kpt, img_size=size
        )
        super().__init__(pipeline=pipeline, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Index the segments, chunk by chunk."""
        known = find_recordings(self.data_root or '.')
        ranges = read_ranges(self.data_root or '.')
        samples, num_segments = [], 0
        for recording in self._choose(known):
            segments = self._read_segments(recording, ranges.get(recording.name))
            num_segments += len(segments)
            start, stop = self._span(segments, ranges.get(recording.name))
            for chunk in cut_chunks(segments[:, :2], start, stop, self.max_video_frames):
                inside, local = segments_in_chunk(segments[:, :2], *chunk)
                samples += [
                    dict(recording=recording, chunk=chunk, segment=tuple(span), label=label)
                    for span, label in zip(local.tolist(), segments[inside, 2].tolist(), strict=True)
                ]
        if samples:  # checkpoints keep it: so long are windows of a recording that nobody annotated
            lengths = [sample['segment'][1] - sample['segment'][0] for sample in samples]
            self._metainfo[OF_DATA] = dict(segment_frames=int(np.median(lengths)))
        if len(samples) != num_segments:
            print_log(
                f'{len(samples) - num_segments} segments more than labeled: those longer than max_video_frames='
                f'{self.max_video_frames} were cut. A larger value keeps them whole.',
                'current',
                level=logging.WARNING,
            )
        return samples

    def explain_empty(self) -> str:
        """Say which files name no segment."""
        folder = Path(self.data_root or '.')
        recordings = self._choose(find_recordings(folder))
        files = ', '.join(str(recording.label_path) for recording in recordings[:3])
        more = f' and {len(recordings) - 3} more' if len(recordings) > 3 else ''
        return f'the {len(recordings)} chosen recordings have no labeled segment ({files}{more}); choose others.'

    def _choose(self, known: Sequence[Recording]) -> list[Recording]:
        if not self.split_file:
            return list(known)
        path = Path(self.data_root or '.') / self.split_file
        if not path.is_file():
            command = tool_command('prepare_driver', '--data-root', self.data_root or '.')
            raise DataNotFoundError(f'{path} is missing: `{command}` makes it.')
        by_name = {recording.name: recording for recording in known}
        wanted = path.read_text(encoding='utf-8').split()
        absent = [name for name in wanted if name not in by_name]
        if absent:
            raise DataError(f'{path}: {len(absent)} recordings are not in videos_split: {", ".join(absent[:5])}.')
        if not wanted:
            raise DataError(f'{path}: the file names no recording.')
        return [by_name[name] for name in wanted]

    def _read_segments(self, recording: Recording, span: tuple[int, int] | None) -> np.ndarray:
        """Return the segments, clipped to the video and to its annotated part."""
        segments = read_segments(recording.label_path, self._metainfo['classes'], self.label_first_frame)
        start, stop = span or (0, np.iinfo(np.int64).max)
        if self._options['load_rgb']:
            first = self._options['views'][0]
            stop = min(stop, count_frames(recording.video_path(first), recording.index_path(first)))
        beyond = segments[segments[:, 0] >= stop] if span is None else segments[:0]
        if len(beyond):
            raise DataError(
                f'{recording.label_path}: a segment begins at frame {beyond[0, 0]}, the video has {stop} frames.'
            )
        segments[:, :2] = np.clip(segments[:, :2], start, stop)
        return segments[segments[:, 1] > segments[:, 0]]

    @staticmethod
    def _span(segments: np.ndarray, span: tuple[int, int] | None) -> tuple[int, int]:
        """Return the part of a recording that is cut into chunks; what lies behind the last label needs none."""
        last = int(segments[:, 1].max(initial=0))
        return (0, last) if span is None else (span[0], min(span[1], max(last, span[0])))

    def get_data_info(self, idx: int) -> dict:
        """Return what the pipeline starts from: one segment, its frames, and what of them to load.

        ``source_files`` are all files that the sample is made of: a cache of samples has to notice when one changes.
        """
        info = super().get_data_info(idx) | self._options
        recording = info['recording']
        start, stop = info['segment']
        frames_T = info['chunk'][0] + sample_frames(start, stop, info['uniform_temporal_subsample_num'])
        files = [recording.video_path(view) for view in info['views']] if info['load_rgb'] else []
        if info['load_kpt']:
            files += [recording.keypoint_path(frame) for frame in frames_T.tolist()]
        return info | dict(frames=frames_T, source_files=[str(path) for path in files])

    def describe_sample(self, index: int) -> SampleFacts:
        """Return class and length of a segment; see :mod:`mmopt.datasets.common.facts`."""
        self.full_init()
        info = self.get_data_info(index)
        start, stop = info['segment']
        first = info['chunk'][0] + start
        name = f'{info["recording"].name} {first}-{first + stop - start}'
        targets = {self.metainfo['classes'][info['label']]: 1.0}
        wanted = info['uniform_temporal_subsample_num']
        notes = (f'{stop - start} frames are fewer than the {wanted} of a sample',) if stop - start < wanted else ()
        return SampleFacts(name, targets, {'length frames': float(stop - start)}, notes)

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the class of a segment, for ``ClassBalancedDataset``."""
        return [super().get_data_info(idx)['label']]

    @classmethod
    def example_sample(cls, config: Mapping, max_items: int | None = None) -> dict:
        """Return what the pipeline gives, without the data; see :mod:`mmopt.datasets.common.example`."""
        del max_items  # one label per clip
        return example_driver(config)

    @classmethod
    def host_bytes(cls, config: Mapping) -> dict[str, int]:
        """Return what a loader process holds per sample; see :mod:`mmopt.datasets.common.example`."""
        return host_bytes_driver(config)

    def find_sources(self, named: Any) -> list[FoundSource]:
        """Return the recordings that a folder stands for, or the one whose files were named by view."""
        views, given = self._options['views'], self._facts.options
        keypoints = None if given.get('keypoints') is None else Path(given['keypoints'])
        needs_films = self._options['load_rgb']
        videos = named if isinstance(named, Mapping) else given.get('view')
        if named is None and videos is None and keypoints is not None and not needs_films:
            return find_drives(keypoints, views, None, needs_films=False)
        if named is None and videos is None:
            raise UserError('There is no source: name the folder of a recording, or its files with --view VIEW=FILE.')
        if videos is None:
            return find_drives(Path(named), views, keypoints, needs_films=needs_films)
        if not needs_films:
            raise UserError('The model sees no videos: name the folder of the keypoints.')
        if named is not None and named is not videos:
            raise UserError(f'{named}: --view names the files of the recording already.')
        return [drive_of_files(parse_views(videos), views, keypoints)]

    def prepare_predict(self, options: Mapping[str, Any], trained: Mapping[str, Any], metrics: Sequence) -> None:
        """Take what holds for all recordings; see :mod:`mmopt.datasets.common.cut_source`."""
        del metrics  # nothing of them changes what is predicted
        self._facts = DriveFacts(
            options=dict(options),
            classes=tuple(self.metainfo['classes']),
            segment_frames=trained.get(OF_DATA, {}).get('segment_frames'),
            label_first_frame=self.label_first_frame,
            loading=self._options,
        )

    def open_source(self, source: FilmedDrive) -> DriveRecording:
        """Look into the files of a recording."""
        return DriveRecording(source, self._facts)

    def predict_info(self, source: Clip) -> dict:
        """Return what the test pipeline starts from."""
        return source.recording.info(source.start, source.stop)

    def draw(self, sample: DataSample, image: dict | None = None) -> np.ndarray:
        """Draw the clips, a row per view, and the keypoints, under the label and, if there is one, the prediction.

        Args:
            sample: A sample, with ``pred_label`` if it was predicted.
            image: The packed ``inputs``; without them only the text is drawn.

        Returns:
            uint8 RGB picture.
        """
        classes = self.metainfo['classes']
        label = int(sample.label)
        truth = classes[label] if label >= 0 else 'unknown'
        text = f'{sample.recording}  {sample.frames[0]}-{sample.frames[-1]}   truth: {truth}'
        color = (30, 30, 30)
        if 'pred_label' in sample:
            predicted = int(sample.pred_label)
            text += f'   predicted: {classes[predicted]} {float(sample.pred_scores[predicted]):.2f}'
            if label >= 0:  # in words, too: not everybody tells the colors apart
                text += ', correct' if predicted == label else ', wrong'
                color = (0, 120, 0) if predicted == label else (190, 0, 0)
        clips = [value.cpu().numpy() for name, value in (image or {}).items() if name != 'keypoints']
        rows = [np.concatenate(list(clip_3THW.transpose(1, 2, 3, 0)), axis=1) for clip_3THW in clips]
        if image is not None and 'keypoints' in image:
            rows.append(draw_skeletons(image['keypoints'].cpu().numpy(), sample.frames))
        width = max([row.shape[1] for row in rows] + [text_size(text)[0] + 16])
        rows = [np.pad(row, ((0, 2), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
        title = np.full((26, width, 3), 255, np.uint8)
        picture = np.ascontiguousarray(np.concatenate([title, *rows]))
        write_text(picture, text, 8, 4, color=color)
        return picture

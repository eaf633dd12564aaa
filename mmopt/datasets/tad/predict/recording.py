"""One file of tracks as a recording that is cut into windows.

Shape letters: T frames, M mice, P body parts.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mmopt.datasets.common.cut_source import CutSource, number_option
from mmopt.datasets.tad.layout import Video, read_videos
from mmopt.datasets.tad.predict.behaviors import expand_rules
from mmopt.datasets.tad.predict.result import BehaviorResult
from mmopt.datasets.tad.prepare.poses import read_poses
from mmopt.datasets.tad.prepare.tracks import PoseTracks
from mmopt.datasets.tad.tables import list_body_parts, read_tracks
from mmopt.ops.merge_events import JOIN_MARGIN, NMS_IOU, SCORE_THRESHOLD, merge_windows
from mmopt.structures import DataSample
from mmopt.utils.errors import DataError, UserError

__all__ = ['OPTIONS', 'MergeSettings', 'TrackFacts', 'TrackRecording', 'TrackWindow']

_LOGGER = logging.getLogger('mmopt.predict')
_FAR = 1.5
"""A rate beyond this factor of those of the training is said."""
OPTIONS = dict(
    fps='frames per second',
    pix_per_cm='scale',
    arena_cm='longer side of the arena; default: of the area that was tracked',
    min_likelihood='points below it count as missing',
    behaviors='what to look for: mouse1,mouse2,attack or self,rear or pair,sniff or all,investigation',
    parts='names of body parts in the file and in the model: tailbase=tail_base',
)
"""What the user can say of tracks."""


@dataclass(frozen=True)
class MergeSettings:
    """How an evaluation makes the events of a recording of those of its windows."""

    nms_iou: float = NMS_IOU
    join_margin: float = JOIN_MARGIN
    score_threshold: float = SCORE_THRESHOLD

    @classmethod
    def of_metrics(cls, metrics: Sequence[Mapping[str, Any]]) -> 'MergeSettings':
        """Take the settings of the evaluation's metric."""
        for metric in metrics:
            if str(metric.get('type')).rpartition('.')[2] == 'TemporalDetection':
                return cls(**{name: metric[name] for name in cls.__dataclass_fields__ if name in metric})
        return cls()


@dataclass(frozen=True)
class TrackFacts:
    """What the model and the user say of all recordings.

    Attributes:
        options: What the user said; see :data:`OPTIONS`.
        rules: What to look for; see :mod:`mmopt.datasets.tad.predict.behaviors`. Empty: only what a list of videos
            says.
        rates: Frames per second of the training's videos; empty: unknown.
        body_parts: Parts of the model; None: whatever a file has.
        num_mice: Mice of the model; None: any number.
    """

    options: Mapping[str, Any]
    classes: tuple[str, ...]
    rules: tuple[str, ...]
    rates: tuple[float, ...]
    body_parts: tuple[str, ...] | None
    num_mice: int | None
    window: int
    merging: MergeSettings


@dataclass(frozen=True)
class TrackWindow:
    """A part of a recording, from a frame on."""

    recording: 'TrackRecording'
    start: int


class TrackRecording(CutSource):
    """Tracks, and what is to be known of them.

    A file in the layout of MABe (``train_tracking/<lab>/<id>.parquet``) has its rate, scale, arena and behaviors in
    the list of videos (``train.csv``) beside the folder; what the user says comes first.

    Args:
        path: The file.
        facts: What holds for all.
        starts: From the number of frames to where windows start.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If it cannot be read, or does not fit the model.
        UserError: If something is not known that must be said.
    """

    def __init__(self, path: str, facts: TrackFacts, starts: Any) -> None:
        self.path = Path(path)
        self.facts = facts
        self.listed = _listed(self.path)
        tracks = self._rename(self._read())
        self.num_frames = len(tracks.position_TMP2)
        misfits = self._misfits(tracks)
        self.video = self._describe(tracks)
        for note in (*tracks.notes, *misfits, *self._odd_rate()):
            _LOGGER.warning(f'{path}: {note}')
        self.individuals = tracks.individuals
        if self.listed is not None:
            self._tracks_TMP2 = tracks.position_TMP2
        else:  # the corner of the area that was tracked is the origin, as of a session that is imported
            self._tracks_TMP2 = tracks.position_TMP2 - _corner(tracks.position_TMP2)
        self.parts = [TrackWindow(self, start) for start in starts(self.num_frames)]

    def _read(self) -> PoseTracks:
        least = number_option(dict(self.facts.options), 'min_likelihood', lambda v: 0 <= v <= 1, 'between 0 and 1')
        if self.path.suffix.lower() != '.parquet':
            tracks = read_poses(self.path, least or 0.0)
        else:
            names = list_body_parts(self.path) if self.listed is None else list(self.listed.body_parts)
            position_TMP2 = read_tracks(self.path, names)
            mice = tuple(f'mouse{number + 1}' for number in range(position_TMP2.shape[1]))
            tracks = PoseTracks(position_TMP2, mice, tuple(names))
        if not np.isfinite(tracks.position_TMP2).any():
            raise DataError(f'{self.path}: no point is tracked{f" with a likelihood of {least:g}" if least else ""}.')
        return tracks

    def _names(self) -> dict[str, str]:
        """Return what the model calls the parts of files."""
        given = self.facts.options.get('parts') or ()
        pairs = [text.partition('=') for text in ([given] if isinstance(given, str) else given)]
        if wrong := [name for name, sign, other in pairs if not (name and sign and other)]:
            raise UserError(f'--parts {wrong[0]}: write FILE=MODEL, such as tailbase=tail_base.')
        return {name: other for name, _, other in pairs}

    def _rename(self, tracks: PoseTracks) -> PoseTracks:
        named = self._names()
        if unknown := sorted(named.keys() - set(tracks.body_parts)):
            raise DataError(
                f'{self.path}: --parts names {", ".join(unknown)}, but the tracks are of '
                f'{", ".join(tracks.body_parts)}.'
            )
        parts = tuple(named.get(part, part) for part in tracks.body_parts)
        return PoseTracks(tracks.position_TMP2, tracks.individuals, parts, tracks.notes)

    def _misfits(self, tracks: PoseTracks) -> list[str]:
        """Say what of the tracks the model does not see, and refuse those of which it would see nothing."""
        notes = []
        if (needed := self.facts.body_parts) is not None:
            lacking = [part for part in needed if part not in tracks.body_parts]
            if len(lacking) == len(needed):
                raise DataError(
                    f'{self.path}: has none of the body parts that the model sees ({", ".join(needed)}), but '
                    f'{", ".join(tracks.body_parts)}. Say which is which: --parts FILE=MODEL ...'
                )
            if lacking and self.listed is None:
                notes.append(f'the model sees {", ".join(lacking)}, too, which count as missing here.')
        num_animals = tracks.position_TMP2.shape[1]
        if self.facts.num_mice is not None and num_animals > self.facts.num_mice:
            notes.append(
                f'of its {num_animals} animals the model sees the first {self.facts.num_mice}: '
                f'{", ".join(tracks.individuals[: self.facts.num_mice])}.'
            )
        return notes

    def _odd_rate(self) -> list[str]:
        fps, rates = self.video.fps, self.facts.rates
        if not rates or min(rates) / _FAR <= fps <= max(rates) * _FAR:
            return []
        known = f'{min(rates):g}' if len(rates) == 1 else f'{min(rates):g} to {max(rates):g}'
        return [
            f'its {fps:g} frames per second are far from the {known} that the model was trained at: windows and '
            'lengths of behaviors are learned in frames.'
        ]

    def _describe(self, tracks: PoseTracks) -> Video:
        listed, options = self.listed, dict(self.facts.options)

        def positive(name: str) -> float | None:
            return number_option(options, name, lambda value: value > 0, 'more than 0')

        fps = positive('fps') or (listed and listed.fps)
        scale = positive('pix_per_cm') or (listed and listed.pixels_per_cm)
        if not fps or not scale:
            flags = [flag for flag, value in (('--fps', fps), ('--pix-per-cm', scale)) if not value]
            raise UserError(
                f'{self.path}: nothing says its {"frame rate" if not fps else "scale"}: say {" and ".join(flags)}. '
                'Only files in the layout of MABe have a train.csv or test.csv that does.'
            )
        if listed is not None:
            size_px = listed.size_px
        else:
            position = tracks.position_TMP2
            width, height = np.floor(np.nanmax(position, axis=(0, 1, 2)) - _corner(position)) + 1
            size_px = (float(width), float(height))
        arena = positive('arena_cm') or (listed.arena_cm if listed else max(size_px) / scale)
        num_seen = min(tracks.position_TMP2.shape[1], self.facts.num_mice or tracks.position_TMP2.shape[1])
        return Video(
            lab_id=listed.lab_id if listed else '',
            video_id=self.path.stem,
            fps=fps,
            pixels_per_cm=scale,
            size_px=size_px,
            arena_cm=arena,
            body_parts=tracks.body_parts,
            labeled=tuple((a, t, self.facts.classes[c]) for a, t, c in self._behaviors(num_seen)),
        )

    def _behaviors(self, num_seen: int) -> list[tuple[int, int, int]]:
        given = self.facts.options.get('behaviors')
        rules = self.facts.rules if given is None else [given] if isinstance(given, str) else list(given)
        if given is None and self.listed is not None and self.listed.labeled:
            number = {name: place for place, name in enumerate(self.facts.classes)}
            return [(a, t, number[action]) for a, t, action in self.listed.labeled if action in number]
        if not rules:
            raise UserError(
                f'{self.path}: nothing says which behaviors to look for, and the checkpoint is older than those that '
                'know: say --behaviors, such as pair,attack self,rear or, of a session, all,investigation.'
            )
        triples = expand_rules(rules, self.facts.classes, num_seen)
        if not triples:
            raise DataError(
                f'{self.path}: its {num_seen} animal{"s" * (num_seen > 1)} can do none of {", ".join(rules)}.'
            )
        return triples

    def info(self, start: int) -> dict[str, Any]:
        """Return what the pipeline starts from."""
        number = {name: place for place, name in enumerate(self.facts.classes)}
        labeled = [(agent, target, number[action]) for agent, target, action in self.video.labeled]
        return dict(
            path=str(self.path),
            store=lambda path, parts: self._tracks_TMP2,
            video=self.video,
            start=start,
            num_frames=self.num_frames,
            window=self.facts.window,
            min_visible=0.0,
            events=np.zeros((0, 5), dtype=np.int64),
            labeled=np.array(labeled, dtype=np.int64).reshape(-1, 3),
            test_mode=False,
        )

    def join(self, samples: Sequence[DataSample]) -> BehaviorResult:
        """Merge the windows as the evaluation does."""
        rows, scores, windows = [], [], []
        for sample in samples:
            start, stop = sample.get('window')
            segments = sample.get('pred_segments').cpu().numpy().astype(np.float64) + start
            rows.append(np.concatenate((segments, sample.get('pred_triples').cpu().numpy()), axis=1))
            scores.append(sample.get('pred_scores').cpu().numpy().astype(np.float64))
            windows.append(np.tile([[start, stop]], (len(segments), 1)))
        merging = self.facts.merging
        merged, merged_scores = merge_windows(
            np.concatenate(rows), np.concatenate(scores), np.concatenate(windows), merging.nms_iou, merging.join_margin
        )
        return BehaviorResult(
            merged,
            merged_scores,
            self.facts.classes,
            video=self.video,
            num_frames=self.num_frames,
            individuals=self.individuals,
            threshold=merging.score_threshold,
        )


def _corner(position_TMP2: np.ndarray) -> np.ndarray:
    return np.floor(np.nanmin(position_TMP2, axis=(0, 1, 2)))


def _listed(path: Path) -> Video | None:
    """Return the row of the list of videos, of a file in the layout of MABe."""
    path = path.resolve()  # a working folder may be inside of the layout
    folder = path.parent.parent
    if path.suffix.lower() != '.parquet' or not folder.name.endswith('_tracking'):
        return None
    table = folder.parent / f'{folder.name.removesuffix("_tracking")}.csv'
    if not table.is_file():
        return None
    return _videos(table, table.stat().st_mtime_ns).get(f'{path.parent.name}/{path.stem}')


@cache
def _videos(table: Path, changed_ns: int) -> dict[str, Video]:
    del changed_ns  # a changed list is read again
    return {video.name: video for video in read_videos(table)}

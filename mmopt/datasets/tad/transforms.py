"""From a window of a video to the network's input and its labels.

Shape letters: T frames of the window, M mice, P body parts, 2 = x and y.
"""

from collections.abc import Sequence

import numpy as np
import torch

from mmopt.datasets.tad.motion import closeness, fill_gaps, motion_features
from mmopt.registry import TRANSFORMS
from mmopt.structures import DataSample

__all__ = ['CutTracks', 'MirrorArena', 'MotionFeatures', 'PackTracks', 'ShuffleMice']

_CONTEXT = 2  # frames before the window that its first acceleration needs


@TRANSFORMS.register_module()
class CutTracks:
    """Cut the window, fill short gaps, go from pixels to cm from the arena's center.

    Writes ``position_TMP2`` (cm, NaN where missing; ``context`` frames more at the beginning), ``start``, ``stop`` and
    ``context``. A window gives the same values as cutting the whole interpolated video.

    Args:
        max_gap_s: Longest gap that is interpolated, in seconds.
        jitter: Frames by which the window may move in either direction, drawn anew each epoch.
    """

    def __init__(self, max_gap_s: float = 0.5, jitter: int = 0) -> None:
        self.max_gap_s = max_gap_s
        self.jitter = jitter

    def __call__(self, results: dict) -> dict:
        video, num_frames = results['video'], results['num_frames']
        start = results['start']
        if self.jitter:
            start += int(results['rng'].integers(-self.jitter, self.jitter + 1))
        start = min(max(start, 0), max(num_frames - results['window'], 0))
        stop = min(start + results['window'], num_frames)
        max_gap = round(self.max_gap_s * video.fps)
        # Enough around the window to see both ends of every gap that is short enough to be filled.
        first, last = max(start - _CONTEXT - max_gap - 1, 0), min(stop + max_gap + 1, num_frames)
        tracks_TMP2 = np.array(results['store'](results['path'], video.body_parts)[first:last], dtype=np.float32)
        # Tracks end where the last animal was seen; the video may go on.
        unseen = last - first - len(tracks_TMP2)
        tracks_TMP2 = np.pad(tracks_TMP2, ((0, unseen), (0, 0), (0, 0), (0, 0)), constant_values=np.nan)
        filled = fill_gaps(tracks_TMP2.reshape(len(tracks_TMP2), -1, 2), max_gap).reshape(tracks_TMP2.shape)
        context = min(start, _CONTEXT)
        cut_TMP2 = filled[start - context - first : stop - first]
        center_px = np.array(video.size_px, dtype=np.float32) / 2
        position_TMP2 = (cut_TMP2 - center_px) / np.float32(video.pixels_per_cm)
        return results | dict(position_TMP2=position_TMP2, start=start, stop=stop, context=context)


@TRANSFORMS.register_module()
class MirrorArena:
    """Mirror the arena along either axis and swap the axes, each with probability one half.

    Behaviors do not depend on where north is; speeds and accelerations stay as they are.
    """

    def __call__(self, results: dict) -> dict:
        mirror_x, mirror_y, swap = results['rng'].random(3) < 0.5
        position_TMP2 = results['position_TMP2'] * np.where([mirror_x, mirror_y], -1, 1).astype(np.float32)
        return results | dict(position_TMP2=position_TMP2[..., ::-1] if swap else position_TMP2)


@TRANSFORMS.register_module()
class ShuffleMice:
    """Renumber the mice of the video, in tracks and labels alike: which one is mouse 1 says nothing of its behavior.

    Agents and targets that are not annotated stay so.
    """

    def __call__(self, results: dict) -> dict:
        position_TMP2 = results['position_TMP2']
        labeled, events = results['labeled'], results['events']
        # A labeled mouse may have no track in this video.
        num_mice = max(position_TMP2.shape[1], int(labeled[:, :2].max(initial=-1)) + 1)
        new_of_old = results['rng'].permutation(num_mice)
        shuffled = np.full((len(position_TMP2), num_mice, *position_TMP2.shape[2:]), np.nan, dtype=np.float32)
        shuffled[:, new_of_old[: position_TMP2.shape[1]]] = position_TMP2
        renumber = np.append(new_of_old, -1)  # index -1, not annotated, stays -1
        labeled, events = labeled.copy(), events.copy()
        labeled[:, :2] = renumber[labeled[:, :2]]
        events[:, 2:4] = renumber[events[:, 2:4]]
        return results | dict(position_TMP2=shuffled, labeled=labeled, events=events)


@TRANSFORMS.register_module()
class MotionFeatures:
    """Turn positions into input channels; see :func:`mmopt.datasets.tad.motion.motion_features`.

    Labs track other parts of other numbers of mice: every part of the list below has its place for every mouse, and
    what a lab lacks is missing throughout, like a point that was not seen.

    Args:
        body_parts: Parts, in the order of the channels.
        num_mice: Mice; further ones are left out.
        num_keypoints: Only the first so many of the ``num_mice * len(body_parts)`` keypoints; None: all.
        use_motion_features: Whether speed and acceleration follow the coordinates.
        use_pair_features: Whether closeness of each pair of mice follows; not part of the published inputs. A network
            learns distances from coordinates only when it sees enough of them: a single session is not enough.
    """

    def __init__(
        self,
        body_parts: Sequence[str],
        num_mice: int = 4,
        num_keypoints: int | None = None,
        use_motion_features: bool = True,
        use_pair_features: bool = False,
    ) -> None:
        self.body_parts = list(body_parts)
        self.num_mice = num_mice
        self.num_keypoints = num_keypoints
        self.use_motion_features = use_motion_features
        self.use_pair_features = use_pair_features

    def __call__(self, results: dict) -> dict:
        video, position_TMP2 = results['video'], results['position_TMP2']
        slots = np.full((len(position_TMP2), self.num_mice, len(self.body_parts), 2), np.nan, dtype=np.float32)
        shared = [part for part in self.body_parts if part in video.body_parts]
        to = [self.body_parts.index(part) for part in shared]
        source = [video.body_parts.index(part) for part in shared]
        mice = min(self.num_mice, position_TMP2.shape[1])
        slots[:, :mice, to] = position_TMP2[:, :mice, source]
        position_TK2 = slots.reshape(len(slots), -1, 2)[:, : self.num_keypoints]
        features_TC = motion_features(position_TK2, video.fps, video.arena_cm, self.use_motion_features)
        if self.use_pair_features:
            features_TC = np.concatenate((features_TC, closeness(slots)), axis=1, dtype=np.float32)
        return results | dict(features_TC=features_TC[results['context'] :])


@TRANSFORMS.register_module()
class PackTracks:
    """Pad to the window, clip the events to it, and make the sample.

    ``inputs`` is ``dict(features=float32 (window, C), valid=bool (window,))``; for the other fields see
    :mod:`mmopt.datasets.tad.mabe`.
    """

    def __call__(self, results: dict) -> dict:
        video, window, start, stop = (results[key] for key in ('video', 'window', 'start', 'stop'))
        features_TC = results['features_TC']
        padded_TC = np.zeros((window, features_TC.shape[1]), dtype=np.float32)
        padded_TC[: stop - start] = features_TC
        events = results['events']
        clipped = np.clip(events[:, :2], start, stop) - start
        visible = clipped[:, 1] - clipped[:, 0]
        whole = np.minimum(events[:, 1] - events[:, 0], window)
        keep = visible >= np.maximum(results['min_visible'] * whole, 1)
        sample = DataSample(
            metainfo=dict(
                sample_idx=results['sample_idx'],
                epoch=results['epoch'],
                lab_id=video.lab_id,
                video_id=video.video_id,
                fps=video.fps,
                num_frames=results['num_frames'],
                window=(start, stop),
            )
        )
        sample.segments = torch.from_numpy(clipped[keep].astype(np.float32))
        sample.agents, sample.targets, sample.actions = torch.from_numpy(events[keep, 2:].T.copy())
        sample.labeled = torch.from_numpy(results['labeled'])
        if results['test_mode']:
            touches = (events[:, 0] < stop) & (events[:, 1] > start)
            sample.truth = torch.from_numpy(events[touches].copy())
        valid_T = torch.arange(window) < stop - start
        return dict(inputs=dict(features=torch.from_numpy(padded_TC), valid=valid_T), data_samples=sample)

"""Which body parts tell the behaviors of a session: a linear probe, in a second, in the place of trainings.

A part that is often lost, or whose identity swaps, teaches a small model more about the tracker than about the animals:
on the rats of the docs, two parts beside the body took the frame F1 of both behaviors below an input-blind baseline.
How often a part is seen does not tell such parts; how well frames of another part of the session are classified does.

Shape letters: T frames, M animals, P body parts, F features, C behaviors and "none of them".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmopt.datasets.tad.layout import Video
from mmopt.datasets.tad.motion import closeness, fill_gaps, motion_features

__all__ = ['ProbePart', 'choose_parts', 'probe_score']

_MAX_GAP_S = 60.0  # as CutTracks of the configs
_LEAST_GAIN = 0.02  # of a further part: less is chance
_MOST_CANDIDATES = 16
_RIDGE = 0.01


@dataclass(frozen=True)
class ProbePart:
    """A part of a session.

    Attributes:
        video: Its record.
        tracks_TMP2: Positions in pixels.
        label_T: Behavior of each frame; the number of behaviors where there is none.
    """

    video: Video
    tracks_TMP2: np.ndarray
    label_T: np.ndarray


def choose_parts(train: ProbePart, val: ProbePart, length: float, most: int) -> tuple[tuple[str, ...], float]:
    """Choose body parts one after the other, as long as one more classifies the frames of ``val`` better.

    Args:
        train: What the probe is fitted to.
        val: What it is measured on.
        length: Of a usual interval, in frames: the probe sees means over it.
        most: Parts at most.

    Returns:
        Names in the order of the tracks, and the probe's score with them.
    """
    visible_P = np.isfinite(train.tracks_TMP2).all(-1).mean(axis=(0, 1))
    seldom = np.flatnonzero(visible_P < 0.5 * visible_P.max()).tolist()
    candidates = [int(part) for part in np.argsort(-visible_P, kind='stable') if part not in seldom][:_MOST_CANDIDATES]
    chosen: list[int] = []
    best = -1.0
    while len(chosen) < most and (rest := [part for part in candidates if part not in chosen]):
        scores = {part: probe_score(train, val, [*chosen, part], length) for part in rest}
        part = max(rest, key=scores.__getitem__)
        if chosen and scores[part] < best + _LEAST_GAIN:
            break
        chosen.append(part)
        best = scores[part]
    return tuple(train.video.body_parts[part] for part in sorted(chosen)), best


def probe_score(train: ProbePart, val: ProbePart, parts: Sequence[int], length: float) -> float:
    """Return the frame F1, mean over the behaviors that occur, of ridge regression on features of some body parts.

    Args:
        train: What it is fitted to.
        val: What it is measured on.
        parts: Numbers of the parts.
        length: Of a usual interval, in frames.

    Returns:
        The score; 0 where no behavior occurs in ``val``.
    """
    features_TF, seen_TF = (_features(part, parts, length) for part in (train, val))
    mean_F, spread_F = features_TF.mean(axis=0), features_TF.std(axis=0) + 1e-6
    # What lies far outside of what was seen says nothing new.
    features_TF, seen_TF = (
        np.pad(np.clip((values - mean_F) / spread_F, -5, 5), ((0, 0), (0, 1)), constant_values=1.0)
        for values in (features_TF, seen_TF)
    )
    num_classes = 1 + int(max(train.label_T.max(), val.label_T.max()))
    gram_FF = features_TF.T @ features_TF + _RIDGE * len(features_TF) * np.eye(features_TF.shape[1])
    weights_FC = np.linalg.solve(gram_FF, features_TF.T @ np.eye(num_classes)[train.label_T])
    guess_T = (seen_TF @ weights_FC).argmax(axis=1)
    none = len({action for *_, action in train.video.labeled})
    occurring = [label for label in np.unique(val.label_T).tolist() if label != none]
    scores = [
        2
        * ((guess_T == label) & (val.label_T == label)).sum()
        / ((guess_T == label).sum() + (val.label_T == label).sum())
        for label in occurring
    ]
    return float(np.mean(scores)) if scores else 0.0


def _features(part: ProbePart, parts: Sequence[int], length: float) -> np.ndarray:
    """Return speeds, accelerations and closeness, which do not depend on the place or the animals' order (T, F)."""
    video, position_TMP2 = part.video, part.tracks_TMP2[:, :, list(parts)]
    num_frames, num_mice = position_TMP2.shape[:2]
    filled = fill_gaps(position_TMP2.reshape(num_frames, -1, 2), round(_MAX_GAP_S * video.fps))
    center_px = np.array(video.size_px, dtype=np.float32) / 2
    position_TK2 = (filled - center_px) / np.float32(video.pixels_per_cm)
    num_points = position_TK2.shape[1]
    moving = motion_features(position_TK2, video.fps, video.arena_cm, True)[:, 2 * num_points :]
    # The root: a few fast frames must not rule a linear model.
    moving = np.sqrt(moving.reshape(num_frames, 2, num_mice, -1))
    features = [moving.mean(axis=2).reshape(num_frames, -1), moving.max(axis=2).reshape(num_frames, -1)]
    if num_mice > 1:
        features.append(closeness(position_TK2.reshape(position_TMP2.shape)))
    own_TF = np.concatenate(features, axis=1, dtype=np.float64)
    short, long = max(3, int(length / 4)), max(5, int(length))
    near_TF = _moving_mean(own_TF, short)
    spread_TF = np.sqrt(np.maximum(_moving_mean(own_TF**2, short) - near_TF**2, 0.0))
    return np.concatenate((own_TF, near_TF, _moving_mean(own_TF, long), spread_TF), axis=1)


def _moving_mean(values_TF: np.ndarray, window: int) -> np.ndarray:
    sums = np.cumsum(np.pad(values_TF, ((1, 0), (0, 0))), axis=0)
    first = np.arange(len(values_TF)) - window // 2
    start, stop = np.clip(first, 0, len(values_TF)), np.clip(first + window, 0, len(values_TF))
    return (sums[stop] - sums[start]) / (stop - start)[:, None]

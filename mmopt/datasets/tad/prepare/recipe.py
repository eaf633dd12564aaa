"""Configs for one session: what its frames, animals and intervals say about window, anchors, inputs and model size.

Every number follows by the rules below from the first part of the session, the one that is trained on, but for the
body parts, which are chosen by the middle one; none is fitted to the part that is reported.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmopt.datasets.tad.layout import Video, read_videos
from mmopt.datasets.tad.mabe import MABeDataset
from mmopt.datasets.tad.motion import count_inputs
from mmopt.datasets.tad.prepare.config_text import V6, V7
from mmopt.datasets.tad.prepare.probe import ProbePart, choose_parts
from mmopt.datasets.tad.prepare.session import ImportedSession
from mmopt.datasets.tad.tables import read_annotation, read_tracks
from mmopt.ops.fit_anchors import anchor_recall, fit_anchors
from mmopt.utils.errors import DataError
from mmopt.utils.whole_file import write_whole

__all__ = ['Recipe', 'plan', 'write_configs']

_MIN_FRAMES = 200  # of the training part: below it there are no four windows of any use
_STRIDE = 4  # of the encoder with its two poolings
_FRAMES_PER_BATCH = 8000
_MIN_WINDOW, _MAX_WINDOW = 128, 1000
_LEAST_RECALL = 0.95  # of the anchors, at an IoU of 0.5
_MIN_ANCHORS, _MAX_ANCHORS = 5, 8
_MOST_POINTS = 8  # of all animals together
# Frames to train on, up to which a model of this width is used: weights per frame stay below about five.
_WIDTHS = ((30_000, 32), (150_000, 64), (float('inf'), 128))


@dataclass(frozen=True)
class Recipe:
    """Everything in which the configs of two sessions differ.

    Attributes:
        classes: Behaviors that have an interval.
        body_parts: The network's inputs.
        probe: Frame F1 of a linear model with them on the middle part.
        num_mice: Animals.
        window: Frames of V7's window.
        v6_window: Frames of V6's.
        pool: Factor of each of the encoder's poolings: 2, or 1 where events are as short as its stride.
        anchor_lengths: In frames.
        recall: Share of the training part's events that they reach at an IoU of 0.5.
        width: Channels of the encoder.
        iters: Of V7.
        smooth: V6's moving average over the scores, in frames; odd.
        min_frames: Shortest interval that V6 gives.
    """

    classes: tuple[str, ...]
    body_parts: tuple[str, ...]
    probe: float
    num_mice: int
    window: int
    v6_window: int
    pool: int
    anchor_lengths: tuple[float, ...]
    recall: float
    width: int
    iters: int
    smooth: int
    min_frames: int


def plan(root: Path, session: ImportedSession) -> Recipe:
    """Derive the recipe from the training part of an imported session.

    Args:
        root: The data root that was written.
        session: What was imported.

    Returns:
        The recipe.

    Raises:
        DataError: If the training part is too short or has no interval.
    """
    num_frames, events = session.frames['train'], session.events['train']
    lengths = np.array([stop - start for start, stop, _ in events])
    if num_frames < _MIN_FRAMES or not len(lengths):
        raise DataError(
            f'{root}: the part to train on has {num_frames} frames and {len(lengths)} intervals; it needs '
            f'{_MIN_FRAMES} and one. Annotate more of the session, or make the other parts smaller (--val-share, '
            '--test-share).'
        )
    numbered = {name: number for number, name in enumerate(session.classes)}
    short, middle, long = np.percentile(lengths, [10, 50, 75])
    pool = 1 if short < 2 * _STRIDE else 2
    window = int(np.clip(4 * long, _MIN_WINDOW, min(_MAX_WINDOW, num_frames // 4))) // _STRIDE * _STRIDE
    width = next(width for most, width in _WIDTHS if num_frames <= most)
    dataset = MABeDataset(
        data_root=str(root), split_file='splits/train.txt', window=window, overlap=overlap_of(window),
        metainfo=dict(classes=session.classes),
    )  # fmt: skip
    anchors, recall = _anchors(dataset.anchor_sizes())
    parts = {
        video.video_id.rpartition('_')[2]: _probe_part(root, video, numbered)
        for video in read_videos(root / 'train.csv')
    }
    body_parts, probe = choose_parts(
        parts['train'], parts['val'], float(middle), max(1, _MOST_POINTS // session.num_mice)
    )
    return Recipe(
        classes=session.classes,
        body_parts=body_parts,
        probe=probe,
        num_mice=session.num_mice,
        window=window,
        v6_window=min(window, _MAX_WINDOW // 2),
        pool=pool,
        anchor_lengths=anchors,
        recall=recall,
        width=width,
        iters=int(240 * np.clip(num_frames / 10_000, 1.0, 10.0) ** 0.5),
        smooth=int(np.clip(middle / 5, 1, 101)) // 2 * 2 + 1,
        min_frames=max(1, int(np.percentile(lengths, 5) / 3)),
    )


def _probe_part(root: Path, video: Video, numbered: dict[str, int]) -> ProbePart:
    name = Path(video.lab_id, f'{video.video_id}.parquet')
    tracks = read_tracks(root / 'train_tracking' / name, video.body_parts)
    label_T = np.full(len(tracks), len(numbered))
    for start, stop, _, _, action in read_annotation(root / 'train_annotation' / name, list(numbered)):
        label_T[start:stop] = action
    return ProbePart(video, tracks, label_T)


def overlap_of(window: int) -> int:
    """Return how many frames neighboring windows share: four fifths, so that every event is whole in one of them."""
    return window * 4 // 5


def _anchors(sizes_N1: np.ndarray) -> tuple[tuple[float, ...], float]:
    """Return as few anchors as reach nearly all events, and the share that they reach."""
    most = min(_MAX_ANCHORS, len(np.unique(sizes_N1)))
    for number in range(min(_MIN_ANCHORS, most), most + 1):
        anchors = fit_anchors(sizes_N1, number)
        recall = anchor_recall(sizes_N1, anchors)
        if recall >= _LEAST_RECALL:
            break
    return tuple(round(float(length), 1) for length in anchors[:, 0]), recall


def write_configs(root: Path, recipe: Recipe, num_frames: int, here: str) -> list[Path]:
    """Write ``tad_v7.py`` and ``tad_v6.py`` into the data root.

    Args:
        num_frames: Frames to train on, for a comment.
        here: What the folder is called in commands.

    Returns:
        Their paths.
    """
    pairs = recipe.num_mice * (recipe.num_mice - 1) // 2
    inputs = count_inputs(recipe.num_mice * len(recipe.body_parts), num_pairs=pairs)
    shared = dict(in_channels=inputs, width=recipe.width)
    v7 = V7.format(
        **shared, here=here, classes=list(recipe.classes), body_parts=list(recipe.body_parts), probe=recipe.probe,
        num_mice=recipe.num_mice, num_parts=len(recipe.body_parts), window=recipe.window, jitter=recipe.window // 10,
        overlap=overlap_of(recipe.window), num_frames=num_frames, pool=recipe.pool, anchors=recipe.anchor_lengths,
        recall=recipe.recall, batch=max(4, _FRAMES_PER_BATCH // recipe.window), iters=recipe.iters, threshold=0.2,
    )  # fmt: skip
    v6 = V6.format(
        **shared, window=recipe.v6_window, smooth=recipe.smooth,
        min_frames=recipe.min_frames, batch=max(4, _FRAMES_PER_BATCH // 2 // recipe.v6_window),
        overlap=recipe.v6_window // 2, iters=recipe.iters // 2,
    )  # fmt: skip
    paths = []
    for name, text in (('tad_v7.py', v7), ('tad_v6.py', v6)):
        path = root / name
        write_whole(path, text)
        paths.append(path)
    return paths

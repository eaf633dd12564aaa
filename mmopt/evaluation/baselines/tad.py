"""What temporal action detection reaches without looking at the tracks."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmopt.evaluation.tad.intervals import count_frames, count_matches, f1
from mmopt.registry import FUNCTIONS, METRICS

__all__ = ['RandomIntervals', 'always_the_action']


@FUNCTIONS.register_module()
def always_the_action(train_dataset: Any, val_dataset: Any) -> dict[str, float]:
    """Predict, for each action by itself, that it goes on in every frame for everybody whom an annotator looked at.

    An action on a share p of the frames is then found with an F1 of 2 p / (1 + p): more than any prediction at random
    times reaches.

    Args:
        train_dataset: Not needed; part of the interface of all baselines.
        val_dataset: A data set with ``videos`` and ``events``.

    Returns:
        ``frame_F1.<action>`` and ``frame_F1_overlapping.<action>``, which are the same here, of the actions that occur.
    """
    del train_dataset
    classes = val_dataset.metainfo['classes']
    counts = np.zeros((3, len(classes)), dtype=np.int64)
    for video, (_, truth, length) in zip(val_dataset.videos, _labs(val_dataset), strict=True):
        whole = [(0, length, agent, target, classes.index(action)) for agent, target, action in video.labeled]
        counts += count_frames(np.array(whole, dtype=np.int64).reshape(-1, 5), truth, length, len(classes))
    return _frame_tables(classes, counts)


def _frame_tables(classes: Sequence[str], counts: np.ndarray) -> dict[str, float]:
    occurs = counts[[0, 2]].sum(axis=0) > 0
    values = {name: float(value) for name, value, is_there in zip(classes, f1(counts), occurs, strict=True) if is_there}
    return {
        f'{table}.{name}': value for table in ('frame_F1', 'frame_F1_overlapping') for name, value in values.items()
    }


@METRICS.register_module()
class RandomIntervals:
    """What knowing everything but the tracks achieves: events at random times.

    Lengths, triples and events per frame are those of the training videos of the same laboratory; the mean over
    ``draws`` is given. A model that looks at the tracks must be better.

    Args:
        f1_iou: Least overlap of a right interval.
        draws: Repetitions.
        seed: Of the random numbers.
    """

    def __init__(self, f1_iou: float = 0.5, draws: int = 10, seed: int = 0) -> None:
        self.f1_iou = f1_iou
        self.draws = draws
        self.rng = np.random.default_rng(seed)

    def __call__(self, train_dataset: Any, val_dataset: Any) -> dict[str, float]:
        """Draw events for the validation videos and score them.

        Args:
            train_dataset: A data set with ``videos`` and ``events``.
            val_dataset: The same.

        Returns:
            ``F1``; of the actions that occur ``F1.<action>``, ``frame_F1.<action>`` and
            ``frame_F1_overlapping.<action>``: its events may overlap in both.
        """
        known: dict[str, list] = {}
        frames: dict[str, int] = {}
        for lab, events, length in _labs(train_dataset):
            known.setdefault(lab, []).append(events)
            frames[lab] = frames.get(lab, 0) + length
        classes = val_dataset.metainfo['classes']
        num_classes = len(classes)
        counts, frame_counts = np.zeros((2, 3, num_classes), dtype=np.int64)
        for _ in range(self.draws):
            for lab, truth, length in _labs(val_dataset):
                pool = np.concatenate(known.get(lab, [np.zeros((0, 5), dtype=np.int64)]))
                number = self.rng.poisson(len(pool) * length / frames[lab]) if len(pool) else 0
                drawn = pool[self.rng.integers(len(pool), size=number)] if number else pool[:0]
                start = self.rng.integers(0, length, size=number)
                stop = np.minimum(start + drawn[:, 1] - drawn[:, 0], length)
                rows = np.concatenate((start[:, None], stop[:, None], drawn[:, 2:]), axis=1)
                counts += count_matches(rows, self.rng.random(number), truth, self.f1_iou, num_classes)
                frame_counts += count_frames(rows, truth, length, num_classes)
        occurs = counts[[0, 2]].sum(axis=0) > 0
        by_action = {f'F1.{name}': float(v) for name, v, o in zip(classes, f1(counts), occurs, strict=True) if o}
        return dict(F1=float(f1(counts.sum(axis=1)))) | by_action | _frame_tables(classes, frame_counts)


def _labs(dataset: Any) -> list[tuple[str, np.ndarray, int]]:
    """Return laboratory, events and frames of every video."""
    dataset.full_init()
    windows = map(dataset.get_data_info, range(len(dataset)))
    length = {window['video'].name: window['num_frames'] for window in windows}
    return [(v.lab_id, e, length[v.name]) for v, e in zip(dataset.videos, dataset.events, strict=True)]

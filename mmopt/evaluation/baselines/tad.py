"""What temporal action detection reaches without looking at the tracks."""

from typing import Any

import numpy as np

from mmopt.evaluation.tad.intervals import count_matches, f1
from mmopt.registry import METRICS

__all__ = ['RandomIntervals']


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
            ``F1``.
        """
        known: dict[str, list] = {}
        frames: dict[str, int] = {}
        for lab, events, length in _labs(train_dataset):
            known.setdefault(lab, []).append(events)
            frames[lab] = frames.get(lab, 0) + length
        num_classes = len(val_dataset.metainfo['classes'])
        counts = np.zeros((3, num_classes), dtype=np.int64)
        for _ in range(self.draws):
            for lab, truth, length in _labs(val_dataset):
                pool = np.concatenate(known.get(lab, [np.zeros((0, 5), dtype=np.int64)]))
                number = self.rng.poisson(len(pool) * length / frames[lab]) if len(pool) else 0
                drawn = pool[self.rng.integers(len(pool), size=number)] if number else pool[:0]
                start = self.rng.integers(0, length, size=number)
                stop = np.minimum(start + drawn[:, 1] - drawn[:, 0], length)
                rows = np.concatenate((start[:, None], stop[:, None], drawn[:, 2:]), axis=1)
                counts += count_matches(rows, self.rng.random(number), truth, self.f1_iou, num_classes)
        return dict(F1=float(f1(counts.sum(axis=1))))


def _labs(dataset: Any) -> list[tuple[str, np.ndarray, int]]:
    """Return laboratory, events and frames of every video."""
    dataset.full_init()
    windows = map(dataset.get_data_info, range(len(dataset)))
    length = {window['video'].name: window['num_frames'] for window in windows}
    return [(v.lab_id, e, length[v.name]) for v, e in zip(dataset.videos, dataset.events, strict=True)]

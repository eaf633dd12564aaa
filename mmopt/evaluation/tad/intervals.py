"""Interval metrics of temporal action detection: F1 and mean average precision over temporal IoU.

An event is a row of five numbers: start, stop (excluded), agent, target, action. A prediction is right when agent,
target and action are equal and the IoU is large enough; it takes the truth that it overlaps most among those that no
better prediction has taken.

Shape letters: N predictions, M true events.
"""

from collections.abc import Sequence

import numpy as np

__all__ = ['average_precision', 'count_frames', 'count_matches', 'f1', 'match_intervals']


def match_intervals(
    predicted_N5: np.ndarray, scores_N: np.ndarray, truth_M5: np.ndarray, min_iou: float
) -> tuple[np.ndarray, np.ndarray]:
    """Match the predictions of one video, best first.

    Args:
        scores_N: Among equals the earlier comes first.
        truth_M5: True events.
        min_iou: Least overlap of a right prediction.

    Returns:
        Which predictions are right (N,) and which true events are found (M,), both bool.
    """
    right_N, found_M = np.zeros(len(predicted_N5), dtype=bool), np.zeros(len(truth_M5), dtype=bool)
    if not len(predicted_N5) or not len(truth_M5):
        return right_N, found_M
    shared = np.minimum(predicted_N5[:, None, 1], truth_M5[None, :, 1])
    shared = np.clip(shared - np.maximum(predicted_N5[:, None, 0], truth_M5[None, :, 0]), 0, None).astype(np.float64)
    length_N1, length_M = (predicted_N5[:, 1] - predicted_N5[:, 0])[:, None], truth_M5[:, 1] - truth_M5[:, 0]
    iou_NM = shared / np.maximum(length_N1 + length_M - shared, 1e-9)
    iou_NM[(predicted_N5[:, None, 2:] != truth_M5[None, :, 2:]).any(-1)] = -1.0
    for n in np.argsort(-scores_N, kind='stable'):
        best = int(np.argmax(iou_NM[n]))
        if iou_NM[n, best] >= min_iou:
            right_N[n] = found_M[best] = True
            iou_NM[:, best] = -1.0
    return right_N, found_M


def count_matches(
    predicted_N5: np.ndarray, scores_N: np.ndarray, truth_M5: np.ndarray, min_iou: float, num_classes: int
) -> np.ndarray:
    """Count true positives, false positives and false negatives of each action, shape (3, num_classes)."""
    right_N, found_M = match_intervals(predicted_N5, scores_N, truth_M5, min_iou)
    actions_N = predicted_N5[:, 4].astype(np.int64)
    actions_M = truth_M5[:, 4].astype(np.int64)
    groups = (actions_N[right_N], actions_N[~right_N], actions_M[~found_M])
    return np.stack([np.bincount(group, minlength=num_classes) for group in groups])


def count_frames(predicted_N5: np.ndarray, truth_M5: np.ndarray, num_frames: int, num_classes: int) -> np.ndarray:
    """Count frames that are true positives, false positives and false negatives of each action, summed over pairs.

    Args:
        predicted_N5: Predictions of one video in whole frames; a frame that two of one triple share counts once.
        truth_M5: True events.
        num_frames: Frames of the video.
        num_classes: Actions.

    Returns:
        Shape (3, num_classes).
    """
    counts = np.zeros((3, num_classes), dtype=np.int64)
    for triple in set(map(tuple, np.concatenate((predicted_N5, truth_M5))[:, 2:].tolist())):
        masks = np.zeros((2, num_frames), dtype=bool)
        for mask, rows in zip(masks, (predicted_N5, truth_M5), strict=True):
            for start, stop in rows[(rows[:, 2:] == triple).all(axis=1), :2]:
                mask[start:stop] = True
        pred, true = masks
        counts[:, triple[2]] += (pred & true).sum(), (pred & ~true).sum(), (~pred & true).sum()
    return counts


def f1(counts: np.ndarray) -> np.ndarray:
    """Return 2 tp / (2 tp + fp + fn) over the first axis (tp, fp, fn); 0 where nothing was counted."""
    tp, fp, fn = counts.astype(np.float64)
    return 2 * tp / np.maximum(2 * tp + fp + fn, 1e-9)


def average_precision(right: Sequence[bool], scores: Sequence[float], num_truth: int) -> float:
    """Return the area under the interpolated precision-recall curve.

    Args:
        right: Which predictions of the data set are right.
        num_truth: True events.

    Returns:
        Average precision in [0, 1]; NaN without a true event.
    """
    if not num_truth:
        return float('nan')
    right_sorted = np.asarray(right, dtype=np.float64)[np.argsort(-np.asarray(scores), kind='stable')]
    tp = np.cumsum(right_sorted)
    precision = tp / np.arange(1, len(tp) + 1)
    # The best precision at this recall or any higher one.
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((envelope * right_sorted).sum() / num_truth)

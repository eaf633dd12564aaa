"""Pictures of boxes: the truth in green, predictions in orange with their confidence."""

from collections.abc import Sequence

import cv2
import numpy as np

from mmopt.datasets.common.pictures import text_size, write_text
from mmopt.structures import DataSample

__all__ = ['PREDICTION', 'TRUTH', 'draw_boxes']

TRUTH, PREDICTION = (90, 220, 90), (255, 150, 40)
_TEXT = 11
_PIXELS_PER_LINE, _PIXELS_PER_TEXT = 800, 70
"""Longer sides of a picture per pixel of its lines and of its font."""
_ENLARGE_BELOW = 480
"""Narrower pictures are shown at twice the size: on them a line is as wide as a part of what it surrounds."""
_MIN_SCORE = 0.25
"""Weaker predictions are candidates for the metric, not for people."""


def draw_boxes(
    picture: np.ndarray, sample: DataSample, classes: Sequence[str], min_score: float = _MIN_SCORE
) -> np.ndarray:
    """Draw boxes and, where there are, predictions.

    Args:
        picture: uint8 RGB (H, W, 3).
        sample: Has ``boxes`` in its pixels, and perhaps predictions.
        classes: Names; of a single one only the confidence is written.
        min_score: Weaker predictions are left out.

    Returns:
        A new picture, twice as large where the given one is small.
    """
    zoom = 2 if picture.shape[1] < _ENLARGE_BELOW else 1
    picture = cv2.resize(picture, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC) if zoom > 1 else picture.copy()
    largest = max(picture.shape[:2])
    line, size = max(round(largest / _PIXELS_PER_LINE), 1), max(round(largest / _PIXELS_PER_TEXT), _TEXT)
    for box in (sample.boxes * zoom).round().int().tolist():
        cv2.rectangle(picture, box[:2], box[2:], TRUTH, line)
    if 'pred_boxes' not in sample:
        return picture
    written: list[tuple[int, int, int]] = []
    boxes = (sample.pred_boxes * zoom).round().int().tolist()
    for box, score, label in zip(boxes, sample.pred_scores.tolist(), sample.pred_labels.tolist(), strict=True):
        if score < min_score:
            continue
        cv2.rectangle(picture, box[:2], box[2:], PREDICTION, line)
        text = f'{score:.2f}' if len(classes) == 1 else f'{classes[label]} {score:.2f}'
        left, top, right = _place(box, text, size, picture.shape, written)
        behind = picture[top : top + size + 3, max(left - 1, 0) : right + 2]
        behind //= 4  # bright sky and snow hide orange letters
        write_text(picture, text, left, top, size=size, color=PREDICTION)
        written.append((left, top, right))
    return picture


def _place(
    box: Sequence[int], text: str, size: int, shape: Sequence[int], written: Sequence[tuple[int, int, int]]
) -> tuple[int, int, int]:
    """Find left, top and right of a text: above the box, else below, inside of the picture and on no other text."""
    height, line = shape[0], size + 4
    width = text_size(text, size)[0]
    left = max(min(box[0], shape[1] - width - 2), 0)
    above, below = max(box[1] - line, 0), min(box[3] + 1, height - line)
    for top in (above, below, above - line, below + line):
        is_free = all(abs(top - t) >= line or left > r or left + width < x for x, t, r in written)
        if is_free and 0 <= top <= height - line:
            return left, top, left + width
    return left, above, left + width

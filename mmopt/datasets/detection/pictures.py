"""Pictures of boxes: predictions in solid lines with their confidence, the truth in dashed ones with its name.

Every class has a color of its own, the same in all pictures; the truth is green. Who sees no colors tells both by the
dashes. Lines are edged in black and letters stand on a darkened ground, so that they show on any background.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from mmopt.datasets.common.pictures import text_size, write_text
from mmopt.structures import DataSample

__all__ = ['PREDICTION', 'TRUTH', 'class_color', 'draw_boxes']

TRUTH, PREDICTION = (90, 220, 90), (255, 150, 40)
_COLORS = (
    PREDICTION, (90, 190, 255), (255, 120, 210), (250, 230, 70), (185, 150, 255), (80, 230, 225), (255, 110, 100),
    (255, 200, 160),
)  # fmt: skip
_TEXT = 11
_PIXELS_PER_LINE, _PIXELS_PER_TEXT = 800, 70
"""Longer sides of a picture per pixel of its lines and of its font."""
_ENLARGE_BELOW = 480
"""Narrower pictures are shown at twice the size: on them a line is as wide as a part of what it surrounds."""
_MIN_SCORE = 0.25
"""Weaker predictions are candidates for the metric, not for people."""

Text = tuple[int, int, int]
"""Left, top and right of a text that is written."""


def class_color(label: int) -> tuple[int, int, int]:
    """Return the color of a class: light, not the truth's green, and the same wherever it is drawn."""
    return _COLORS[label % len(_COLORS)]


def draw_boxes(
    picture: np.ndarray, sample: DataSample, classes: Sequence[str], min_score: float = _MIN_SCORE
) -> np.ndarray:
    """Draw boxes and, where there are, predictions.

    Args:
        picture: uint8 RGB (H, W, 3).
        sample: Has ``boxes`` in its pixels, their ``labels`` if they are to be named, and perhaps predictions.
        classes: Names; of a single one only the confidence of predictions is written.
        min_score: Weaker predictions are left out.

    Returns:
        A new picture, twice as large where the given one is small.
    """
    zoom = 2 if picture.shape[1] < _ENLARGE_BELOW else 1
    picture = cv2.resize(picture, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC) if zoom > 1 else picture.copy()
    largest = max(picture.shape[:2])
    line, size = max(round(largest / _PIXELS_PER_LINE), 1), max(round(largest / _PIXELS_PER_TEXT), _TEXT)
    truth = (sample.boxes * zoom).round().int().tolist()
    named = 'labels' in sample and len(sample.labels) == len(truth)
    labels = sample.labels.tolist() if named else []
    shown = _predictions(sample, zoom, min_score)
    for box in truth:
        _edge(picture, box, line)
    for box, _, label in shown:
        _edge(picture, box, line)
        cv2.rectangle(picture, box[:2], box[2:], class_color(label), line)
    for box in truth:
        # On top of the predictions: where both agree, the solid line shows between the dashes.
        _dashed(picture, box, TRUTH, line)
    written: list[Text] = []
    for box, score, label in shown:
        text = f'{score:.2f}' if len(classes) == 1 else f'{classes[label]} {score:.2f}'
        _write(picture, box, text, size, class_color(label), written, is_below=False)
    for box, label in zip(truth, labels, strict=False):
        _write(picture, box, classes[label], size, TRUTH, written, is_below=True)
    return picture


def _predictions(sample: DataSample, zoom: int, min_score: float) -> list[tuple[list[int], float, int]]:
    if 'pred_boxes' not in sample:
        return []
    boxes = (sample.pred_boxes * zoom).round().int().tolist()
    found = zip(boxes, sample.pred_scores.tolist(), sample.pred_labels.tolist(), strict=True)
    return [(box, score, label) for box, score, label in found if score >= min_score]


def _edge(picture: np.ndarray, box: Sequence[int], line: int) -> None:
    """Draw a black frame around a frame: inside of it everything stays visible."""
    width = -(-line // 2)
    outside = line // 2 + width
    x1, y1, x2, y2 = box
    cv2.rectangle(picture, (x1 - outside, y1 - outside), (x2 + outside, y2 + outside), (0, 0, 0), width)


def _dashed(picture: np.ndarray, box: Sequence[int], color: tuple[int, int, int], line: int) -> None:
    """Draw a frame in dashes, at least three on a side, with one at every corner."""
    x1, y1, x2, y2 = box
    wanted = 8 * line + 4
    for start, stop in (((x1, y1), (x2, y1)), ((x1, y2), (x2, y2)), ((x1, y1), (x1, y2)), ((x2, y1), (x2, y2))):
        first, last = np.array(start, float), np.array(stop, float)
        num_parts = max(2 * round(float(np.abs(last - first).sum()) / wanted / 2) + 1, 5)
        marks = first + (last - first) * np.linspace(0, 1, num_parts + 1)[:, None]
        for begin, end in zip(marks[0::2], marks[1::2], strict=True):
            cv2.line(picture, begin.round().astype(int).tolist(), end.round().astype(int).tolist(), color, line)


def _write(
    picture: np.ndarray,
    box: Sequence[int],
    text: str,
    size: int,
    color: tuple[int, int, int],
    written: list[Text],
    *,
    is_below: bool,
) -> None:
    left, top, right = _place(box, text, size, picture.shape, written, is_below=is_below)
    behind = picture[top : top + size + 3, max(left - 1, 0) : right + 2]
    behind //= 4  # bright sky and snow hide light letters
    write_text(picture, text, left, top, size=size, color=color)
    written.append((left, top, right))


def _place(
    box: Sequence[int], text: str, size: int, shape: Sequence[int], written: Sequence[Text], *, is_below: bool
) -> Text:
    """Find left, top and right of a text: beside the box, inside of the picture and on no other text."""
    height, line = shape[0], size + 4
    width = text_size(text, size)[0]
    left = max(min(box[0], shape[1] - width - 2), 0)
    above, below = max(box[1] - line, 0), min(box[3] + 2, height - line)
    tops = (below, below + line, above, above - line) if is_below else (above, below, above - line, below + line)
    for top in tops:
        is_free = all(abs(top - t) >= line or left > r or left + width < x for x, t, r in written)
        if is_free and 0 <= top <= height - line:
            return left, top, left + width
    return left, max(tops[0], 0), left + width

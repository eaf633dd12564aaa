"""An image with boxes in numbers, see :mod:`mmopt.datasets.common.facts`."""

from collections.abc import Sequence

import numpy as np

from mmopt.datasets.common.facts import SampleFacts

__all__ = ['describe_boxes']

_WHOLE = 0.98  # share of the image from which a box looks like a mistake
_SAME = 0.95  # overlap from which two boxes of a class look like one


def describe_boxes(
    name: str, size: Sequence[int], boxes_M4: np.ndarray, labels_M: np.ndarray, classes: Sequence[str]
) -> SampleFacts:
    """Count and measure the boxes of one image.

    Args:
        name: Its file.
        size: Height and width.
        boxes_M4: x1, y1, x2, y2 in pixels.
        labels_M: Their classes.
        classes: Names of the classes.

    Returns:
        The facts; boxes that are there twice, or are the whole image, are noted.
    """
    height, width = size[:2]
    numbers = {'width px': float(width), 'height px': float(height), 'boxes': float(len(boxes_M4))}
    notes = []
    if len(boxes_M4):
        sides_M2 = boxes_M4[:, 2:] - boxes_M4[:, :2]
        side_M = np.sqrt(sides_M2.prod(axis=1))
        numbers |= {'smallest box px': float(side_M.min()), 'largest box px': float(side_M.max())}
        numbers['longest box, long over short side'] = float((sides_M2.max(axis=1) / sides_M2.min(axis=1)).max())
        whole = int((sides_M2.prod(axis=1) >= _WHOLE * height * width).sum())
        if whole:
            notes.append(f'{whole} box{"es are" if whole > 1 else " is"} the whole image')
        if twins := _count_twins(boxes_M4, labels_M):
            notes.append(f'{twins} box{"es are" if twins > 1 else " is"} there twice')
    targets = {
        classes[label]: float(count) for label, count in zip(*np.unique(labels_M, return_counts=True), strict=True)
    }
    return SampleFacts(name, targets, numbers, tuple(notes))


def _count_twins(boxes_M4: np.ndarray, labels_M: np.ndarray) -> int:
    top_left = np.maximum(boxes_M4[:, None, :2], boxes_M4[None, :, :2])
    bottom_right = np.minimum(boxes_M4[:, None, 2:], boxes_M4[None, :, 2:])
    shared_MM = np.clip(bottom_right - top_left, 0, None).prod(axis=-1)
    area_M = (boxes_M4[:, 2:] - boxes_M4[:, :2]).prod(axis=1)
    iou_MM = shared_MM / np.maximum(area_M[:, None] + area_M[None] - shared_MM, 1e-9)
    same_MM = (iou_MM >= _SAME) & (labels_M[:, None] == labels_M[None])
    return int(np.triu(same_MM, k=1).any(axis=0).sum())

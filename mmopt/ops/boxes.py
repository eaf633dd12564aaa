"""Boxes (x1, y1, x2, y2) in pixels of one image: overlaps, and the overlaps that losses are made of.

Papers: GIoU, https://arxiv.org/abs/1902.09630; CIoU, https://arxiv.org/abs/1911.08287.

Shape letters: N and M boxes.
"""

import math

import torch
from torch import Tensor

__all__ = ['box_area', 'box_iou', 'intersection', 'paired_ciou', 'paired_giou', 'paired_iou']

_EPS = 1e-7


def box_area(boxes_N4: Tensor) -> Tensor:
    """Return the areas (N,); 0 where a box is turned inside out."""
    return (boxes_N4[..., 2:] - boxes_N4[..., :2]).clamp(min=0).prod(dim=-1)


def intersection(boxes: Tensor, others: Tensor, offset: int = 0) -> Tensor:
    """Return the area that boxes share with others, both (..., 4) and broadcast.

    An ``offset`` of 1 says that corners are pixels which belong to the box, so that its width is x2 - x1 + 1.
    """
    # Column by column, each in one piece: a reduction over a last dimension of two is ten times slower, and so is
    # arithmetic that steps over the other columns.
    left, top, right, bottom = (column.contiguous() for column in boxes.unbind(-1))
    other_left, other_top, other_right, other_bottom = (column.contiguous() for column in others.unbind(-1))
    width = (torch.minimum(right, other_right) - torch.maximum(left, other_left) + offset).clamp(min=0)
    height = (torch.minimum(bottom, other_bottom) - torch.maximum(top, other_top) + offset).clamp(min=0)
    return width * height


def box_iou(boxes_N4: Tensor, others_M4: Tensor) -> Tensor:
    """Return the IoU of every box with every other, shape (N, M); 0 where both have no area."""
    shared_NM = intersection(boxes_N4[:, None], others_M4)
    union_NM = box_area(boxes_N4)[:, None] + box_area(others_M4)[None] - shared_NM
    return shared_NM / union_NM.clamp(min=_EPS)


def _overlap(boxes_N4: Tensor, others_N4: Tensor) -> tuple[Tensor, Tensor]:
    shared_N = intersection(boxes_N4, others_N4)
    return shared_N, (box_area(boxes_N4) + box_area(others_N4) - shared_N).clamp(min=_EPS)


def paired_iou(boxes_N4: Tensor, others_N4: Tensor) -> Tensor:
    """Return the IoU of each box with the other of the same place, shape (N,)."""
    shared_N, union_N = _overlap(boxes_N4, others_N4)
    return shared_N / union_N


def _hull(boxes_N4: Tensor, others_N4: Tensor) -> Tensor:
    """Return width and height (N, 2) of the smallest box around both."""
    low = torch.minimum(boxes_N4[:, :2], others_N4[:, :2])
    return torch.maximum(boxes_N4[:, 2:], others_N4[:, 2:]) - low


def paired_giou(boxes_N4: Tensor, others_N4: Tensor) -> Tensor:
    """Return the generalized IoU, in (-1, 1]: IoU less the share of the hull that neither box covers."""
    shared_N, union_N = _overlap(boxes_N4, others_N4)
    hull_N = _hull(boxes_N4, others_N4).prod(dim=-1).clamp(min=_EPS)
    return shared_N / union_N - (hull_N - union_N) / hull_N


def paired_ciou(boxes_N4: Tensor, others_N4: Tensor) -> Tensor:
    """Return the complete IoU: IoU less the distance of the centers and the difference of the aspect ratios.

    As in the paper, no gradient flows through the weight of the aspect term.
    """
    shared_N, union_N = _overlap(boxes_N4, others_N4)
    iou_N = shared_N / union_N
    diagonal_N = _hull(boxes_N4, others_N4).square().sum(dim=-1).clamp(min=_EPS)
    twice_apart_N2 = boxes_N4[:, :2] + boxes_N4[:, 2:] - others_N4[:, :2] - others_N4[:, 2:]
    distance_N = twice_apart_N2.square().sum(dim=-1) / 4
    angle_N, other_angle_N = (
        torch.atan2(box[:, 2] - box[:, 0], (box[:, 3] - box[:, 1]).clamp(min=_EPS)) for box in (boxes_N4, others_N4)
    )
    aspect_N = 4 / math.pi**2 * (angle_N - other_angle_N).square()
    with torch.no_grad():
        weight_N = aspect_N / (1 - iou_N + aspect_N).clamp(min=_EPS)
    return iou_N - distance_N / diagonal_N - weight_N * aspect_N

"""Overlaps of boxes (x1, y1, x2, y2) as mmcv defines them: of pixels or points, over the union or the first box.

Shape letters: N and M boxes; P pairs of boxes.
"""

from torch import Tensor

from mmopt.ops.boxes import intersection

__all__ = ['box_overlaps', 'paired_box_overlaps']


def box_overlaps(boxes_N4: Tensor, others_M4: Tensor, over_first: bool = False, offset: int = 0) -> Tensor:
    """Compute the overlap of every box with every other.

    Args:
        boxes_N4: The first boxes, by whose areas ``over_first`` divides.
        others_M4: With what they are compared.
        over_first: Whether the shared area is divided by that of the first box, not of the union.
        offset: 1 where corners are pixels that belong to the box, as in MMDetection 1.x.

    Returns:
        (N, M); 0 where there is nothing to divide by.
    """
    shared_NM = intersection(boxes_N4[:, None], others_M4, offset)
    return _share(shared_NM, _area(boxes_N4, offset)[:, None], _area(others_M4, offset), over_first)


def paired_box_overlaps(boxes_P4: Tensor, others_P4: Tensor, over_first: bool = False, offset: int = 0) -> Tensor:
    """Return the overlap (P,) of each box with the other of the same place; see :func:`box_overlaps`."""
    shared_P = intersection(boxes_P4, others_P4, offset)
    return _share(shared_P, _area(boxes_P4, offset), _area(others_P4, offset), over_first)


def _share(shared: Tensor, area: Tensor, other_area: Tensor, over_first: bool) -> Tensor:
    # Without the epsilon of our own IoU: overlaps are compared with thresholds, where mmcv's last bit decides.
    return (shared / (area if over_first else area + other_area - shared)).nan_to_num_(nan=0.0)


def _area(boxes_N4: Tensor, offset: int) -> Tensor:
    left_N, top_N, right_N, bottom_N = boxes_N4.unbind(-1)
    return (right_N - left_N + offset) * (bottom_N - top_N + offset)

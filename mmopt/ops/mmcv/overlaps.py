"""Overlaps of boxes (x1, y1, x2, y2) as mmcv defines them: of pixels or points, over the union or the first box.

Shape letters: N and M boxes.
"""

from torch import Tensor

from mmopt.ops.boxes import intersection

__all__ = ['box_overlaps']


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
    shared_NM = intersection(boxes_N4, others_M4, offset)
    area_N1 = _area(boxes_N4, offset)[:, None]
    # Without the epsilon of our own IoU: overlaps are compared with thresholds, where mmcv's last bit decides.
    whole_NM = area_N1 if over_first else area_N1 + _area(others_M4, offset) - shared_NM
    return (shared_NM / whole_NM).nan_to_num_(nan=0.0)


def _area(boxes_N4: Tensor, offset: int) -> Tensor:
    left_N, top_N, right_N, bottom_N = boxes_N4.unbind(-1)
    return (right_N - left_N + offset) * (bottom_N - top_N + offset)

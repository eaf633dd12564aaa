"""Functions of `mmcv._ext` on boxes: suppression and overlaps.

Shape letters: N and M boxes.
"""

from collections.abc import Callable

from torch import Tensor

from mmopt.ops.mmcv.overlaps import box_overlaps
from mmopt.ops.nms import nms as nms_of_anything

__all__ = ['BOX_FUNCTIONS']


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Return the indices of the boxes that stay, best first."""
    return nms_of_anything(
        boxes, scores, iou_threshold, None, lambda better, worse: box_overlaps(better, worse, offset=offset)
    )


BOX_FUNCTIONS: dict[str, Callable] = {'nms': nms}

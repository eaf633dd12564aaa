"""Functions of `mmcv._ext` on boxes: suppression and overlaps."""

from collections.abc import Callable

from torch import Tensor

from mmopt.ops.mmcv.boxes.overlaps import box_overlaps, paired_box_overlaps
from mmopt.ops.mmcv.boxes.rotated import paired_rotated_overlaps, rotated_overlaps
from mmopt.ops.mmcv.boxes.suppression import SOFT_NMS_METHODS, nms_match, soft_nms
from mmopt.ops.mmcv.boxes.vertices import ordered_vertices
from mmopt.ops.nms import nms

__all__ = ['BOX_FUNCTIONS']

# How the extension is told to divide by the area of the first boxes, not of the union.
_OVER_FIRST = 1


def _nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    return nms(boxes, scores, iou_threshold, None, lambda better, worse: box_overlaps(better, worse, offset=offset))


def _softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    picked, kept = soft_nms(boxes, scores, iou_threshold, sigma, min_score, SOFT_NMS_METHODS[method], offset)
    dets[: len(picked)] = picked.to(dets)
    return kept


def _nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    return nms_match(dets[:, :4], dets[:, 4], iou_threshold)


def _nms_rotated(
    dets: Tensor,
    scores: Tensor,
    order: Tensor,
    dets_sorted: Tensor,
    labels: Tensor,
    iou_threshold: float,
    multi_label: bool | int,
) -> Tensor:
    groups = dets[:, 5] if multi_label else None
    return nms(dets[:, :5], scores, iou_threshold, groups, rotated_overlaps)


def _bbox_overlaps(bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int) -> None:
    overlaps = paired_box_overlaps if aligned else box_overlaps
    ious.copy_(overlaps(bboxes1.float(), bboxes2.float(), mode == _OVER_FIRST, offset))


def _box_iou_rotated(bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode_flag: int, aligned: bool) -> None:
    overlaps = paired_rotated_overlaps if aligned else rotated_overlaps
    ious.copy_(overlaps(bboxes1, bboxes2, mode_flag == _OVER_FIRST).view_as(ious))


def _diff_iou_rotated_sort_vertices_forward(vertices: Tensor, mask: Tensor, num_valid: Tensor) -> Tensor:
    return ordered_vertices(vertices, mask.bool())


BOX_FUNCTIONS: dict[str, Callable] = {
    'nms': _nms,
    'softnms': _softnms,
    'nms_match': _nms_match,
    'nms_rotated': _nms_rotated,
    'bbox_overlaps': _bbox_overlaps,
    'box_iou_rotated': _box_iou_rotated,
    'diff_iou_rotated_sort_vertices_forward': _diff_iou_rotated_sort_vertices_forward,
}

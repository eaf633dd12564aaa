"""Metrics."""

from mmopt.evaluation.bev_iou import BEVIoU, count_confusion

__all__ = ['BEVIoU', 'count_confusion']

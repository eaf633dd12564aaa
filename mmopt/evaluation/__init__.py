"""Metrics."""

from mmopt.evaluation.bev_iou import BEVIoU, count_confusion
from mmopt.evaluation.dataset_evaluate import DatasetEvaluateMetric

__all__ = ['BEVIoU', 'DatasetEvaluateMetric', 'count_confusion']

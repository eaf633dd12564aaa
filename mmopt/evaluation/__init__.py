"""Metrics."""

from mmopt.evaluation.bev_iou import BEVIoU, count_confusion
from mmopt.evaluation.dataset_evaluate import DatasetEvaluateMetric
from mmopt.evaluation.tad_baseline import RandomIntervals
from mmopt.evaluation.tad_metric import TemporalDetection

__all__ = ['BEVIoU', 'DatasetEvaluateMetric', 'RandomIntervals', 'TemporalDetection', 'count_confusion']

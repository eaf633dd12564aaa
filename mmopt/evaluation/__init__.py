"""Metrics."""

from mmopt.evaluation.action_metric import ActionClassification
from mmopt.evaluation.bev_iou import BEVIoU, count_confusion
from mmopt.evaluation.box_prior import BoxPrior
from mmopt.evaluation.coco_metric import CocoDetection
from mmopt.evaluation.dataset_evaluate import DatasetEvaluateMetric
from mmopt.evaluation.image_blind import bev_image_blind, image_blind_iou
from mmopt.evaluation.majority_class import majority_class
from mmopt.evaluation.majority_map import majority_map
from mmopt.evaluation.segmentation_iou import SegmentationIoU, confusion_matrix, segmentation_scores
from mmopt.evaluation.tad_baseline import RandomIntervals
from mmopt.evaluation.tad_metric import TemporalDetection

__all__ = [
    'ActionClassification',
    'BEVIoU',
    'BoxPrior',
    'CocoDetection',
    'DatasetEvaluateMetric',
    'RandomIntervals',
    'SegmentationIoU',
    'TemporalDetection',
    'bev_image_blind',
    'confusion_matrix',
    'count_confusion',
    'image_blind_iou',
    'majority_class',
    'majority_map',
    'segmentation_scores',
]

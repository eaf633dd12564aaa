"""Metrics."""

from mmopt.evaluation.baselines.bev import bev_image_blind, input_blind_iou
from mmopt.evaluation.baselines.detection import BoxPrior
from mmopt.evaluation.baselines.segmentation import majority_map
from mmopt.evaluation.baselines.tad import RandomIntervals, always_the_action
from mmopt.evaluation.baselines.video import majority_class
from mmopt.evaluation.bev.iou import BEVIoU, count_confusion
from mmopt.evaluation.dataset_evaluate import DatasetEvaluateMetric
from mmopt.evaluation.detection.coco_metric import CocoDetection
from mmopt.evaluation.segmentation.iou import SegmentationIoU, confusion_matrix, segmentation_scores
from mmopt.evaluation.tad.metric import TemporalDetection
from mmopt.evaluation.video.action_metric import ActionClassification

__all__ = [
    'ActionClassification',
    'BEVIoU',
    'BoxPrior',
    'CocoDetection',
    'DatasetEvaluateMetric',
    'RandomIntervals',
    'SegmentationIoU',
    'TemporalDetection',
    'always_the_action',
    'bev_image_blind',
    'confusion_matrix',
    'count_confusion',
    'input_blind_iou',
    'majority_class',
    'majority_map',
    'segmentation_scores',
]

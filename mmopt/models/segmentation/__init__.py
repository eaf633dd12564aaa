"""Semantic segmentation of road scenes."""

from mmopt.models.segmentation.bisenetv2 import BiSeNetV2
from mmopt.models.segmentation.head import SegmentationHead
from mmopt.models.segmentation.point_head import PointHead
from mmopt.models.segmentation.segmentor import BoundarySegmentor

__all__ = ['BiSeNetV2', 'BoundarySegmentor', 'PointHead', 'SegmentationHead']

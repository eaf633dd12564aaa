"""Semantic segmentation: Cityscapes, folders of images and masks, distances to class borders."""

from mmopt.datasets.segmentation.borders import border_distance, border_regions
from mmopt.datasets.segmentation.cityscapes import CITYSCAPES_CLASSES, CITYSCAPES_PALETTE, CityscapesDataset
from mmopt.datasets.segmentation.image_mask import ImageMaskDataset
from mmopt.datasets.segmentation.transforms import (
    BoundaryRegions,
    LoadBorderDistance,
    LoadSegmentationLabel,
    RandomScaleCropFlip,
)

__all__ = [
    'CITYSCAPES_CLASSES',
    'CITYSCAPES_PALETTE',
    'BoundaryRegions',
    'CityscapesDataset',
    'ImageMaskDataset',
    'LoadBorderDistance',
    'LoadSegmentationLabel',
    'RandomScaleCropFlip',
    'border_distance',
    'border_regions',
]

"""Box detection: data in COCO's format, letterbox, Mosaic and MixUp; converters and a demo set."""

from mmopt.datasets.detection.coco import CocoDataset
from mmopt.datasets.detection.letterbox import Letterbox, RandomLetterbox
from mmopt.datasets.detection.mosaic import MixUp, Mosaic
from mmopt.datasets.detection.transforms import DrawHSV, LoadImagePair, PackDetection, RandomFlipBoxes

__all__ = [
    'CocoDataset',
    'DrawHSV',
    'Letterbox',
    'LoadImagePair',
    'MixUp',
    'Mosaic',
    'PackDetection',
    'RandomFlipBoxes',
    'RandomLetterbox',
]

"""Backbones and blocks that several tasks share."""

from mmopt.models.common.device_preprocessor import DevicePreprocessor
from mmopt.models.common.norm import GroupNorm, build_norm
from mmopt.models.common.preprocessor import ImagePreprocessor
from mmopt.models.common.swin import SwinTransformer, convert_official_swin

__all__ = [
    'DevicePreprocessor',
    'GroupNorm',
    'ImagePreprocessor',
    'SwinTransformer',
    'build_norm',
    'convert_official_swin',
]

"""Backbones and blocks that several tasks share."""

from mmopt.models.common.preprocessor import ImagePreprocessor
from mmopt.models.common.swin import SwinTransformer, convert_official_swin

__all__ = ['ImagePreprocessor', 'SwinTransformer', 'convert_official_swin']

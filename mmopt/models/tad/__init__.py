"""Temporal action detection on animal tracks."""

from mmopt.models.tad.encoder import ConvBiLSTM
from mmopt.models.tad.v6 import FrameClassifier
from mmopt.models.tad.v7 import IntervalDetector

__all__ = ['ConvBiLSTM', 'FrameClassifier', 'IntervalDetector']

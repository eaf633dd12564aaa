"""Action recognition from several synchronous views and keypoints."""

from mmopt.models.video.conv3d import SlowOnly
from mmopt.models.video.fusion import (
    CrossViewAttention,
    FeatureConcatFusion,
    FeatureMeanFusion,
    LogitFusion,
    ProbabilityFusion,
)
from mmopt.models.video.mamba import VideoMamba
from mmopt.models.video.preprocessor import VideoPreprocessor
from mmopt.models.video.recognizer import MultiViewRecognizer
from mmopt.models.video.stgcn import STGCN
from mmopt.models.video.transformer import VideoTransformer

__all__ = [
    'CrossViewAttention',
    'FeatureConcatFusion',
    'FeatureMeanFusion',
    'LogitFusion',
    'MultiViewRecognizer',
    'ProbabilityFusion',
    'STGCN',
    'SlowOnly',
    'VideoMamba',
    'VideoPreprocessor',
    'VideoTransformer',
]

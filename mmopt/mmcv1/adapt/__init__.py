"""Models, data sets and hooks of mmcv 1.x in the contracts of mmopt's engine. Importing it registers them."""

from mmopt.mmcv1.adapt.dataset import MMCV1Dataset
from mmopt.mmcv1.adapt.evaluation import MMCV1Evaluation
from mmopt.mmcv1.adapt.hooks import MMCV1Hook, MMCV1Setup
from mmopt.mmcv1.adapt.model import build_mmcv1_model
from mmopt.mmcv1.adapt.optimizers import MMCV1OptimizersConstructor
from mmopt.mmcv1.adapt.sampler import MMCV1Sampler

__all__ = [
    'MMCV1Dataset',
    'MMCV1Evaluation',
    'MMCV1Hook',
    'MMCV1OptimizersConstructor',
    'MMCV1Sampler',
    'MMCV1Setup',
    'build_mmcv1_model',
]

"""Optimizer wrappers (precision, accumulation) and their parameter groups."""

from mmopt.engine.optim.accumulation import OptimWrapper
from mmopt.engine.optim.constructor import MMCV1OptimWrapperConstructor
from mmopt.engine.optim.layer_decay import (
    LayerDecayOptimWrapperConstructor,
    LearningRateDecayOptimWrapperConstructor,
    TSMOptimWrapperConstructor,
)
from mmopt.engine.optim.precision import AmpOptimWrapper

__all__ = [
    'AmpOptimWrapper',
    'LayerDecayOptimWrapperConstructor',
    'LearningRateDecayOptimWrapperConstructor',
    'MMCV1OptimWrapperConstructor',
    'OptimWrapper',
    'TSMOptimWrapperConstructor',
]

"""Optimizer wrappers and their parameter groups."""

from mmopt.engine.optim.constructor import MMCV1OptimWrapperConstructor
from mmopt.engine.optim.layer_decay import (
    LayerDecayOptimWrapperConstructor,
    LearningRateDecayOptimWrapperConstructor,
    TSMOptimWrapperConstructor,
)

__all__ = [
    'LayerDecayOptimWrapperConstructor',
    'LearningRateDecayOptimWrapperConstructor',
    'MMCV1OptimWrapperConstructor',
    'TSMOptimWrapperConstructor',
]

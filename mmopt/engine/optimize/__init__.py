"""What the `optimize` section of a config does to a model: one file per switch."""

from mmopt.engine.optimize.effect import Effect
from mmopt.engine.optimize.fused_optimizer import fuse_optimizer
from mmopt.engine.optimize.process import apply_to_process, malloc_effect
from mmopt.engine.optimize.switches import MODEL_SWITCHES, apply_to_model, report

__all__ = [
    'MODEL_SWITCHES',
    'Effect',
    'apply_to_model',
    'apply_to_process',
    'fuse_optimizer',
    'malloc_effect',
    'report',
]

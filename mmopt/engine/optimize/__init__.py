"""What the `optimize` section of a config does to a model: one file per switch."""

from mmopt.engine.optimize.effect import Effect
from mmopt.engine.optimize.fused_optimizer import fuse_optimizer
from mmopt.engine.optimize.optimizer_switches import OPTIMIZER_SWITCHES, apply_to_optimizer
from mmopt.engine.optimize.process import apply_to_process, malloc_effect
from mmopt.engine.optimize.scale_lr import lr_factor, scale_schedules
from mmopt.engine.optimize.switches import MODEL_SWITCHES, apply_to_model, report

__all__ = [
    'MODEL_SWITCHES',
    'OPTIMIZER_SWITCHES',
    'Effect',
    'apply_to_model',
    'apply_to_optimizer',
    'apply_to_process',
    'fuse_optimizer',
    'lr_factor',
    'malloc_effect',
    'report',
    'scale_schedules',
]

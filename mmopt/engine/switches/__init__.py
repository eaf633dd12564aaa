"""What the `optimize` section of a config does to a model: one file per switch."""

from mmopt.engine.switches.effect import Effect
from mmopt.engine.switches.fused_optimizer import fuse_optimizer
from mmopt.engine.switches.model_switches import MODEL_SWITCHES, apply_to_model, report
from mmopt.engine.switches.optimizer_switches import OPTIMIZER_SWITCHES, apply_to_optimizer
from mmopt.engine.switches.process import apply_to_process, malloc_effect
from mmopt.engine.switches.scale_lr import lr_factor, scale_schedules

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

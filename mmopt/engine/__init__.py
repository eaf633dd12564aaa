"""Runner, loops, schedulers, checkpoints: what runs a model without knowing its task."""

from mmopt.engine import ema, hooks, optim, schedulers
from mmopt.engine.loops import EpochBasedTrainLoop, IterBasedTrainLoop, TestLoop, ValLoop
from mmopt.engine.runner import EpochBasedRunner, IterBasedRunner

__all__ = [
    'EpochBasedRunner',
    'EpochBasedTrainLoop',
    'IterBasedRunner',
    'IterBasedTrainLoop',
    'TestLoop',
    'ValLoop',
    'ema',
    'hooks',
    'optim',
    'schedulers',
]

"""Runner, loops, schedulers, checkpoints: what runs a model without knowing its task."""

from mmopt.engine import ema, hooks, log_processor, optim, schedulers
from mmopt.engine.epoch_loop import EpochBasedTrainLoop
from mmopt.engine.evaluation_loops import TestLoop, ValLoop
from mmopt.engine.loops import IterBasedTrainLoop
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
    'log_processor',
    'optim',
    'schedulers',
]

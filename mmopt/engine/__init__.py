"""Runner, loops, schedulers, checkpoints: what runs a model without knowing its task."""

from mmopt.engine import ema, hooks, optim
from mmopt.engine.logging import log_processor
from mmopt.engine.loops.epoch_loop import EpochBasedTrainLoop
from mmopt.engine.loops.evaluation_loops import TestLoop, ValLoop
from mmopt.engine.loops.iter_loop import IterBasedTrainLoop
from mmopt.engine.runner import EpochBasedRunner, IterBasedRunner
from mmopt.engine.schedules import schedulers

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

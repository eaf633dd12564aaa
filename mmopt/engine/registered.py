"""Everything of the engine that a config can name: the registries import this at the first look-up."""

from mmopt.engine import ema, hooks, optim, runner
from mmopt.engine.logging import log_processor
from mmopt.engine.loops import epoch_loop, evaluation_loops, iter_loop
from mmopt.engine.schedules import schedulers

__all__ = [
    'ema',
    'epoch_loop',
    'evaluation_loops',
    'hooks',
    'iter_loop',
    'log_processor',
    'optim',
    'runner',
    'schedulers',
]

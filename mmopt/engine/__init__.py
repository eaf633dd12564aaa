"""Runner, loops, schedulers, checkpoints: what runs a model without knowing its task."""

from mmopt.engine import ema, optim, schedulers

__all__ = ['ema', 'optim', 'schedulers']

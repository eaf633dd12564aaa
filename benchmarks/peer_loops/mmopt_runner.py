"""mmopt's side: the same config, its own runner and sampler."""

from mmengine.model import BaseModel

from mmopt.engine import IterBasedRunner

from .openmmlab import StepHook, config
from .protocol import Run

__all__ = ['train']


def train(run: Run) -> BaseModel:
    """Train by mmopt's runner and return the network."""
    sampler = dict(type='ResumableSampler', shuffle=run.vary, endless=True)
    runner = IterBasedRunner.from_cfg(config(run, 'mmopt', sampler))
    runner.register_hook(StepHook(run), 'LOWEST')
    return runner.train()

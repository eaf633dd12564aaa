"""The config and the hook that MMEngine's runner and mmopt's share, and MMEngine's side."""

import os
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner

from .protocol import LOG_EVERY, Run
from .tasks import TASKS, Samples, build_network

__all__ = ['StepHook', 'config', 'train']


@MODELS.register_module()
def peer_network(task: str) -> BaseModel:
    """Build the network of a task."""
    return build_network(TASKS[task])


@DATASETS.register_module()
def peer_samples(task: str, length: int, noise: bool) -> Samples:
    """Build the data set of a task."""
    return Samples(TASKS[task].make_sample, length, noise=noise)


class StepHook(Hook):
    """Hand every loss on."""

    priority = 'LOWEST'

    def __init__(self, run: Run) -> None:
        self.run = run

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        assert outputs is not None
        self.run.on_step(outputs['loss'])


def config(run: Run, scope: str, sampler: dict) -> Config:
    """Return the config of a run by either runner."""
    return Config(
        dict(
            default_scope=scope,
            work_dir=str(run.work_dir),
            model=dict(type='mmengine.peer_network', task=run.task_name),
            train_dataloader=dict(
                batch_size=run.task.batch_size,
                num_workers=run.num_workers,
                persistent_workers=run.num_workers > 0,
                pin_memory=torch.cuda.is_available(),
                sampler=sampler,
                dataset=dict(
                    type='mmengine.peer_samples', task=run.task_name, length=run.epoch_length, noise=run.vary
                ),
            ),
            train_cfg=dict(by_epoch=False, max_iters=run.iters),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(run.task.optimizer)),
            param_scheduler=dict(type='CosineAnnealingLR', by_epoch=False, T_max=run.iters, end=run.iters),
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=LOG_EVERY),
                checkpoint=dict(
                    type='CheckpointHook', interval=run.save_every or 10**9, by_epoch=False, max_keep_ckpts=1,
                    save_last=False,
                ),
            ),
            log_processor=dict(by_epoch=False, window_size=LOG_EVERY),
            randomness=dict(seed=0),
            env_cfg=dict(cudnn_benchmark=False),
            resume=run.resume,
        )
    )  # fmt: skip


def train(run: Run) -> BaseModel:
    """Train by MMEngine's runner and return the network."""
    if run.resume:
        # Since torch 2.6 it fails without this: its checkpoints hold objects that are no tensors.
        os.environ['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'] = '1'
    runner = Runner.from_cfg(config(run, 'mmengine', dict(type='InfiniteSampler', shuffle=run.vary)))
    runner.register_hook(StepHook(run), 'LOWEST')
    return runner.train()

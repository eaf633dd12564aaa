#!/usr/bin/env python
"""Measure how long a checkpoint keeps the training waiting, written at once and in the background.

python benchmarks/checkpoint_stall.py --gib 0.5 --repeats 5 --out results/checkpoint_stall_<machine>.json

A multi-layer perceptron under AdamW, so that weights and optimizer state make up ``--gib``. Both ways take turns in one
process. ``stall_ms`` is what an iteration with a checkpoint takes longer than the median one without; ``slowdown`` is
the median iteration while a background write is under way, divided by the median one without.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS, DefaultScope
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import Dataset

from mmopt.registry import HOOKS, RUNNERS

INTERVAL = 10
NUM_LAYERS = 8


@DATASETS.register_module()
class NoiseDataset(Dataset):
    """Ready tensors."""

    def __init__(self, width: int) -> None:
        self.x = torch.randn(64, width)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict:
        return dict(inputs=self.x[index])


@MODELS.register_module()
class Perceptron(BaseModel):
    """As many weights as are asked for."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(width, width) for _ in range(NUM_LAYERS)))

    def forward(self, inputs, mode='tensor'):
        return dict(loss=self.layers(inputs).square().mean())


@HOOKS.register_module()
class StepTimes(Hook):
    """From one iteration's beginning to the next's: hooks, and so checkpoints, are in it."""

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self.begins: list[float] = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.begins.append(time.perf_counter())


def run(width: int, background: bool) -> tuple[list[float], list[float]]:
    """Return the milliseconds of iterations with a checkpoint, and of the others."""
    for manager in (MessageHub, MMLogger, DefaultScope, Visualizer):
        manager._instance_dict.clear()
    with tempfile.TemporaryDirectory() as work_dir:
        cfg = dict(
            default_scope='mmopt',
            work_dir=work_dir,
            model=dict(type='mmengine.Perceptron', width=width),
            train_dataloader=dict(
                batch_size=8,
                num_workers=0,
                sampler=dict(type='ResumableSampler', endless=True),
                dataset=dict(type='mmengine.NoiseDataset', width=width),
                collate_fn=dict(type='stack_collate'),
            ),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=3 * INTERVAL + 1),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4)),
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=1000),
                checkpoint=dict(
                    type='CheckpointHook',
                    interval=INTERVAL,
                    by_epoch=False,
                    save_last=False,
                    max_keep_ckpts=1,
                    background=background,
                ),
            ),
            custom_hooks=[dict(type='StepTimes')],
        )
        runner = RUNNERS.get('IterBasedRunner').from_cfg(Config(cfg))
        runner.train()
        begins = next(hook.begins for hook in runner.hooks if isinstance(hook, StepTimes))
    spans = [1e3 * (after - before) for before, after in zip(begins, begins[1:], strict=False)]
    saving = [span for index, span in enumerate(spans, start=1) if index % INTERVAL == 0]
    return saving, [span for index, span in enumerate(spans, start=1) if index % INTERVAL and index > 3]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--gib', type=float, default=0.5, help='size of weights and optimizer state')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    # Weights and AdamW's two moments, 4 bytes each.
    width = int((args.gib * 1024**3 / (3 * 4 * NUM_LAYERS)) ** 0.5)
    times: dict[bool, tuple[list[float], list[float]]] = {False: ([], []), True: ([], [])}
    for _ in range(args.repeats):
        for background in (False, True):
            saving, others = run(width, background)
            times[background][0].extend(saving)
            times[background][1].extend(others)
    plain_ms = statistics.median(times[False][1])
    result = dict(
        gib=args.gib,
        torch=torch.__version__,
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu',
        step_ms=plain_ms,
        stall_ms={
            name: statistics.median(times[key][0]) - plain_ms
            for name, key in (('at once', False), ('background', True))
        },
        slowdown=statistics.median(times[True][1]) / plain_ms,
    )
    result['background_stall_share'] = result['stall_ms']['background'] / result['stall_ms']['at once']
    text = json.dumps(result, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + '\n')


if __name__ == '__main__':
    sys.exit(main())

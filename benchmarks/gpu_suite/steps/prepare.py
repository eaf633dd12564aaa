"""Estimate the memory of all points, without a GPU, to be carried to one."""

import json
import sys

import torch

from gpu_suite.child import Step
from gpu_suite.plan import FIVE
from gpu_suite.points import memory_points, point_key
from mmopt.apis.memory.estimate import estimate_memory
from mmopt.engine.memory.gpus import parse_gpu

CARD = 'h200'
"""Whose context, workspaces and attention count."""


def run(step: Step) -> None:
    """Write ``estimates.json`` after every task."""
    step.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict] = {}
    for task in FIVE:
        groups: dict[tuple, list[str]] = {}
        for point in memory_points(task, tiny=step.tiny):
            key = (point['config'], point['batch_size'], point['checkpointing'], point['optimizer'])
            groups.setdefault(key, []).append(point['precision'])
        for (config, batch_size, checkpointing, optimizer), precisions in groups.items():
            report = estimate_memory(
                config,
                batch_sizes=[batch_size],
                precisions=precisions,
                checkpointings=[checkpointing],
                optimizer=optimizer,
                gpu=parse_gpu(CARD).gpu,
            )
            for case in report.cases:
                key = point_key(dict(case, config=config, optimizer=optimizer))
                found[key] = {
                    name: case[name]
                    for name in ('allocated', 'reserved', 'reserved_low', 'reserved_high', 'prefetched')
                } | dict(parts=dict(case['parts']))
        facts = dict(torch=torch.__version__, card=CARD, points=found)
        (step.out / 'estimates.json').write_text(json.dumps(facts, indent=1) + '\n', encoding='utf-8')
        print(f'{task}: {len(found)} estimates', file=sys.stderr, flush=True)

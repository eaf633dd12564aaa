"""Eight iterations in one process beside four and four in two, deterministic and not: how far the weights are apart."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from gpu_suite.child import Step

_ITERS, _HALF = 8, 4
_SWITCHES = ['optimize.channels_last=True', 'optimize.fused_optimizer=True']
_TEXT = 'a resumed run is bit-equal (deterministic)'


def run(step: Step) -> None:
    """Compare one task; with ``TASK/...`` in the part, be one of its processes."""
    if '/' in step.part:
        _train(step, *step.part.split('/'))
        return
    # (name, deterministic, precision, options of the first and of the second half)
    kinds: list[tuple[str, bool, str, Sequence[str], Sequence[str]]] = [('deterministic', True, 'fp32', [], [])]
    if step.tiny:
        kinds = [('bf16, fused, channels last', True, 'bf16', _SWITCHES, _SWITCHES)]
    else:
        kinds += [
            ('fp16, fused, channels last', True, 'fp16', _SWITCHES, _SWITCHES),
            ('not deterministic', False, 'fp32', [], []),
            ('switched on at the resume', True, 'fp16', [], _SWITCHES),
        ]
    # Nothing is timed: all that can run side by side does.
    with ThreadPoolExecutor(len(kinds)) as pool:
        for done in [pool.submit(_compare, step, *kind) for kind in kinds]:
            done.result()


def _compare(
    step: Step, name: str, deterministic: bool, precision: str, first: Sequence[str], second: Sequence[str]
) -> None:
    with tempfile.TemporaryDirectory(dir=step.scratch) as folder, ThreadPoolExecutor(2) as pool:
        whole = pool.submit(_process, step, Path(folder, 'whole'), deterministic, precision, _ITERS, second)
        pool.submit(_process, step, Path(folder, 'halves'), deterministic, precision, _HALF, first).result()
        halves = _process(step, Path(folder, 'halves'), deterministic, precision, _ITERS, second)
        off = _distance(whole.result(), halves)
    step.row(task=step.part, setting=name, largest_difference=off)
    if deterministic and first == second:
        step.claim(_TEXT, f'{step.part}, {name}: {off:.1e}', off == 0)


def _process(
    step: Step, work_dir: Path, deterministic: bool, precision: str, iters: int, options: Sequence[str]
) -> Path:
    part = '/'.join([step.part, str(work_dir).replace('/', ':'), str(int(deterministic)), precision, str(iters)])
    part += '/' + ';'.join(options)
    command = [sys.executable, sys.argv[0], '--step', 'resume', '--part', part, '--out', str(step.out)]
    command += ['--scratch', str(step.scratch), *(['--cpu-rehearsal'] if step.tiny else [])]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return work_dir / f'iter_{iters}.pth'


def _train(step: Step, task: str, place: str, deterministic: str, precision: str, iters: str, options: str) -> None:
    from gpu_suite.batches import use_examples
    from mmopt.apis.config import load_config
    from mmopt.apis.run.start import build_runner, set_start

    chosen = [*filter(None, options.split(';'))]
    cfg: Any = load_config(step.config(task), options=chosen, precision=precision, work_dir=place.replace(':', '/'))
    use_examples(cfg, 64)
    cfg.train_dataloader['batch_size'] = 2
    cfg.train_cfg = dict(by_epoch=False, max_iters=int(iters), val_interval=10**6)
    cfg.default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=_HALF, by_epoch=False))
    cfg.randomness = dict(seed=0, deterministic=deterministic == '1')
    cfg.env_cfg = dict(cfg.get('env_cfg') or {}, cudnn_benchmark=False)
    # A schedule is a function of the whole run's length, and the first half must be half of it.
    cfg.param_scheduler = []
    set_start(cfg, auto_resume=True)
    build_runner(cfg).train()


def _distance(first: Path, second: Path) -> float:
    from mmopt.engine.checkpoint_io import load

    weights = [load(path)['state_dict'] for path in (first, second)]
    return max(
        float((weights[0][name].double() - weights[1][name].double()).abs().max())
        for name in weights[0]
        if isinstance(weights[0][name], torch.Tensor) and weights[0][name].numel()
    )

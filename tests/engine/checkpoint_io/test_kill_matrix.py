"""``kill -9`` of real processes at random moments: nothing tells a killed run from an uninterrupted one."""

import hashlib
import json
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.engine.children import Child
from tests.engine.toy import toy_config

LONGEST_DELAY_S = 0.01
"""A kill comes up to so long after an iteration began: before, in or after its step, its log line, its checkpoint."""
FP16 = dict(type='AmpOptimWrapper', dtype='float16', loss_scale=dict(init_scale=2.0**15, growth_interval=2))

# Name -> what the config changes, and the number of workers of each start, in turn.
CASES: dict[str, tuple[dict, tuple[int, ...]]] = {
    'plain': ({}, (0,)),
    'workers': ({}, (2, 0, 1, 4)),
    'accumulation': (dict(optim_wrapper=dict(accumulative_counts=3, clip_grad=dict(max_norm=5.0))), (1, 0)),
    'fp16': (dict(optim_wrapper=FP16), (0,)),
    'fp16 accumulation': (dict(optim_wrapper=FP16 | dict(accumulative_counts=3)), (0, 1)),
    'epochs': (dict(by_epoch=True, train_cfg=dict(max_epochs=4)), (0,)),
    'background': (dict(background=True), (0,)),
}


def config(work_dir: Path, changes: dict, num_workers: int, interval: int = 2) -> dict:
    changes = dict(changes)
    background = changes.pop('background', False)
    by_epoch = changes.get('by_epoch', False)
    hooks = [
        dict(type='ReportHook'),
        dict(type='EMAHook', ema_type='LinearWarmupEMA', momentum=0.1, warm_up=4, interval=2),
    ]
    cfg = toy_config(
        work_dir,
        max_iters=24,
        resume=True,  # of an empty folder: from the beginning
        custom_hooks=hooks,
        param_scheduler=[
            dict(type='ClosedFormLR', policy='Poly', power=0.9, by_epoch=by_epoch, warmup='linear', warmup_iters=5)
        ],
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type='CheckpointHook', interval=interval, by_epoch=False, save_best='error', rule='less'),
        ),
        **changes,
    )
    cfg['train_dataloader'] |= dict(num_workers=num_workers, persistent_workers=bool(num_workers))
    cfg['default_hooks']['checkpoint']['background'] = background
    cfg['train_cfg']['val_interval'] = 2 if by_epoch else 8
    return cfg


def digests(value: Any, place: str = '') -> dict[str, str]:
    """Return a hash of every tensor and number in a nested state, by its place."""
    if isinstance(value, dict):
        return {name: item for key, part in value.items() for name, item in digests(part, f'{place}.{key}').items()}
    if isinstance(value, list | tuple):
        return {name: item for key, part in enumerate(value) for name, item in digests(part, f'{place}[{key}]').items()}
    content = value.contiguous().flatten().view(torch.uint8).numpy().tobytes() if isinstance(value, Tensor) else b''
    text = f'{value.dtype}{tuple(value.shape)}' if isinstance(value, Tensor) else repr(value)
    return {place: hashlib.sha256(text.encode() + content).hexdigest()}


def final_state(work_dir: Path) -> dict[str, str]:
    state = torch.load(work_dir / 'iter_24.pth', weights_only=True)
    kept = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers', 'rng', 'partial_grads')
    best = state['message_hub']['runtime_info']['best_checkpoints']
    return digests({key: state[key] for key in kept if key in state} | dict(best=best))


def logged(work_dir: Path) -> dict[tuple, dict]:
    """Return what was logged, but times and memory; of what was logged twice, the later."""
    rows = {}
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # cut off by the kill
                continue
            kind = 'train' if 'lr' in row else 'val'
            kept = {key: value for key, value in row.items() if 'time' not in key and 'mem' not in key}
            rows[kind, row['step']] = kept
    return rows


def survive(folder: Path, name: str, num_kills: int, draw: random.Random) -> None:
    """Kill one run as often as asked, let it end, and compare it with one that nobody killed."""
    changes, workers = CASES[name]
    whole, killed = folder / 'whole', folder / 'killed'
    reference = Child(whole / 'output.txt', config(whole, changes, workers[0]))
    history, done = [], 0
    for start in range(num_kills):
        child = Child(killed / 'output.txt', config(killed, changes, workers[start % len(workers)]))
        # So early that the run is not over before its last kill.
        iteration = min(done + draw.randint(1, 3), 24 - 2 * (num_kills - start))
        delay_s = draw.random() * LONGEST_DELAY_S
        child.wait_for(f'train {iteration}')
        time.sleep(delay_s)
        child.signal(signal.SIGKILL)
        assert child.finish() == -signal.SIGKILL, child.text
        history.append((iteration, delay_s))
        done = max((int(path.stem[5:]) for path in killed.glob('iter_*.pth')), default=0)
    last = Child(killed / 'output.txt', config(killed, changes, workers[num_kills % len(workers)]))
    assert last.finish() == 0, last.text
    assert reference.finish() == 0, reference.text
    expected, got = final_state(whole), final_state(killed)
    assert {place for place in expected | got if expected.get(place) != got.get(place)} == set(), history
    assert logged(killed) == logged(whole), history
    if name.startswith('fp16'):
        scales = {row['loss_scale'] for row in logged(whole).values() if 'loss_scale' in row}
        assert len(scales) >= 2  # it moved


@pytest.mark.parametrize(('name', 'num_kills'), list(zip(CASES, (3, 4, 3, 3, 2, 3, 2), strict=True)))
def test_a_run_killed_at_random_moments_ends_as_if_nothing_had_happened(tmp_path, name, num_kills):
    """20 kills in all; those of the epochs are at most 3 iterations apart, of the 6 that an epoch has."""
    survive(tmp_path, name, num_kills, random.Random(name))


@pytest.mark.slow
@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('seed', range(9))
def test_more_kills(tmp_path, name, seed):
    """7 cases, 9 runs of each, 4 kills per run: 252 moments."""
    survive(tmp_path, name, 4, random.Random(f'{name} {seed}'))

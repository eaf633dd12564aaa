"""Runs that continue from a checkpoint of mmcv 1.x: the same weights as without the change of library."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmopt.engine.checkpoint_io import load
from mmopt.registry import RUNNERS
from tests.conftest import forget_mmengine_globals
from tests.engine.toy import toy_config

PARAMWISE = dict(norm_decay_mult=0.0, custom_keys={'out': dict(lr_mult=0.5)})


def train(work_dir: Path, **changes) -> dict[str, torch.Tensor]:
    forget_mmengine_globals()
    wrapper = dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=0.01, weight_decay=0.1),
        constructor='MMCV1OptimWrapperConstructor',
        paramwise_cfg=PARAMWISE,
    )
    changes = dict(model=dict(dropout=0.0), optim_wrapper=wrapper) | changes
    cfg = toy_config(work_dir, **changes)
    runner = RUNNERS.get(cfg['runner_type']).from_cfg(Config(cfg))
    runner.train()
    return runner.model.state_dict()


def as_mmcv1(source: Path, target: Path, *, by_epoch: bool) -> None:
    """Rewrite a checkpoint of ours as mmcv 1.7.2 would have written it: a group per parameter, its own counting."""
    ours = load(source)
    groups, state = [], {}
    placed = [
        (position, index, group)
        for group in ours['optimizer']['param_groups']
        for position, index in zip(group['param_positions'], group['params'], strict=True)
    ]
    for position, index, group in sorted(placed, key=lambda item: item[0]):
        options = {key: value for key, value in group.items() if not key.startswith('param')}
        groups.append(options | dict(params=[position]))
        state[position] = ours['optimizer']['state'][index]
    done = ours['iter'] if by_epoch else ours['iter'] - 1
    meta = dict(iter=done, epoch=ours['epoch'] if by_epoch else 1, mmcv_version='1.7.2', seed=5)
    torch.save(dict(meta=meta, state_dict=ours['state_dict'], optimizer=dict(state=state, param_groups=groups)), target)


@pytest.mark.parametrize('by_epoch', [False, True])
def test_a_run_of_mmcv1_continues_as_if_it_had_been_ours(tmp_path, by_epoch):
    expected = train(tmp_path / 'whole', by_epoch=by_epoch)
    middle, name = ('iter_6.pth', 'epoch_1.pth') if by_epoch else ('iter_4.pth', 'iter_4.pth')
    as_mmcv1(tmp_path / 'whole' / middle, tmp_path / name, by_epoch=by_epoch)
    resumed = train(tmp_path / 'resumed', by_epoch=by_epoch, load_from=str(tmp_path / name), resume=True)
    for key, value in expected.items():
        assert torch.equal(resumed[key], value), key

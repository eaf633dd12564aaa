"""Resuming with other settings: what the config says takes effect and is said, or is refused with what helps."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from torch import nn

from mmopt.registry import HOOKS, MODELS, RUNNERS
from mmopt.utils.errors import UserError
from tests.conftest import forget_mmengine_globals
from tests.engine.checkpoint_io.test_resume_foreign import as_mmcv1
from tests.engine.toy import toy_config

BARE = dict(val_dataloader=None, val_evaluator=None, val_cfg=None)
SCHEDULES = {
    'none': None,
    'closed form': [
        dict(
            type='ClosedFormLR', policy='Poly', power=0.9, by_epoch=False, warmup='linear', warmup_iters=3, min_lr=1e-3
        )
    ],
    'chain': [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=3),
        dict(type='CosineAnnealingLR', T_max=6, eta_min=1e-3, by_epoch=False, begin=3, end=9),
    ],
    'momentum': [
        dict(type='ClosedFormLR', policy='Fixed', by_epoch=False),
        dict(type='ClosedFormMomentum', policy='Cyclic', by_epoch=False),
    ],
}
GROUPS = dict(constructor='MMCV1OptimWrapperConstructor', paramwise_cfg=dict(custom_keys={'out': dict(lr_mult=0.5)}))


@HOOKS.register_module(force=True)
class NoteSettings(Hook):
    """Keep the settings of every group in every iteration."""

    seen: dict[int, list[dict]]

    def before_train(self, runner):
        self.seen = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        groups = runner.optim_wrapper.optimizer.param_groups
        self.seen[runner.iter] = [
            {key: group.get(key) for key in ('lr', 'weight_decay', 'momentum', 'betas', 'fused')} for group in groups
        ]


@MODELS.register_module(force=True)
class ToyConv(BaseModel):
    """Convolutions, so that memory formats differ."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, width, 3, padding=1)
        self.second = nn.Conv2d(width, 4, (3, 1))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        image = inputs[:, :, None, None] * torch.linspace(-1, 1, 20, device=inputs.device).view(1, 1, 4, 5)
        out = self.second(self.first(image).relu()).mean(dim=(1, 2, 3))
        target = torch.stack([sample.target for sample in data_samples]).squeeze(-1)
        return dict(loss=((out.float() - target) ** 2).mean())


def train(work_dir: Path, *, iters: int = 8, **changes):
    """Train on to 8 iterations; the schedules are those of 8 also where the run stops at 4."""
    forget_mmengine_globals()
    cfg = toy_config(work_dir, max_iters=8, **BARE, **changes)
    if iters < 8:
        cfg['custom_hooks'] = [*cfg.get('custom_hooks', ()), dict(type='StopAfter', iters=iters)]
    runner = RUNNERS.get(cfg['runner_type']).from_cfg(Config(cfg))
    note = NoteSettings()
    runner.register_hook(note)
    runner.train()
    return runner, note.seen


@HOOKS.register_module(force=True)
class StopAfter(Hook):
    """End a run early, with a checkpoint, as a signal does."""

    priority = 'LOWEST'

    def __init__(self, iters: int) -> None:
        self.iters = iters

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        runner.train_loop.stop_training = runner.iter + 1 == self.iters


def log_of(work_dir: Path) -> str:
    return (work_dir / 'latest.log').read_text()


def wrapper(kind: str = 'SGD', **settings) -> dict:
    groups = settings.pop('groups', {})
    defaults = dict(SGD=dict(lr=0.01, momentum=0.9), AdamW=dict(lr=0.01))[kind]
    return dict(optim_wrapper=dict(type='OptimWrapper', optimizer=defaults | dict(type=kind) | settings, **groups))


CHANGES = {
    'lr': ('SGD', dict(lr=0.02), 'optimizer.lr 0.01 -> 0.02'),
    'lr of groups': ('SGD', dict(lr=0.02, groups=GROUPS), 'optimizer.lr 0.01 -> 0.02'),
    'weight decay': ('AdamW', dict(weight_decay=0.3), 'optimizer.weight_decay unset -> 0.3'),
    'momentum': ('SGD', dict(momentum=0.5), 'optimizer.momentum 0.9 -> 0.5'),
    'betas': ('AdamW', dict(betas=(0.8, 0.99)), r'optimizer.betas unset -> [0.8, 0.99]'),
}


@pytest.mark.parametrize('schedule', SCHEDULES)
@pytest.mark.parametrize('name', CHANGES)
def test_a_changed_setting_is_that_of_a_fresh_run_at_this_iteration_and_is_said(tmp_path, name, schedule):
    kind, change, said = CHANGES[name]
    groups = dict(groups=change['groups']) if 'groups' in change else {}
    schedule = dict(param_scheduler=SCHEDULES[schedule])
    train(tmp_path / 'a', iters=4, **wrapper(kind, **groups), **schedule)
    _, fresh = train(tmp_path / 'b', **wrapper(kind, **change), **schedule)
    start = dict(resume=True, load_from=str(tmp_path / 'a' / 'iter_4.pth'))
    _, resumed = train(tmp_path / 'c', **wrapper(kind, **change), **schedule, **start)
    assert sorted(resumed) == [4, 5, 6, 7]
    for iteration, groups in resumed.items():
        for group, expected in zip(groups, fresh[iteration], strict=True):
            for key in [key for key, value in expected.items() if value]:
                assert group[key] == pytest.approx(expected[key]), (iteration, key)
    assert said in log_of(tmp_path / 'c')


@pytest.mark.parametrize('schedule', SCHEDULES)
def test_an_unchanged_run_says_nothing(tmp_path, schedule):
    settings = wrapper('SGD', groups=GROUPS) | dict(param_scheduler=SCHEDULES[schedule])
    train(tmp_path, iters=4, custom_hooks=[], **settings)
    train(tmp_path, resume=True, custom_hooks=[dict(type='StopAfter', iters=4)], **settings)
    assert 'has changed' not in log_of(tmp_path)


def test_a_changed_schedule_is_that_of_a_fresh_run_and_is_said(tmp_path):
    for place, old, new in (('x', 'closed form', 'chain'), ('y', 'chain', 'closed form')):
        old = [dict(item) for item in SCHEDULES[old]][:1]
        new = [dict(item) for item in SCHEDULES[new]][:1]
        train(tmp_path / place / 'a', iters=4, **wrapper(), param_scheduler=old)
        _, fresh = train(tmp_path / place / 'b', **wrapper(), param_scheduler=new)
        start = dict(resume=True, load_from=str(tmp_path / place / 'a' / 'iter_4.pth'))
        _, resumed = train(tmp_path / place / 'c', **wrapper(), param_scheduler=new, **start)
        assert {iteration: groups[0]['lr'] for iteration, groups in resumed.items()} == pytest.approx(
            {iteration: groups[0]['lr'] for iteration, groups in fresh.items() if iteration >= 4}
        )
        assert 'param_scheduler.0.type' in log_of(tmp_path / place / 'c')


@pytest.mark.parametrize('by_epoch', [False, True])
def test_a_checkpoint_of_mmcv1_puts_mmengines_schedulers_at_its_iteration(tmp_path, by_epoch):
    unit = dict(by_epoch=by_epoch)
    schedule = [dict(type='LinearLR', start_factor=0.1, begin=0, end=3, by_epoch=False)]
    schedule += [dict(type='MultiStepLR', milestones=[1] if by_epoch else [4], gamma=0.1, **unit)]
    settings = wrapper('AdamW') | dict(param_scheduler=schedule)
    settings['optim_wrapper'] |= dict(constructor='MMCV1OptimWrapperConstructor', paramwise_cfg=dict(norm_decay_mult=0))
    settings['optim_wrapper']['optimizer']['weight_decay'] = 0.1
    if by_epoch:
        settings |= dict(by_epoch=True)
    forget_mmengine_globals()
    whole, fresh = train(tmp_path / 'whole', **settings)
    name = 'epoch_1.pth' if by_epoch else 'iter_4.pth'
    as_mmcv1(tmp_path / 'whole' / ('iter_6.pth' if by_epoch else name), tmp_path / name, by_epoch=by_epoch)
    resumed, seen = train(tmp_path / 'resumed', load_from=str(tmp_path / name), resume=True, **settings)
    assert min(seen) == (6 if by_epoch else 4)
    for iteration, groups in seen.items():
        assert groups[0]['lr'] == pytest.approx(fresh[iteration][0]['lr'], rel=1e-9), iteration


REFUSED = {
    'another optimizer': ('SGD', wrapper('AdamW'), 'trained with SGD, the config says AdamW'),
    'other groups': ('SGD', wrapper('SGD', groups=GROUPS), 'paramwise_cfg: .* which makes other parameter groups'),
    'a state that is not there': ('AdamW', wrapper('AdamW', amsgrad=True), 'optimizer.amsgrad=True needs'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_what_the_state_cannot_follow_is_refused_in_one_line_with_the_key_that_goes_on(tmp_path, name):
    kind, changed, message = REFUSED[name]
    schedule = dict(param_scheduler=SCHEDULES['chain'])
    train(tmp_path / 'a', iters=4, **wrapper(kind), **schedule)
    start = dict(resume=True, load_from=str(tmp_path / 'a' / 'iter_4.pth'))
    with pytest.raises(UserError, match=message) as caught:
        train(tmp_path / 'b', **changed, **schedule, **start)
    assert 'resume_optimizer=False' in str(caught.value)
    assert '\n' not in str(caught.value)
    runner, seen = train(tmp_path / 'c', **changed, **schedule, **start, resume_optimizer=False)
    _, fresh = train(tmp_path / 'd', **changed, **schedule)
    assert {i: g[0]['lr'] for i, g in seen.items()} == pytest.approx({i: fresh[i][0]['lr'] for i in (4, 5, 6, 7)})


def test_a_fresh_optimizer_goes_on_with_the_weights_alone(tmp_path):
    train(tmp_path / 'a', iters=4, **wrapper('AdamW'))
    start = dict(resume=True, load_from=str(tmp_path / 'a' / 'iter_4.pth'), resume_optimizer=False)
    runner, _ = train(tmp_path / 'b', **wrapper('AdamW'), **start)
    assert runner.train_loop.iters_done == 8
    steps = {int(slot['step']) for slot in runner.optim_wrapper.optimizer.state.values()}
    assert steps == {4}


def test_a_fresh_optimizer_is_asked_for_once_though_the_command_that_goes_on_repeats_it(tmp_path):
    train(tmp_path / 'a', iters=4, **wrapper('SGD'))
    start = dict(resume=True, resume_optimizer=False)
    train(tmp_path / 'b', iters=6, **wrapper('AdamW'), **start, load_from=str(tmp_path / 'a' / 'iter_4.pth'))
    runner, seen = train(tmp_path / 'b', **wrapper('AdamW'), **start)
    assert sorted(seen) == [6, 7]
    assert {int(slot['step']) for slot in runner.optim_wrapper.optimizer.state.values()} == {4}  # 2 of each session
    runner, _ = train(tmp_path / 'c', **wrapper('SGD'), **start, load_from=str(tmp_path / 'b' / 'iter_6.pth'))
    assert all('momentum_buffer' in slot for slot in runner.optim_wrapper.optimizer.state.values())


def test_files_without_a_run_or_an_optimizer_are_refused_with_the_remedy(tmp_path):
    runner, _ = train(tmp_path / 'a', iters=4, **wrapper())
    torch.save(runner.model.state_dict(), tmp_path / 'bare.pth')
    content = torch.load(tmp_path / 'a' / 'iter_4.pth', weights_only=True)
    torch.save({key: value for key, value in content.items() if key != 'optimizer'}, tmp_path / 'iter_4.pth')
    for name, message in (
        ('bare.pth', 'holds weights and nothing of a run.*--load-from'),
        ('iter_4.pth', 'holds no optimizer state.*--load-from .*resume_optimizer=False'),
    ):
        with pytest.raises(UserError, match=message):
            train(tmp_path / 'b', **wrapper(), resume=True, load_from=str(tmp_path / name))
    start = dict(resume=True, resume_optimizer=False)
    runner, seen = train(tmp_path / 'c', **wrapper(), load_from=str(tmp_path / 'iter_4.pth'), **start)
    assert sorted(seen) == [4, 5, 6, 7]
    with pytest.raises(UserError, match='holds weights and nothing of a run'):
        train(tmp_path / 'd', **wrapper(), load_from=str(tmp_path / 'bare.pth'), **start)


@pytest.mark.parametrize('dtype', ['float32', 'float16'])
@pytest.mark.parametrize('kind', ['SGD', 'AdamW'])
@pytest.mark.parametrize('then', [False, True])
def test_fused_and_channels_last_may_change_and_the_weights_stay_right(tmp_path, kind, then, dtype):
    """Both ways, and bit for bit where nothing has changed."""
    settings = wrapper(kind)
    if dtype == 'float16':
        settings['optim_wrapper'] |= dict(type='AmpOptimWrapper', dtype=dtype)
    changes = dict(model=dict(type='ToyConv'), custom_hooks=[], **settings)
    results = {}
    for name in ('whole', 'same', 'fused', 'channels_last', 'both'):
        fused = then != (name in ('fused', 'both'))
        last = then != (name in ('channels_last', 'both'))
        if name != 'whole':
            train(tmp_path / name, iters=4, **changes, optimize=dict(fused_optimizer=then, channels_last=then))
        runner, seen = train(
            tmp_path / name, **changes, resume=name != 'whole', optimize=dict(fused_optimizer=fused, channels_last=last)
        )
        assert all(bool(group['fused']) == fused for groups in seen.values() for group in groups)
        for param, slot in runner.optim_wrapper.optimizer.state.items():
            for value in slot.values():
                assert value.shape != param.shape or value.stride() == param.stride()
        results[name] = dict(runner.model.state_dict())
    for key, value in results['whole'].items():
        assert torch.equal(results['same'][key], value)
        for name in ('fused', 'channels_last', 'both'):
            # Another order of sums: a moment beside the wrong weight is off by 1e-2.
            torch.testing.assert_close(results[name][key], value, rtol=0, atol=2e-5 if dtype == 'float32' else 2e-3)


def test_a_rollback_keeps_its_lower_rate_when_the_run_is_resumed(tmp_path):
    """The config has not changed, so the rates of the checkpoint count."""
    schedule = dict(param_scheduler=[dict(type='ClosedFormLR', policy='Fixed', by_epoch=False)])
    runner, _ = train(tmp_path / 'a', iters=4, **wrapper(), **schedule)
    runner.roll_back(tmp_path / 'a' / 'iter_4.pth', 0.5)
    runner.save_checkpoint(tmp_path / 'lower.pth')
    _, seen = train(tmp_path / 'b', **wrapper(), **schedule, resume=True, load_from=str(tmp_path / 'lower.pth'))
    assert {groups[0]['lr'] for groups in seen.values()} == {0.005}
    assert 'optimizer.lr' not in log_of(tmp_path / 'b').split('has changed')[-1].splitlines()[0]

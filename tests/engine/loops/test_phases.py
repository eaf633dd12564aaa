"""Phases: what is frozen stays, thaws and resumes bit for bit; batch, rate and position follow."""

import pytest
import torch
from mmengine.hooks import Hook

from mmopt.config import ConfigError, lower
from mmopt.engine.loops.phases import Freezer, parse_phases
from mmopt.registry import HOOKS, MODELS
from mmopt.utils.errors import UserError
from tests.engine.test_runner import Killed, assert_same, build, losses_of, state_of
from tests.engine.toy import ToyModel, toy_config


@MODELS.register_module(force=True)
class ToyBatchNormModel(ToyModel):
    """The toy model with a BatchNorm, whose statistics move in training mode."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.norm = torch.nn.BatchNorm1d(16)


@HOOKS.register_module(force=True)
class WatchHook(Hook):
    """Note, per iteration, batch, rate, which parameters have state, and what runs in training mode."""

    seen: list = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        names = {id(param): name for name, param in runner.model.named_parameters()}
        state = {names[id(param)] for param in runner.optim_wrapper.optimizer.state}
        grads = {name for name, param in runner.model.named_parameters() if param.requires_grad}
        training = {name for name, module in runner.model.named_modules() if name and module.training}
        WatchHook.seen.append(
            dict(
                epoch=runner.epoch,
                batch=len(data_batch['data_samples']),
                lr=runner.optim_wrapper.param_groups[0]['lr'],
                state=state,
                trains=grads,
                training=training,
                hidden=runner.model.hidden.weight.detach().clone(),
                mean=runner.model.norm.running_mean.clone(),
            )
        )


PHASES = [dict(until_epoch=2, freeze=['hidden', 'norm'], batch_size=12), dict(batch_size=6)]


def phased(work_dir, max_epochs: int = 4, phases=None, **changes) -> dict:
    cfg = toy_config(work_dir, by_epoch=True, **changes)
    cfg['model'] = dict(type='ToyBatchNormModel')
    cfg['train_cfg'] = dict(
        type='EpochBasedTrainLoop', max_epochs=max_epochs, phases=PHASES if phases is None else phases
    )
    cfg['train_dataloader']['batch_size'] = 12
    cfg['param_scheduler'] = [dict(type='ClosedFormLR', policy='Fixed')]
    cfg['default_hooks']['checkpoint'] = dict(type='CheckpointHook', interval=2, by_epoch=False)
    return cfg


@pytest.fixture
def seen() -> list:
    WatchHook.seen = []
    return WatchHook.seen


def test_what_is_frozen_has_no_gradient_no_state_and_no_moving_statistics_until_it_thaws(tmp_path, seen):
    runner = build(phased(tmp_path, custom_hooks=[dict(type='WatchHook')]))
    start = runner.model.hidden.weight.detach().clone()
    runner.train()
    frozen, thawed = [row for row in seen if row['epoch'] < 2], [row for row in seen if row['epoch'] >= 2]
    assert [row['batch'] for row in frozen] == [12] * 4  # 24 samples
    assert [row['batch'] for row in thawed] == [6] * 8
    for row in frozen:
        assert row['state'] == row['trains'] == {'out.weight', 'out.bias'}
        assert row['training'] == {'data_preprocessor', 'dropout', 'out'}
        assert torch.equal(row['hidden'], start)
        assert not row['mean'].any()
    names = {name for name, _ in runner.model.named_parameters()}
    assert all(row['state'] == row['trains'] == names for row in thawed)
    assert {'hidden', 'norm'} <= thawed[0]['training']
    assert not torch.equal(thawed[0]['hidden'], start)
    assert thawed[0]['mean'].any()


def test_the_base_rate_follows_the_batch(tmp_path, seen):
    build(phased(tmp_path, custom_hooks=[dict(type='WatchHook')])).train()
    assert {row['lr'] for row in seen if row['epoch'] < 2} == {0.01}
    assert {row['lr'] for row in seen if row['epoch'] >= 2} == {0.005}


def test_an_evaluation_leaves_the_frozen_parts_in_evaluation_mode(tmp_path, seen):
    cfg = phased(tmp_path, custom_hooks=[dict(type='WatchHook')])
    cfg['train_cfg']['val_interval'] = 1
    build(cfg).train()
    assert all('norm' not in row['training'] for row in seen if row['epoch'] < 2)


@pytest.mark.parametrize(('stop', 'workers'), [(3, 0), (4, 2), (7, 0)], ids=['frozen', 'between', 'thawed'])
def test_a_run_killed_in_any_phase_continues_bit_for_bit(tmp_path, stop, workers):
    changes = dict(train_dataloader=dict(num_workers=workers, persistent_workers=bool(workers)))
    whole = build(phased(tmp_path / 'whole', **changes))
    whole.train()
    killed = build(phased(tmp_path / 'killed', custom_hooks=[dict(type='KillHook', after=stop)], **changes))
    with pytest.raises(Killed):
        killed.train()
    resumed = build(phased(tmp_path / 'killed', resume=True, **changes))
    resumed.train()
    assert resumed.train_loop.iters_done == 12
    assert_same(state_of(whole), state_of(resumed))
    assert losses_of(tmp_path / 'killed') == losses_of(tmp_path / 'whole')


def test_a_checkpoint_of_other_lengths_goes_on_at_the_beginning_of_its_epoch(tmp_path):
    killed = build(phased(tmp_path, custom_hooks=[dict(type='KillHook', after=7)]))
    with pytest.raises(Killed):
        killed.train()  # in the middle of epoch 3
    phases = [dict(until_epoch=2, freeze=['hidden', 'norm'], batch_size=12), dict(batch_size=8)]
    resumed = build(phased(tmp_path, phases=phases, resume=True))
    resumed.train()
    assert resumed.train_loop.iters_done == 2 * 2 + 2 * 3
    assert 'going on at the beginning of epoch 3, which is iteration 4' in (tmp_path / 'latest.log').read_text()


def test_a_plain_run_goes_on_with_phases_from_its_epoch(tmp_path):
    plain = build(phased(tmp_path, max_epochs=2, phases=[]))
    plain.train()
    resumed = build(phased(tmp_path, resume=True))
    resumed.train()
    assert resumed.train_loop.iters_done == 4 + 8


def test_a_frozen_part_without_another_batch_needs_no_timetable(tmp_path, seen):
    build(phased(tmp_path, max_epochs=1, phases=[dict(freeze=['norm'])], custom_hooks=[dict(type='WatchHook')])).train()
    assert all('norm.weight' not in row['trains'] for row in seen)


def test_phases_without_a_schedule_of_ours_are_refused(tmp_path):
    cfg = phased(tmp_path)
    cfg['param_scheduler'] = None
    with pytest.raises(UserError, match=r"write param_scheduler=dict\(type='ClosedFormLR', policy='Fixed'\)"):
        build(cfg).train()


@pytest.mark.parametrize(
    ('phases', 'match'),
    [
        ([dict(until_epoch=2), dict(until_epoch=2)], r'phases.1.until_epoch must be a whole number above 2.*got 2'),
        ([dict(freeze=['norm']), dict()], r'phases.0.until_epoch must be a whole number above 0.*got None'),
        ([dict(until_epoch=3)], r'until_epoch=3 ends before the run of 4 epochs: leave it out'),
        ([dict(until_epochs=3)], r'phases.0.until_epochs is unknown; did you mean until_epoch'),
        ([dict(freeze='norm')], r"phases.0.freeze must be a list of module names, got 'norm'"),
        ([dict(batch_size=0)], r'phases.0: the batch must be a positive whole number, got 0'),
    ],
)
def test_phases_that_cannot_be_are_named(phases, match):
    with pytest.raises(UserError, match=match):
        parse_phases(phases, 4)


def test_a_shorter_run_ends_earlier():
    phases = parse_phases([dict(until_epoch=30, freeze=['a']), dict(until_epoch=150)], 10)
    assert [(phase.until_epoch, phase.freeze) for phase in phases] == [(10, ('a',))]


def test_names_take_wildcards_and_unknown_ones_are_refused_with_their_neighbors():
    model = torch.nn.ModuleDict(dict(backbone=torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))))
    model['head'] = torch.nn.Linear(2, 1)
    model['head'].bias.requires_grad_(False)
    freezer = Freezer(model, ['backbone.?', 'head'][:1])
    assert not any(param.requires_grad for param in model['backbone'].parameters())
    freezer.thaw()
    Freezer(model, ['head']).thaw()
    assert not model['head'].bias.requires_grad  # was not trained before
    with pytest.raises(UserError, match="freeze='backbones' matches no module of the model; near: backbone"):
        Freezer(model, ['backbones'])
    with pytest.raises(UserError, match='leaves no parameter to train'):
        Freezer(model, ['*'])
    assert model['head'].weight.requires_grad


def dialect(**changes) -> dict:
    base = dict(
        model=dict(type='ToyModel'),
        data=dict(samples_per_gpu=4, train=dict(type='ToyDataset')),
        optimizer=dict(type='SGD', lr=0.1),
        runner=dict(type='EpochBasedRunner', max_epochs=4),
        lr_config=dict(policy='Fixed'),
    )
    return base | changes


def test_the_dialect_writes_phases_with_its_own_words():
    lowered = lower(dialect(phases=[dict(until_epoch=2, freeze=['hidden'], samples_per_gpu=8), dict(until_epoch=4)]))
    assert lowered['train_cfg']['phases'] == [
        dict(until_epoch=2, freeze=['hidden'], batch_size=8),
        dict(until_epoch=4),
    ]
    assert 'phases' not in lowered
    assert 'phases' not in lower(dialect(phases=None))['train_cfg']
    with pytest.raises(ConfigError, match='phases.0.samples_per_gpus is unknown; did you mean samples_per_gpu'):
        lower(dialect(phases=[dict(samples_per_gpus=8)]))
    with pytest.raises(ConfigError, match='phases need epochs'):
        lower(dialect(phases=[dict(until_epoch=2)], runner=dict(type='IterBasedRunner', max_iters=4)))
    with pytest.raises(ConfigError, match='phases must be a list of dicts'):
        lower(dialect(phases=dict(until_epoch=2)))

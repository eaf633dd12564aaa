"""Which dialect a config is written in, what of it has no effect, and how our own names stand in another scope."""

import pytest

from mmopt.config import ConfigError, is_native, lower
from mmopt.config.dropped import dropped_keys
from mmopt.config.files import read_file
from mmopt.registry import HOOKS, LOOPS, OPTIM_WRAPPERS, PARAM_SCHEDULERS, RUNNERS
from tests.config.samples import make_config, make_epoch_config

NATIVE = dict(
    model=dict(type='Net'),
    train_dataloader=dict(batch_size=2, dataset=dict(type='Data')),
    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
    train_cfg=dict(by_epoch=True, max_epochs=1),
)
WHOLE_DATA = dict(samples_per_gpu=2, train=dict(type='Data'))
PARTS_OF_DATA = dict(train=dict(pipeline=[]), val=dict(pipeline=[]))


@pytest.mark.parametrize(
    'variables',
    [
        dict(optimizer=dict(type='SGD', lr=0.01)),
        dict(optimizer=dict(type='SGD'), optimizer_config=dict(), lr_config=dict(policy='poly')),
        dict(max_epochs=300, base_lr=0.01, train_pipeline=[], total_epochs=3, seed=1),
        dict(data=PARTS_OF_DATA),
        dict(data=dict(samples_per_gpu=3)),
        dict(runner=3, fp16=None, evaluation='x', workflow=0, phases=1),
    ],
)
def test_beside_mmengines_sections_other_names_are_variables(variables):
    assert is_native(NATIVE | variables)
    assert lower(NATIVE | variables) == NATIVE | variables


@pytest.mark.parametrize('name', ['train_dataloader', 'val_dataloader', 'test_dataloader'])
def test_one_loader_is_enough(name):
    assert is_native({name: NATIVE['train_dataloader'], 'optimizer': dict(type='SGD')})


def test_a_schedule_alone_is_native_as_well():
    assert is_native(dict(optimizer=dict(type='SGD'), optim_wrapper=dict(optimizer=dict(type='SGD'))))


@pytest.mark.parametrize(
    'cfg',
    [
        NATIVE | dict(data=WHOLE_DATA),
        NATIVE | dict(data=dict(train=[dict(type='Data')])),
        dict(optim_wrapper=NATIVE['optim_wrapper'], data=WHOLE_DATA),
        make_config(default_hooks=dict(timer=None)),
        # Its training is MMCV's, its data MMEngine's.
        dict(train_dataloader=NATIVE['train_dataloader'], data=PARTS_OF_DATA, optimizer=dict(type='SGD')),
    ],
)
def test_where_nobody_can_tell_what_is_meant_both_styles_are_named(cfg):
    with pytest.raises(ConfigError, match=r'mixes MMEngine sections \(.+\) with MMCV-1.x sections \(.+\)'):
        is_native(cfg)


def test_a_section_of_mmengine_that_is_taken_back_decides_nothing():
    assert not is_native(make_config() | dict(optim_wrapper=None, randomness=None))


@pytest.mark.parametrize('deleted', ['optimizer = None', 'optimizer = dict(_delete_=True)', 'del _base_.optimizer'])
def test_a_child_takes_a_variable_away(deleted, tmp_path):
    (tmp_path / 'base.py').write_text(
        "optimizer = dict(type='SGD', lr=0.01)\noptim_wrapper = dict(type='OptimWrapper', optimizer=optimizer)\n"
        "train_dataloader = dict(batch_size=2, dataset=dict(type='Data'))\n"
        'train_cfg = dict(by_epoch=True, max_epochs=1)\n'
    )
    child = tmp_path / 'child.py'
    child.write_text(f"_base_ = './base.py'\n{deleted}\n")
    cfg = read_file(child)
    assert is_native(cfg)
    assert not cfg.get('optimizer')
    assert lower(cfg)['optim_wrapper']['optimizer'] == dict(type='SGD', lr=0.01)


def test_a_child_replaces_a_whole_section(tmp_path):
    (tmp_path / 'base.py').write_text("optim_wrapper = dict(type='A', optimizer=dict(type='SGD', lr=1), clip_grad=2)\n")
    child = tmp_path / 'child.py'
    child.write_text("_base_ = './base.py'\noptim_wrapper = dict(_delete_=True, optimizer=dict(type='Adam'))\n")
    assert lower(read_file(child))['optim_wrapper'] == dict(optimizer=dict(type='Adam'))


def test_sections_that_nothing_is_made_of_are_told_from_variables():
    used = dict(type='SGD', lr=0.01)
    cfg = NATIVE | dict(
        optimizer=used,
        optim_wrapper=dict(optimizer=dict(used, momentum=0.9)),
        lr_config=dict(policy='poly'),
        data=PARTS_OF_DATA,
        total_epochs=9,
        checkpoint_config=None,
    )
    assert set(dropped_keys(cfg)) == {'lr_config', 'data'}
    assert 'MMEngine, which does not read data' in dropped_keys(cfg)['data']


# ---------------------------------------------------------------- our names in another scope
def types_of(part) -> set[str]:
    """Return every type that a section names, wherever it stands."""
    if isinstance(part, dict):
        own = {value for key, value in part.items() if key in ('type', 'ema_type', 'constructor') and value}
        return own.union(*(types_of(value) for value in part.values()))
    return set().union(*(types_of(item) for item in part)) if isinstance(part, list) else set()


FULL = dict(
    optimizer=dict(paramwise_cfg=dict(norm_decay_mult=0.0)),
    fp16=dict(loss_scale='dynamic'),
    momentum_config=dict(policy='cyclic', by_epoch=False),
    custom_hooks=[dict(type='EMAHook'), dict(type='MineHook')],
    log_config=dict(hooks=[dict(type='TextLoggerHook'), dict(type='TensorboardLoggerHook')]),
)


@pytest.mark.parametrize('make', [make_config, make_epoch_config])
def test_what_lowering_writes_carries_its_scope_where_another_is_searched_first(make):
    changes = {key: value for key, value in FULL.items() if make is make_config or key != 'momentum_config'}
    if make is make_config:
        changes['log_config'] = dict(hooks=[dict(type='TextLoggerHook', by_epoch=False)])
    lowered = lower(make(default_scope='mylib', **changes))
    ours = {key: value for key, value in lowered.items() if key not in ('model',)}
    mine = {'AdamW', 'Data', 'MineHook'}
    assert {name for name in types_of(ours) if '.' not in name} == mine
    assert lowered['runner_type'].startswith('mmopt.')
    assert lowered['custom_hooks'][0]['type'] == 'mmengine.EMAHook'
    assert lowered['custom_hooks'][0]['ema_type'] == 'mmopt.LinearWarmupEMA'
    # Each is the very class that the plain name is in mmopt's own scope.
    plain = lower(make(**changes))
    for registry, section, key in (
        (LOOPS, 'train_cfg', 'type'),
        (OPTIM_WRAPPERS, 'optim_wrapper', 'type'),
    ):
        assert registry.get(lowered[section][key]) is registry.get(plain[section][key])
    assert RUNNERS.get(lowered['runner_type']) is RUNNERS.get(plain['runner_type'])
    assert PARAM_SCHEDULERS.get(lowered['param_scheduler'][0]['type']).__name__ == 'ClosedFormLR'
    for name, hook in lowered['default_hooks'].items():
        if hook is not None:
            assert HOOKS.get(hook['type']) is HOOKS.get(plain['default_hooks'][name]['type'])


def test_precision_keeps_the_scope_of_the_wrapper():
    lowered = lower(make_config(default_scope='mylib', precision='bf16'))
    assert lowered['optim_wrapper']['type'] == 'mmopt.AmpOptimWrapper'
    lowered = lower(make_config(default_scope='mylib', optimize=dict(precision='fp16')))
    assert lowered['optim_wrapper']['type'] == 'mmopt.AmpOptimWrapper'


def test_in_mmopts_own_scope_names_stay_short():
    assert types_of(lower(make_config())) == types_of(lower(make_config(default_scope='mmopt')))
    assert '.' not in ''.join(types_of(lower(make_config())))

"""The tables of keys are what lowering does: every key goes where its table says, or has no effect for a reason."""

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import NamedTuple

import pytest
import torch
from mmengine.hooks import LoggerHook as MMEngineLoggerHook
from mmengine.registry import VISBACKENDS

from mmopt.config import ConfigError, lower
from mmopt.config.dropped import dropped_keys
from mmopt.config.keys import BACKENDS, POLICIES, REQUIRED, SAME, SECTIONS, TOP_LEVEL, Key
from mmopt.config.values import NUMBER
from mmopt.engine.ema import ExpWarmupEMA, LinearWarmupEMA
from mmopt.engine.guards.bad_numbers import BadNumberPolicy
from mmopt.engine.hooks import CheckpointHook, LoggerHook
from mmopt.engine.loops.phases import Phase
from mmopt.engine.schedules.schedulers import ClosedFormLR
from tests.config.samples import make_config, make_epoch_config

SPLITS = ('train', 'val', 'test')
KEYS = [(name, key) for name, section in {'': TOP_LEVEL, **SECTIONS}.items() for key in section.keys]

# A key is probed with those of these values that its kind takes.
POOL = (
    *(True, False, 2, 3, 0.25, 0.5, 'one', 'two', 'auto', 'greater', 'less', 'linear', 'sqrt', '2d', 'fp16', 'bf16'),
    *('disk', 'ram', 'raise', 'skip', 'ddp', 'fsdp', 'CheckpointHook', 'IterBasedRunner', 'EpochBasedRunner'),
    *(['one'], ['two'], [2, 3], [0.25, 0.5], [(2, 1)], [('train', 1)], [dict(type='One')], [dict(until_epoch=3)]),
    *(
        dict(type='One'),
        dict(type='Two'),
        dict(one=1),
        dict(max_norm=2.0),
        dict(init_scale=2.0),
        dict(one=dict(lr_mult=2.0)),
        dict(),
    ),
)


class Beside(NamedTuple):
    """A probe that is accepted beside certain other keys of its section only."""

    value: object
    others: dict


# Keys whose values must fit together, so that the pool has none for them.
PROBES = {
    ('', 'data'): [dict(samples_per_gpu=2, **{split: dict(type=name) for split in SPLITS}) for name in 'AB'],
    ('', 'optimizer_config'): [dict(grad_clip=dict(max_norm=1.0))],
    ('', 'mmcv_extension'): ['torch'],
    ('', 'auto_resume'): [True, Beside(True, dict(load_from='x'))],
    ('runner', 'type'): [
        Beside('IterBasedRunner', dict(max_iters=3, max_epochs=None)),
        Beside('EpochBasedRunner', dict(max_epochs=3, max_iters=None)),
    ],
    ('', 'load_from_sha256'): ['0' * 64, 'aF' * 32],
    ('', 'lr_config'): [dict(policy='fixed')],
    ('', 'momentum_config'): [dict(policy='cyclic')],
    ('', 'runner'): [
        dict(type='IterBasedRunner', max_iters=4),
        dict(type='EpochBasedRunner', max_epochs=4),
        dict(type='EpochBasedRunner', max_epochs=4, accumulative_counts=2),
    ],
    ('', 'checkpoint_config'): [dict(interval=3)],
    ('', 'evaluation'): [dict(interval=3, metric='mAP', save_best='mAP')],
    ('', 'log_config'): [dict(interval=3, hooks=[dict(type='TensorboardLoggerHook')])],
    ('', 'bad_numbers'): [dict(action='skip')],
    ('', 'dist_params'): [dict(backend='gloo')],
    ('', 'auto_scale_lr'): [dict(enable=True)],
    ('', 'optimize'): [dict(micro_batch=2)],
    **{('data', f'{split}_dataloader'): [dict(samples_per_gpu=3)] for split in SPLITS},
    ('optimizer', 'paramwise_cfg'): [dict(norm_decay_mult=0.0)],
    ('optimizer_config', 'type'): ['OptimizerHook', 'Fp16OptimizerHook', 'GradientCumulativeFp16OptimizerHook'],
    ('lr_config', 'policy'): [Beside('step', dict(step=2)), Beside('OneCycle', dict(max_lr=0.1))],
    ('momentum_config', 'policy'): [Beside('step', dict(step=2)), 'OneCycle'],
    **{(section, 'warmup'): ['linear', 'exp'] for section in POLICIES},
    ('lr_config.CosineRestart', 'periods'): [[200], [300]],
    ('lr_config.CosineRestart', 'restart_weights'): [[0.5], [2.0]],
    ('lr_config.OneCycle', 'total_steps'): [200, 300],
    ('log_config', 'hooks'): [[dict(type='TextLoggerHook', out_dir='x'), dict(type='TensorboardLoggerHook')]],
    ('evaluation', 'save_best'): ['mIoU', 'mAP'],
    ('evaluation', 'greater_keys'): [['speed']],
    ('evaluation', 'less_keys'): [['mIoU_speed']],
}
# What else must stand in the config for a key to count; None takes away. A section: for all of its keys.
NO_LENGTH = dict.fromkeys(('runner', 'lr_config', 'checkpoint_config', 'evaluation'))
COMPANY = {
    ('', 'total_epochs'): NO_LENGTH,
    ('', 'total_iters'): NO_LENGTH,
    ('', 'runner'): NO_LENGTH,
    ('runner', 'type'): NO_LENGTH,
    ('optimize', 'max_workers'): {'data.workers_per_gpu': 5},
    ('runner', 'max_iters'): {'runner': dict(type='IterBasedRunner')},
    ('data', 'videos_per_gpu'): {'data.samples_per_gpu': None},
    ('data', 'imgs_per_gpu'): {'data.samples_per_gpu': None},
    ('data', 'cache_dir'): {'data.cache': 'disk'},
    **{(f'data.{split}_dataloader', 'cache_dir'): {'data.cache': 'disk'} for split in SPLITS},
    **{(f'data.{split}', 'separate_eval'): {f'data.{split}.ann_file': ['a', 'b']} for split in SPLITS},
    ('optimizer_config', 'loss_scale'): {'optimizer_config.type': 'Fp16OptimizerHook'},
    ('optimizer_config', 'cumulative_iters'): {'optimizer_config.type': 'GradientCumulativeOptimizerHook'},
    ('evaluation', 'rule'): {'evaluation.save_best': 'speed'},
    ('evaluation', 'greater_keys'): {'evaluation.save_best': 'speed_of_loss'},
    ('evaluation', 'less_keys'): {'evaluation.save_best': 'mIoU_speed'},
    ('lr_config', 'policy'): {'lr_config': {}},
    ('momentum_config', 'policy'): {'momentum_config': {}},
    'lr_config': {'lr_config': dict(policy='step', step=[2])},
    'momentum_config': {'momentum_config': dict(policy='step', step=[2])},
    **{
        (section, key): {f'{section}.warmup': 'linear', f'{section}.warmup_iters': 5}
        for section in POLICIES
        for key in ('warmup', 'warmup_iters', 'warmup_ratio', 'warmup_by_epoch')
    },
    'fp16.loss_scale': {'fp16': {}},
    'phases': {'phases': [{}]},
}


def part_at(cfg: dict, section: str) -> dict:
    """Return the dict of a config that is a section; it is made where there is none."""
    if not section:
        return cfg
    path = section.split('.')
    last = path[-1]
    if last[0].isupper():
        if path[0] in POLICIES:
            cfg[path[0]] = dict(policy=last)
            return cfg[path[0]]
        cfg['custom_hooks'], cfg['log_config'] = [], dict(hooks=[])
        hooks = cfg['custom_hooks'] if path[0] == 'custom_hooks' else cfg['log_config']['hooks']
        hooks.append(dict(type=last))
        return hooks[0]
    if section == 'phases':
        return cfg['phases'][0]
    if section == 'optimizer.paramwise_cfg.custom_keys':
        path.append('one')
    for step in path:
        cfg = cfg.setdefault(step, {})
    return cfg


def set_at(cfg: dict, path: str, value: object) -> None:
    *steps, last = path.split('.')
    for step in steps:
        cfg = cfg.setdefault(step, {})
    cfg[last] = value
    if value is None:
        del cfg[last]


def outcomes(section: str, key: str, make: Callable[..., dict]) -> Iterator[tuple[object, dict]]:
    """Lower a config without a key, and with every probe that is accepted."""
    entry = (SECTIONS[section] if section else TOP_LEVEL).keys[key]
    probes = [probe if isinstance(probe, Beside) else Beside(probe, {}) for probe in PROBES.get((section, key), POOL)]
    given = [probe for probe in probes if entry.kind.accepts(probe.value)]
    assert given, f'{section}.{key}: no probe is {entry.kind.words}; add one to POOL or PROBES.'
    for value, others in (Beside(None, {}), *given):
        cfg = make()
        for path, other in {**COMPANY.get(section, {}), **COMPANY.get((section, key), {})}.items():
            set_at(cfg, path, copy.deepcopy(other))
        part = part_at(cfg, section)
        if section.partition('.')[0] in POLICIES and not key.startswith('min_'):
            # Half of the policies need a minimum.
            part |= {name: 0.1 for name in ('min_lr', 'min_momentum') if f'{name}_ratio' in SECTIONS[section].keys}
        if section.rpartition('.')[0] in POLICIES:
            required = REQUIRED.get(part['policy'], {})
            part |= {name: example for name, example in required.items() if name in SECTIONS[section].keys}
        part.update(copy.deepcopy({key: value, **others}))
        with suppress(ConfigError):
            yield value, lower(cfg)


def leaves(value: object, path: tuple[str, ...] = ()) -> set[tuple[str, str]]:
    """Return all values with their dotted places; an element of a list has the list's."""
    inner = value.items() if isinstance(value, dict) else [(None, item) for item in value] if is_list(value) else ()
    found = {('.'.join(path), repr(value))}
    for name, item in inner:
        found |= leaves(item, path if name is None else (*path, name))
    return found


def is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def changed_places(section: str, key: str) -> tuple[set[str], int]:
    """Return the places of the lowered config that depend on a key, and how many values of it were accepted."""
    changed, num_accepted = set(), 0
    for make in (make_config, make_epoch_config):
        accepted = list(outcomes(section, key, make))
        lowered = [leaves(result) for _, result in accepted]
        num_accepted += sum(value is not None for value, _ in accepted)
        changed |= {place for other in lowered[1:] for place, _ in lowered[0] ^ other}
    return changed - {''}, num_accepted


def has_changed(place: str, changed: set[str]) -> bool:
    wanted = place.split('.')
    return any(
        len(parts := found.split('.')) >= len(wanted) and all(map(fnmatchcase, parts, wanted)) for found in changed
    )


def check_key(section: str, key: str) -> None:
    entry = (SECTIONS[section] if section else TOP_LEVEL).keys[key]
    name = f'{section}.{key}'.strip('.')
    assert bool(entry.to) + bool(entry.dropped) + bool(entry.refused) == 1, f'{name}: one of to, dropped, refused'
    changed, num_accepted = changed_places(section, key)
    if entry.refused:
        assert not changed
        return
    assert num_accepted, f'{name}: no probe is accepted; give it COMPANY.'
    if entry.dropped:
        assert not changed, f'{name} is said to be dropped, but changes {sorted(changed)}'
        return
    assert entry.meaning.endswith('.'), f'{name} needs a meaning.'
    assert changed, f'{name} vanishes: it is accepted and changes nothing; lower it, or say why it is dropped.'
    for place in entry.places:
        place = f'{section}.{key}'.strip('.') if place == SAME else place
        assert has_changed(place, changed), f'{name} does not change {place}, but {sorted(changed)}'


@pytest.mark.parametrize(('section', 'key'), KEYS)
def test_a_key_changes_what_its_table_says_or_nothing_for_a_reason(section, key):
    check_key(section, key)


@pytest.mark.parametrize('section', [name for name in SECTIONS if not SECTIONS[name].is_open and name != 'optimize'])
def test_a_key_that_stands_in_a_table_alone_is_found(section, monkeypatch):
    place = 'nowhere.new_key'
    keys = {**SECTIONS[section].keys, 'new_key': Key(NUMBER, place, 'Nothing.')}
    monkeypatch.setitem(SECTIONS, section, SECTIONS[section]._replace(keys=keys))
    if section.rpartition('.')[0] in POLICIES:
        section, policy = section.split('.')
        monkeypatch.setitem(POLICIES[section], policy, keys)
        section = f'{section}.{policy}'
    with pytest.raises(AssertionError, match='new_key (vanishes|does not change nowhere)'):
        check_key(section, 'new_key')


# Place of the lowered config -> what is called with the keys that lie there.
RECEIVERS = {
    'default_hooks.checkpoint': [CheckpointHook],
    'default_hooks.logger': [LoggerHook, MMEngineLoggerHook],
    'train_cfg.bad_numbers': [BadNumberPolicy],
    'train_cfg.phases': [Phase],
    'optim_wrapper.clip_grad': [torch.nn.utils.clip_grad_norm_],
    'optim_wrapper.loss_scale': [torch.amp.GradScaler],
}


def parameters_of(receivers: list) -> set[str]:
    return {name for receiver in receivers for name in inspect.signature(receiver).parameters}


@pytest.mark.parametrize('place', RECEIVERS)
def test_what_is_passed_on_is_taken(place):
    passed = {
        name
        for section in SECTIONS.values()
        for entry in section.keys.values()
        for head, _, name in (target.rpartition('.') for target in entry.places)
        if head == place
    }
    assert passed
    assert passed <= parameters_of(RECEIVERS[place])


@pytest.mark.parametrize('hook', BACKENDS)
def test_the_backends_take_what_the_logger_hooks_pass_on(hook):
    places = [place for key in SECTIONS[f'log_config.hooks.{hook}'].keys.values() for place in key.places]
    own = {place.rpartition('.')[2] for place in places if place.startswith('visualizer.vis_backends.')}
    assert own <= parameters_of([VISBACKENDS.get(BACKENDS[hook])])


def test_the_warm_up_keys_are_those_of_the_schedulers():
    warm_up = {key for key in SECTIONS['lr_config'].keys if key != 'warmup_by_epoch'}
    assert warm_up == set(SECTIONS['momentum_config'].keys)
    assert set(SECTIONS['lr_config'].keys) <= parameters_of([ClosedFormLR])


def test_an_average_takes_the_keys_of_its_hook():
    for hook, average in (
        ('EMAHook', LinearWarmupEMA),
        ('LinearMomentumEMAHook', LinearWarmupEMA),
        ('ExpMomentumEMAHook', ExpWarmupEMA),
    ):
        lowered = lower(make_config(custom_hooks=[dict(type=hook, momentum=0.1, interval=2)]))['custom_hooks'][0]
        assert set(lowered) - {'type', 'ema_type'} <= parameters_of([average, *average.__mro__[1:-1]])


def test_dropped_keys_are_found_wherever_they_stand():
    cfg = make_config(
        workflow=[('train', 1)],
        data=dict(
            val_dataloader=dict(drop_last=True),
            train=dict(type='R', dataset=dict(type='C', separate_eval=False, datasets=[dict(type='A')])),
        ),
        optimizer_config=dict(type='Fp16OptimizerHook', coalesce=True),
        custom_hooks=[dict(type='NumClassCheckHook'), dict(type='DistSamplerSeedHook')],
        checkpoint_config=dict(create_symlink=False, meta=None),
        log_config=dict(hooks=[dict(type='TextLoggerHook', by_epoch=False), dict(type='WandbLoggerHook', log_model=1)]),
    )
    dropped = dropped_keys(cfg)
    assert set(dropped) == {
        'workflow',
        'data.val_dataloader.drop_last',
        'data.train.separate_eval',
        'optimizer_config.coalesce',
        'custom_hooks.DistSamplerSeedHook',
        'checkpoint_config.create_symlink',
        'log_config.hooks.WandbLoggerHook.log_model',
    }
    assert dropped['checkpoint_config.create_symlink'] == 'the file `last_checkpoint` names the newest checkpoint'


def test_a_configs_native_sections_have_no_dropped_keys():
    assert dropped_keys(lower(make_config())) == {}

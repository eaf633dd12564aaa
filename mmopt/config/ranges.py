"""Numbers of a lowered config that no optimizer, loader or random generator takes, found before anything is built.

A config of the dialect is held against its tables of keys before; this finds the same in a native config and in what
flags have set.
"""

from collections.abc import Mapping
from typing import Any

from mmopt.config.keys import SECTIONS
from mmopt.config.schema import ConfigError
from mmopt.config.values import SEED, Kind

__all__ = ['check_ranges', 'check_seed']

_OPTIMIZER = ('lr', 'weight_decay', 'momentum', 'betas', 'eps')
_LOADER = {'batch_size': 'samples_per_gpu', 'num_workers': 'workers_per_gpu'}
_MULTIPLIERS = ('lr_mult', 'decay_mult')


def check_seed(name: str, seed: Any) -> None:
    """Refuse a seed that the random generators do not take.

    Args:
        name: What gave it: ``--seed`` or a dotted key.
        seed: The seed, or None for a random one.

    Raises:
        ConfigError: With the range.
    """
    _check(name, SEED, seed)


def check_ranges(lowered: Mapping[str, Any]) -> None:
    """Refuse numbers that are out of their range.

    Args:
        lowered: A lowered or native config.

    Raises:
        ConfigError: With the place in the config, the range and the value.
    """
    check_seed('randomness.seed', _dict(lowered.get('randomness')).get('seed'))
    for split in ('train', 'val', 'test'):
        loader = _dict(lowered.get(f'{split}_dataloader'))
        for key, ours in _LOADER.items():
            _check(f'{split}_dataloader.{key}', SECTIONS['data'].keys[ours].kind, loader.get(key))
    _check_wrapper('optim_wrapper', _dict(lowered.get('optim_wrapper')))


def _check_wrapper(name: str, wrapper: Mapping[str, Any]) -> None:
    optimizer = _dict(wrapper.get('optimizer'))
    for key in _OPTIMIZER:
        _check(f'{name}.optimizer.{key}', SECTIONS['optimizer'].keys[key].kind, optimizer.get(key))
    _check(
        f'{name}.accumulative_counts',
        SECTIONS['runner'].keys['accumulative_counts'].kind,
        wrapper.get('accumulative_counts'),
    )
    clipping = SECTIONS['optimizer_config.grad_clip'].keys['max_norm'].kind
    _check(f'{name}.clip_grad.max_norm', clipping, _dict(wrapper.get('clip_grad')).get('max_norm'))
    multipliers = SECTIONS['optimizer.paramwise_cfg.custom_keys'].keys
    for pattern, given in _dict(_dict(wrapper.get('paramwise_cfg')).get('custom_keys')).items():
        for key in _MULTIPLIERS:
            _check(f'{name}.paramwise_cfg.custom_keys[{pattern!r}].{key}', multipliers[key].kind, _dict(given).get(key))
    for key, part in wrapper.items():  # several wrappers, one for each part of a model
        if 'optimizer' in _dict(part):
            _check_wrapper(f'{name}.{key}', part)


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _check(name: str, kind: Kind, value: Any) -> None:
    if value is not None and not kind.accepts(value):
        raise ConfigError(f'{name} must be {kind.words}, got {value!r}.')

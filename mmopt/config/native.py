"""Which dialect a config is written in: MMEngine's sections decide, and beside them other names are variables."""

from collections.abc import Mapping, MutableMapping
from typing import Any

from mmopt.config.keys import DIALECT
from mmopt.config.schema import ConfigError

__all__ = ['fill_samplers', 'is_native', 'leftovers']

_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
_SECTIONS = (
    *_LOADERS,
    'optim_wrapper',
    'param_scheduler',
    'val_evaluator',
    'test_evaluator',
    'default_hooks',
    'env_cfg',
    'randomness',
    'log_processor',
)
# What MMEngine builds a run of; a variable that stands inside one of these takes effect there.
_BUILT = (*_SECTIONS, 'model', 'train_cfg', 'val_cfg', 'test_cfg', 'custom_hooks', 'visualizer', 'auto_scale_lr')


def is_native(cfg: Mapping[str, Any]) -> bool:
    """Tell whether ``cfg`` is a native MMEngine config.

    Args:
        cfg: A config.

    Returns:
        True when it has a section that only MMEngine knows. Beside its loaders or its ``optim_wrapper``, names such as
        ``optimizer``, ``lr_config`` or ``data`` are variables or left over from an older version, as in every schedule
        of MMSegmentation 1.x.

    Raises:
        ConfigError: If nobody can tell which sections are meant: the data of one style and the training of the other.
    """
    native = [key for key in _SECTIONS if cfg.get(key) is not None]
    loops = cfg.get('train_cfg')
    if isinstance(loops, Mapping) and {'by_epoch', 'max_epochs', 'max_iters'} & set(loops):
        native.append('train_cfg')
    dialect = [key for key in DIALECT if cfg.get(key) is not None]
    if not dialect:
        return bool(native) or any(key in cfg for key in _SECTIONS)
    if not native:
        return False
    data = cfg.get('data')
    train = data.get('train') if isinstance(data, Mapping) else None
    # Parts of a data set, such as a pipeline alone, are left over from a version whose bases had the rest.
    is_whole = isinstance(train, list | tuple) or (isinstance(train, Mapping) and 'type' in train)
    if ('optim_wrapper' in native and not is_whole) or (train is None and any(key in native for key in _LOADERS)):
        return True
    raise ConfigError(
        f'The config mixes MMEngine sections ({", ".join(native)}) with MMCV-1.x sections ({", ".join(dialect)}): '
        'write all of them in one style; tools/convert_config.py turns the second into the first.'
    )


def fill_samplers(cfg: MutableMapping[str, Any]) -> None:
    """Give each loader of a native config that names no sampler the usual one: shuffled to train, in order to evaluate.

    Args:
        cfg: The config; changed in place.
    """
    for name in _LOADERS:
        loader = cfg.get(name)
        if isinstance(loader, MutableMapping) and loader.get('sampler') is None and loader.get('batch_sampler') is None:
            loader['sampler'] = dict(type='mmengine.DefaultSampler', shuffle=name == 'train_dataloader')


def leftovers(cfg: Mapping[str, Any]) -> dict[str, str]:
    """Find the sections of MMCV 1.x that a native config holds and nothing is made of.

    Args:
        cfg: A native config.

    Returns:
        Key -> why it has no effect. A variable whose value stands in a section, such as the ``optimizer`` of
        ``optim_wrapper = dict(optimizer=optimizer)``, is none.
    """
    built = [cfg[key] for key in _BUILT if cfg.get(key) is not None]
    return {
        key: f'the config is one of MMEngine, which does not read {key}'
        for key in DIALECT
        if isinstance(cfg.get(key), Mapping) and cfg[key] and not _stands_in(built, cfg[key])
    }


def _stands_in(part: Any, value: Mapping[str, Any]) -> bool:
    if isinstance(part, Mapping):
        # It may have been extended where it was used: dict(**optimizer, lr=...).
        if value == part or all(key in part and part[key] == item for key, item in value.items()):
            return True
        part = list(part.values())
    return isinstance(part, list | tuple) and any(_stands_in(item, value) for item in part)

"""The `optimize` section: what makes a run faster or smaller without changing its results; the same in both dialects.

The list of keys is closed: a key is here only if the engine has its implementation (`mmopt.engine.optimize`).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mmopt.config.precision import AUTO, DTYPE_NAMES, with_precision
from mmopt.config.schema import ConfigError, check_keys, nearest

__all__ = ['OPTIMIZE_KEYS', 'Kind', 'check_optimize', 'check_optimize_name', 'merge_optimize']


class Kind(NamedTuple):
    """What values a key takes.

    Attributes:
        words: For the error: ``'True or False'``.
        accepts: Whether a value will do; None always passes, it stands for a key that is not there.
    """

    words: str
    accepts: Callable[[Any], bool]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_compile(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return isinstance(value, bool) or value in _COMPILE_MODES
    regions, mode = value.get('regions', ['*']), value.get('mode')
    known = set(value) <= {'regions', 'mode', 'dynamic', 'backend'}
    return known and isinstance(regions, list) and (mode is None or mode in _COMPILE_MODES)


def _is_names(value: Any) -> bool:
    return isinstance(value, bool | str) or (
        isinstance(value, list | tuple) and bool(value) and all(isinstance(item, str) for item in value)
    )


def _is_checkpointing(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return _is_names(value)
    budget_gib = value.get('budget_gib', 1)
    return (
        set(value) <= {'patterns', 'selective', 'budget_gib'}
        and _is_names(value.get('patterns', True))
        and isinstance(value.get('selective', False), bool)
        and isinstance(budget_gib, int | float)
        and budget_gib >= 0
    )


_COUNT = Kind('a positive whole number', _is_count)
_SWITCH = Kind('True or False', lambda value: isinstance(value, bool))
_COMPILE_MODES = ('default', 'reduce-overhead', 'max-autotune', 'max-autotune-no-cudagraphs')

OPTIMIZE_KEYS: dict[str, Kind] = {
    'base_batch': _COUNT,
    'channels_last': Kind("True, False, '2d' or '3d'", lambda value: value is True or value in (False, '2d', '3d')),
    'checkpointing': Kind(
        "True, 'blocks', module patterns or dict(patterns=..., selective=True, budget_gib=4)", _is_checkpointing
    ),
    'compile': Kind('True, False, a mode of torch.compile or dict(regions=[...], mode=...)', _is_compile),
    'fused_optimizer': _SWITCH,
    'inplace': _SWITCH,
    'max_workers': Kind(
        'a whole number, at least 0', lambda value: _is_count(value) or (value == 0 and value is not False)
    ),
    'micro_batch': Kind("a positive whole number or 'auto'", lambda value: value == 'auto' or _is_count(value)),
    'offload': Kind('True, False or module patterns', _is_names),
    'optimizer_8bit': _SWITCH,
    'precision': Kind("'auto', 'fp32', 'fp16' or 'bf16'", lambda value: value in (AUTO, *DTYPE_NAMES)),
    'scale_lr': Kind("'linear' or 'sqrt'", lambda value: value in ('linear', 'sqrt')),
    'tf32': _SWITCH,
}
"""Key -> what it takes."""


def check_optimize(optimize: Mapping[str, Any] | None) -> None:
    """Refuse unknown keys and values of the wrong kind.

    Args:
        optimize: The section; None where a config has none.

    Raises:
        ConfigError: With the key, the nearest known one or what the key takes.
    """
    if optimize is None:
        return
    check_keys('optimize', optimize, tuple(OPTIMIZE_KEYS))
    for key, value in optimize.items():
        kind = OPTIMIZE_KEYS[key]
        if value is not None and not kind.accepts(value):
            raise ConfigError(f'optimize.{key} must be {kind.words}, got {value!r}.')


def check_optimize_name(names: Mapping[str, Any]) -> None:
    """Refuse a top-level name that is a slip of ``optimize``: it would be taken for a variable and do nothing.

    Args:
        names: A config, of which only the keys matter.

    Raises:
        ConfigError: With the name.
    """
    for name in names:
        if name != 'optimize' and not str(name).startswith('optimizer') and nearest(str(name), ('optimize',), 0.85):
            raise ConfigError(f'{name}: did you mean optimize?')


def merge_optimize(lowered: dict[str, Any]) -> None:
    """Put what concerns other sections there, and take it out of `optimize`: later flags then win.

    ``precision`` replaces the optimizer wrapper's; ``max_workers`` is a limit, a loader with fewer keeps its number.

    Args:
        lowered: A lowered config; is changed.
    """
    if not lowered.get('optimize'):
        return
    optimize = lowered['optimize'] = dict(lowered['optimize'])
    precision, limit = optimize.pop('precision', None), optimize.pop('max_workers', None)
    if precision is not None and lowered.get('optim_wrapper'):
        lowered['optim_wrapper'] = with_precision(lowered['optim_wrapper'], precision)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = lowered.get(name)
        if limit is not None and loader and (loader.get('num_workers') or 0) > limit:
            lowered[name] = dict(loader, num_workers=limit)
            if limit == 0:  # without workers torch refuses both
                lowered[name].pop('prefetch_factor', None)
                lowered[name]['persistent_workers'] = False

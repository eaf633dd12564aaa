"""The `optimize` section: what makes a run faster or smaller without changing its results; the same in both dialects.

The list of keys is closed: a key is here only if the engine has its implementation (`mmopt.engine.optimize`).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mmopt.config.schema import ConfigError, check_keys, nearest

__all__ = ['OPTIMIZE_KEYS', 'Kind', 'check_optimize', 'check_optimize_name']


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


_COUNT = Kind('a positive whole number', _is_count)
_SWITCH = Kind('True or False', lambda value: isinstance(value, bool))
_COMPILE_MODES = ('default', 'reduce-overhead', 'max-autotune', 'max-autotune-no-cudagraphs')

OPTIMIZE_KEYS: dict[str, Kind] = {
    'base_batch': _COUNT,
    'channels_last': Kind("True, False, '2d' or '3d'", lambda value: value is True or value in (False, '2d', '3d')),
    'compile': Kind('True, False, a mode of torch.compile or dict(regions=[...], mode=...)', _is_compile),
    'fused_optimizer': _SWITCH,
    'micro_batch': Kind("a positive whole number or 'auto'", lambda value: value == 'auto' or _is_count(value)),
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

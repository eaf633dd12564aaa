"""Values that are read last: ``num_classes='=len(classes)'`` takes the length of ``classes`` as inheritance left it.

A Python config computes its values while it is read, so a child that sets another ``classes`` comes too late for what
its base made of them. These texts stand for a top-level name of the whole config, after inheritance and options: one
line then changes every place::

    '=size'                       its value
    '=len(classes)'               the number of its entries
    '=reversed(size)'             its entries in reverse order: width and height of height and width
    '=len(classes) or 9'          the same, or a value where the config sets no such name

"""

import ast
import copy
import re
from collections.abc import Mapping
from typing import Any

from mmopt.config.schema import ConfigError

__all__ = ['late_names', 'resolve_late']

_LATE = re.compile(r'=(?:(?P<function>len|reversed)\()?(?P<name>[A-Za-z_]\w*)(?(function)\))(?: or (?P<default>.+))?')
_ABSENT = object()


def late_names(value: Any) -> set[str]:
    """Return the names that a config, or a part of one, reads last."""
    if isinstance(value, str):
        match = _LATE.fullmatch(value)
        return {match['name']} if match else set()
    if isinstance(value, Mapping):
        return {name for item in value.values() for name in late_names(item)}
    if isinstance(value, list | tuple):
        return {name for item in value for name in late_names(item)}
    return set()


def resolve_late(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Put the values of names in the places that read them last.

    A place whose name the config does not set, and that has no value for this case, is left out: the default of what it
    configures holds.

    Args:
        cfg: A plain dict; it is not changed.

    Returns:
        A config without such places.

    Raises:
        ConfigError: If a value for the absence of a name cannot be read, or entries are asked of something without.
    """
    return {key: value for key, old in cfg.items() if (value := _resolved(old, cfg, key)) is not _ABSENT}


def _resolved(value: Any, cfg: Mapping[str, Any], place: str) -> Any:
    if isinstance(value, Mapping):
        named = {key: _resolved(item, cfg, f'{place}.{key}') for key, item in value.items()}
        return {key: item for key, item in named.items() if item is not _ABSENT}
    if type(value) in (list, tuple):
        items = [_resolved(item, cfg, f'{place}.{number}') for number, item in enumerate(value)]
        return type(value)(item for item in items if item is not _ABSENT)
    if not isinstance(value, str) or (match := _LATE.fullmatch(value)) is None:
        return value
    name = match['name']
    if name not in cfg:
        return _default(match['default'], place, value)
    found = cfg[name]
    if late_names(found):
        raise ConfigError(f'{place}={value!r}: {name} is read last itself; give it a value.')
    if match['function'] is None:
        return copy.deepcopy(found)
    if not isinstance(found, list | tuple):
        raise ConfigError(f'{place}={value!r}: {name}={found!r} has no entries; write a list.')
    return len(found) if match['function'] == 'len' else type(found)(reversed(found))


def _default(text: str | None, place: str, value: str) -> Any:
    if text is None:
        return _ABSENT
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise ConfigError(f'{place}={value!r}: {text!r} is no value that can be read.') from error

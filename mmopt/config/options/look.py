"""Values of a config by their dotted names, and how messages show them."""

import re
from collections.abc import Mapping
from typing import Any

__all__ = ['ABSENT', 'NUM_PLACES', 'at', 'leaves', 'listed', 'same', 'text_of']

ABSENT = object()
"""In the place of a value: there is none."""
NUM_PLACES = 4
"""So many places are shown in a message."""


def at(cfg: Any, key: str) -> Any:
    """Return the value at a dotted place of a config, or :data:`ABSENT`."""
    for part in key.split('.'):
        if isinstance(cfg, Mapping) and part in cfg:
            cfg = cfg[part]
        elif isinstance(cfg, list | tuple) and part.lstrip('-').isdigit() and -len(cfg) <= int(part) < len(cfg):
            cfg = cfg[int(part)]
        else:
            return ABSENT
    return cfg


def leaves(cfg: Any, place: str = '', *, whole: Any = ABSENT) -> dict[str, Any]:
    """Walk through a config.

    Args:
        cfg: A config or a part of it.
        place: Its dotted place.
        whole: A value that is not entered where it is found.

    Returns:
        Dotted place -> value, of all that are no dicts or lists.
    """
    items = cfg.items() if isinstance(cfg, Mapping) else enumerate(cfg) if isinstance(cfg, list | tuple) else None
    if items is None or (whole is not ABSENT and place and same(cfg, whole)):
        return {place: cfg}
    return {
        inner: value
        for key, item in items
        for inner, value in leaves(item, f'{place}.{key}'.removeprefix('.'), whole=whole).items()
    }


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal in kind and value; arrays have no single answer to ``==``."""
    return type(one) is type(other) and repr(one) == repr(other)


def text_of(value: Any) -> str:
    """Write a value as it would stand behind ``--options key=``, shortened."""
    text = value if isinstance(value, str) else repr(value)
    text = text if len(text) <= 60 else f'{text[:57]}...'
    if re.fullmatch(r'[\w.,:/+@%=-]*', text):
        return text
    return f'"{text}"' if "'" in text else f"'{text}'"


def listed(names: list[str]) -> str:
    """Name the first few of some places."""
    shown = ', '.join(names[:NUM_PLACES])
    return shown if len(names) <= NUM_PLACES else f'{shown} and {len(names) - NUM_PLACES} more'

"""Options that say ``data.img_size=112`` and mean the data sets: they go to train, val and test where all take them."""

from collections.abc import Callable, Mapping
from typing import Any

from mmopt.config.keys import SECTIONS
from mmopt.config.options.look import ABSENT, at, same

__all__ = ['Takes', 'spread']

Takes = Callable[[Mapping[str, Any], str], bool]
"""(data set of a config, argument) -> whether its class takes it."""

_PARTS = ('train', 'val', 'test')
_OWN = ('type', 'pipeline')  # a position in one pipeline means nothing in another


def spread(cfg: Mapping[str, Any], options: Mapping[str, Any], takes: Takes) -> dict[str, Any]:
    """Write options of ``data`` that are none of its keys to each data set.

    Only what is the same in all data sets is meant for all: ``data.ann_file`` stays, and is refused later.

    Args:
        cfg: A config of the dialect, before the options.
        options: Dotted key -> value.
        takes: Asked where a config does not have the argument.

    Returns:
        The options, in their order; those that stay are as they were.
    """
    spreaded: dict[str, Any] = {}
    for key, value in options.items():
        section, _, rest = key.partition('.')
        places = _places(cfg, rest, takes) if section == 'data' and rest else []
        spreaded |= dict.fromkeys(places or [key], value)
    return spreaded


def _places(cfg: Mapping[str, Any], key: str, takes: Takes) -> list[str]:
    name = key.partition('.')[0]
    table = SECTIONS['data']
    data = cfg.get('data')
    if name in _OWN or name in table.keys or name in table.foreign or not isinstance(data, Mapping):
        return []
    parts = [part for part in _PARTS if isinstance(data.get(part), Mapping)]
    found = [_place(data[part], name, key, f'data.{part}', takes) for part in parts]
    places = [place for place, _ in found]
    values = [value for _, value in found]
    if not places or None in places or not all(same(value, values[0]) for value in values):
        return []
    return [f'{place}.{key}' for place in places]


def _place(dataset: Mapping[str, Any], name: str, key: str, place: str, takes: Takes) -> tuple[str | None, Any]:
    """Find the data set of a part that takes an argument: itself, or one that it wraps; and the value there."""
    while isinstance(dataset, Mapping):
        if name in dataset or takes(dataset, name):
            return place, at(dataset, key)
        dataset, place = dataset.get('dataset', ABSENT), f'{place}.dataset'
    return None, ABSENT

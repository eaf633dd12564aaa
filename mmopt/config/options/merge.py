"""Parsed options, put into a config."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from mmopt.config.data_root import replace_data_root
from mmopt.config.keys import NATIVE, SECTIONS, TOP_LEVEL
from mmopt.config.options.parse import parse_options
from mmopt.config.schema import ConfigError, did_you_mean

__all__ = ['ROOTS', 'apply_options', 'apply_parsed', 'merge_options', 'nest_options']

ROOTS = ('data.data_root', 'data_root')
"""The options that replace the root of every data set."""


def nest_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted keys into nested dicts.

    Args:
        options: What :func:`parse_options` returns.

    Returns:
        ``{'data.samples_per_gpu': 8}`` -> ``{'data': {'samples_per_gpu': 8}}``; list indices stay string keys.

    Raises:
        ConfigError: If one option goes through the plain value of another.
    """
    nested: dict[str, Any] = {}
    for key, value in options.items():
        *path, last = key.split('.')
        node = nested
        for part in path:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise ConfigError(f'--options {key}: another option sets {part!r} to the plain value {node!r}.')
        node[last] = copy.deepcopy(value)
    return nested


def merge_options(cfg: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested options into a config; ``_delete_=True`` in a dict replaces the section instead.

    Args:
        cfg: A config; it is not changed.
        options: What :func:`nest_options` returns.

    Returns:
        A new config.

    Raises:
        ConfigError: If a path leads into a plain value, out of a list, or past a key by a slip.
    """
    return _merge(copy.deepcopy(dict(cfg)), options, ())


def _merge(target: Any, options: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    if isinstance(target, list | tuple):
        return _merge_list(target, options, path)
    if target is None or (options.get('_delete_') and isinstance(target, dict)):
        target = {}
    if not isinstance(target, dict):
        raise ConfigError(
            f'--options {".".join((*path, next(iter(options), "")))}: {".".join(path)} is {target!r}, nothing lies '
            'inside it.'
        )
    for key, value in options.items():
        if key == '_delete_':
            continue
        if not isinstance(value, Mapping):
            target[key] = value
        elif key in target:
            target[key] = _merge(target[key], value, (*path, key))
        else:
            _check_new(target, key, path)
            target[key] = _merge({}, value, (*path, key))
    return target


def _merge_list(target: list | tuple, options: Mapping[str, Any], path: tuple[str, ...]) -> list | tuple:
    items = list(target)
    name = '.'.join(path)
    for key, value in options.items():
        if not key.lstrip('-').isdigit():
            raise ConfigError(
                f'--options {name}.{key}: {name} is a list of {len(items)}; write an index, e.g. {name}.0.{key}=...'
            )
        index = int(key)
        if not -len(items) <= index < len(items):
            raise ConfigError(f'--options {name}.{key}: {name} has {len(items)} entries, the last is {len(items) - 1}.')
        items[index] = _merge(items[index], value, (*path, key)) if isinstance(value, Mapping) else value
    return type(target)(items)


def _check_new(target: Mapping[str, Any], key: str, path: tuple[str, ...]) -> None:
    """Refuse to begin a new section whose name is a slip of a present or known one."""
    section = SECTIONS.get('.'.join(path)) if path else TOP_LEVEL
    known = section.keys if section else {}
    if key in known or (not path and key in NATIVE):
        return
    match = did_you_mean(key, [*target, *known], 0.8)
    if match is not None:
        name = '.'.join((*path, key))
        raise ConfigError(f'--options {name}: there is no {name}; did you mean {match}?')


def apply_options(cfg: Mapping[str, Any], options: Iterable[str]) -> dict[str, Any]:
    """Apply command-line options to a config of either dialect.

    ``data.data_root=X`` and a top-level ``data_root=X`` put another root into all data sets; every other option sets
    one value.

    Args:
        cfg: A plain dict; it is not changed.
        options: ``key=value`` strings.

    Returns:
        A new config.

    Raises:
        ConfigError: If an option cannot be read or applied; the message names it.
    """
    return apply_parsed(cfg, parse_options(options))


def apply_parsed(cfg: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Apply parsed options: see :func:`apply_options`.

    Args:
        cfg: A plain dict; it is not changed.
        options: What :func:`parse_options` returns.

    Returns:
        A new config.

    Raises:
        ConfigError: If an option cannot be applied; the message names it.
    """
    rest = {key: value for key, value in options.items() if key not in ROOTS}
    roots = {key: options[key] for key in ROOTS if key in options}
    for key, root in roots.items():
        if not isinstance(root, str | int | float):
            raise ConfigError(f'--options {key}={root!r}: a data root is the path of a folder.')
    if len(set(roots.values())) > 1:
        raise ConfigError(f'--options give two data roots: {roots}; keep data.data_root.')
    for root in set(roots.values()):
        cfg = replace_data_root(cfg, str(root))
    # After the root, so that a path option is taken as it is written.
    return merge_options(cfg, nest_options(rest))

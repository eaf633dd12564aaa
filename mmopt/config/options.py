"""`--options key=value ...`: parse the strings, and put them into a config.

Values follow MMCV's DictAction: numbers, True/False/None, ``a,b`` and ``[a,b]`` as lists, ``(a,b)`` as tuples, nested.
Quotes around a value keep it a string, commas and digits included; ``{'a': 1}`` is a dict.
"""

import ast
import copy
from collections.abc import Iterable, Mapping
from typing import Any

from mmopt.config.data_root import replace_data_root
from mmopt.config.keys import SECTIONS, TOP_LEVEL
from mmopt.config.schema import ConfigError, did_you_mean

__all__ = ['apply_options', 'merge_options', 'nest_options', 'parse_options', 'parse_value']

_OPENING, _CLOSING = '([{', ')]}'
_QUOTES = '"\''


def parse_options(options: Iterable[str]) -> dict[str, Any]:
    """Parse ``key=value`` strings.

    Args:
        options: As they come from the command line; a later one wins.

    Returns:
        Dotted key -> value, in the order given.

    Raises:
        ConfigError: If a string has no ``=``, no key, or unbalanced brackets.
    """
    parsed: dict[str, Any] = {}
    for option in options:
        key, equals, text = option.partition('=')
        key = key.strip()
        if not equals:
            raise ConfigError(f'--options {option!r}: write key=value without spaces, e.g. {key or "key"}=1.')
        if not key or not all(key.split('.')):
            raise ConfigError(f'--options {option!r}: the key is empty or has an empty part.')
        try:
            parsed[key] = parse_value(text)
        except ConfigError as error:
            raise ConfigError(f'--options {option!r}: {error}') from error
    return parsed


def parse_value(text: str) -> Any:
    """Parse one value.

    Args:
        text: What stands behind the ``=``.

    Returns:
        An int, float, bool, None, str, list, tuple or dict.

    Raises:
        ConfigError: If brackets or quotes do not match.
    """
    text = text.strip()
    inner = _unquoted(text)
    if inner is not None:
        # MMCV strips quotes first; shells that leave them in place rely on that for brackets.
        return parse_value(inner) if inner[:1] in ('[', '(') else inner
    if text[:1] == '{' and text[-1:] == '}':
        return _parse_dict(text)
    parts = _split(text)
    wrapped = text[:1] + text[-1:] in ('()', '[]') and len(parts) == 1
    if wrapped:
        items = [parse_value(part) for part in _split(text[1:-1]) if part.strip()]
        return tuple(items) if text[0] == '(' else items
    if len(parts) > 1:
        return [parse_value(part) for part in parts if part.strip()]
    return _parse_scalar(text)


def _unquoted(text: str) -> str | None:
    if len(text) >= 2 and text[0] in _QUOTES and text[-1] == text[0] and text[0] not in text[1:-1]:
        return text[1:-1]
    return None


def _split(text: str) -> list[str]:
    """Cut at commas outside brackets and quotes."""
    parts, depth, quote, start = [], [], None, 0
    for position, char in enumerate(text):
        if quote:
            quote = None if char == quote else quote
        elif char in _QUOTES and not text[start:position].strip(' ([{'):
            quote = char  # Only at the beginning of an element: an apostrophe inside a word is no quote.
        elif char in _OPENING:
            depth.append(char)
        elif char in _CLOSING:
            if not depth or _OPENING.index(depth.pop()) != _CLOSING.index(char):
                raise ConfigError(f'unbalanced brackets in {text!r}')
        elif char == ',' and not depth:
            parts.append(text[start:position])
            start = position + 1
    if depth or quote:
        raise ConfigError(f'unbalanced {"quotes" if quote else "brackets"} in {text!r}')
    return [*parts, text[start:]]


def _parse_dict(text: str) -> dict:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise ConfigError(f"{text!r} is no Python dict; write {{'key': value}} with quotes around strings") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{text!r} is no Python dict; write {{'key': value}}")
    return value


def _parse_scalar(text: str) -> Any:
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    constants = {'true': True, 'false': False, 'none': None}
    return constants.get(text.lower(), text) if text != 'none' else text


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
    if key in known:
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
    parsed = parse_options(options)
    roots = {key: parsed.pop(key) for key in ('data.data_root', 'data_root') if key in parsed}
    if len(set(roots.values())) > 1:
        raise ConfigError(f'--options give two data roots: {roots}; keep data.data_root.')
    for root in set(roots.values()):
        cfg = replace_data_root(cfg, str(root))
    # After the root, so that a path option is taken as it is written.
    return merge_options(cfg, nest_options(parsed))

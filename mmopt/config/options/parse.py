"""`--options key=value ...`: what the texts say.

Values follow MMCV's DictAction: numbers, True/False/None, ``a,b`` and ``[a,b]`` as lists, ``(a,b)`` as tuples, nested.
Quotes around a value keep it a string, commas and digits included; ``{'a': 1}`` and ``dict(a=1)`` are dicts.
"""

import ast
from collections.abc import Iterable
from typing import Any

from mmopt.config.schema import ConfigError

__all__ = ['parse_options', 'parse_value']

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
    if (text[:1], text[-1:]) == ('{', '}') or (text[:5], text[-1:]) == ('dict(', ')'):
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


def _parse_dict(text: str) -> dict | list:
    try:
        value = _literal(ast.parse(text, mode='eval').body)
    except (ValueError, SyntaxError) as error:
        raise ConfigError(
            f"{text!r} is no Python dict; write {{'key': value}} or dict(key=value) with quotes around strings"
        ) from error
    if isinstance(value, tuple):
        return list(value)  # several, divided by commas
    if not isinstance(value, dict):
        raise ConfigError(f"{text!r} is no Python dict; write {{'key': value}} or dict(key=value)")
    return value


def _literal(node: ast.expr) -> Any:
    """Return the value of a literal in which dicts may be written as calls of ``dict``; nothing is executed."""
    if isinstance(node, ast.Call):
        names = [keyword.arg for keyword in node.keywords]
        if ast.unparse(node.func) != 'dict' or node.args or None in names:
            raise ValueError(f'{ast.unparse(node)} is no literal')
        return {name: _literal(keyword.value) for name, keyword in zip(names, node.keywords, strict=True)}
    if isinstance(node, ast.Dict):
        if None in node.keys:
            raise ValueError('** is no literal')
        keys = [_literal(key) for key in node.keys if key is not None]
        return dict(zip(keys, map(_literal, node.values), strict=True))
    if isinstance(node, ast.List | ast.Tuple):
        items = [_literal(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    return ast.literal_eval(node)


def _parse_scalar(text: str) -> Any:
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    constants = {'true': True, 'false': False, 'none': None}
    return constants.get(text.lower(), text) if text != 'none' else text

"""The config that a checkpoint was trained with, read from its text, and what differs from it now.

The text is never run: only literals and ``dict(...)`` are understood, and what is none of these is left out.
"""

import ast
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from mmopt.config import lower
from mmopt.engine.switches import apply_to_optimizer
from mmopt.utils.errors import UserError

__all__ = ['Difference', 'differences', 'optimizer_section', 'parse_config', 'plain', 'saved_config']

_COMPARED = (
    'model',
    'train_dataloader',
    'optim_wrapper',
    'param_scheduler',
    'train_cfg',
    'optimize',
    'auto_scale_lr',
    'custom_hooks',
    'model_wrapper_cfg',
)
"""Sections whose values decide what is trained."""
_HARMLESS = ('num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory', 'max_workers', 'cache', 'cache_dir')
_NAMES = dict(inf=float('inf'), nan=float('nan'))

Difference = tuple[str, Any, Any]
"""Dotted place in the lowered config, the value of the checkpoint (None: not set), the value now."""


def parse_config(text: str) -> dict[str, Any]:
    """Read the assignments of a config's text that are literals.

    Args:
        text: What :attr:`mmengine.config.Config.pretty_text` gives; ``dict(...)`` stands for a dict.

    Returns:
        Values by name; a name whose value holds anything else (a lambda, a call) is left out.
    """
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return {}
    values = {}
    for statement in body:
        if isinstance(statement, ast.Assign) and isinstance(target := statement.targets[0], ast.Name):
            try:
                values[target.id] = _value(statement.value)
            except ValueError:
                continue
    return values


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict' and not node.args:
        return {str(keyword.arg): _value(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Dict):
        return {_value(key): _value(value) for key, value in zip(node.keys, node.values, strict=True) if key}
    if isinstance(node, ast.List):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(item) for item in node.elts)
    if isinstance(node, ast.Name) and node.id in _NAMES:
        return _NAMES[node.id]
    return ast.literal_eval(node)


def saved_config(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the lowered config that a checkpoint was trained with.

    Args:
        checkpoint: As :func:`mmopt.engine.checkpoint_io.load` gives it.

    Returns:
        What could be read of it; empty where the checkpoint carries none.
    """
    meta = checkpoint['meta']
    if checkpoint['source_format'] == 'mmcv1':
        try:
            return lower(parse_config(str(meta.get('config') or '')))
        except (ValueError, TypeError, KeyError, UserError):  # of a library whose keys are not ours
            return {}
    return parse_config(str(meta.get('cfg') or ''))


def optimizer_section(cfg: Mapping[str, Any], world_size: int, name: str = '') -> dict[str, Any]:
    """Return the optimizer wrapper's section as it is built: with what ``optimize`` makes of it.

    Args:
        cfg: A lowered config.
        world_size: Processes of the run.
        name: Of one of several optimizers.

    Returns:
        A new dict; empty where the config has none.
    """
    section = cfg.get('optim_wrapper')
    if not isinstance(section, Mapping):
        return {}
    if name:
        part = section.get(name)
        return dict(part) if isinstance(part, Mapping) else {}
    return apply_to_optimizer(section, cfg, world_size)[0]


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """List where two lowered configs differ in what is trained, and how.

    Args:
        old: Of the checkpoint; sections that it lacks are not compared.
        new: Of the run.

    Returns:
        One entry per value.
    """
    return [item for name in _COMPARED if name in old for item in _walk(name, plain(old[name]), plain(new.get(name)))]


def plain(value: Any) -> Any:
    """Return a value as the text of a config keeps it: classes by name, tuples as lists."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return f'{value.__module__}.{value.__qualname__}' if isinstance(value, type) else value


def _walk(place: str, old: Any, new: Any) -> Iterator[Difference]:
    if place.rpartition('.')[2] in _HARMLESS:
        return
    old, new = (None if value in ({}, []) else value for value in (old, new))
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from _walk(f'{place}.{key}', old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and all(isinstance(item, dict) for item in (*old, *new)):
        for index, pair in enumerate(zip_longest(old, new)):
            yield from _walk(f'{place}.{index}', *pair)
    elif old != new and not (old != old and new != new):  # NaN equals itself here
        yield place, old, new

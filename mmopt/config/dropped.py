"""Which sections a config has, and which of its keys have no effect."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmopt.config.keys import BUILT_IN_HOOKS, POLICIES, SECTIONS, TOP_LEVEL, Section
from mmopt.config.native import is_native, leftovers
from mmopt.config.schema import canonical_policy

__all__ = ['dropped_keys', 'sections_of']

_ENTRIES = 'optimizer.paramwise_cfg.custom_keys'


def dropped_keys(cfg: Mapping[str, Any]) -> dict[str, str]:
    """Find the keys and the custom hooks of a config that are accepted and have no effect.

    Args:
        cfg: A config that can be lowered.

    Returns:
        Dotted key -> why. Of a native config: sections of MMCV 1.x that nothing is made of.
    """
    if is_native(cfg):
        return leftovers(cfg)
    dropped = {
        f'{name}.{key}'.removeprefix('.'): section.keys[key].dropped
        for name, section, part in sections_of(cfg)
        for key, value in part.items()
        if value is not None and key in section.keys and section.keys[key].dropped
    }
    kinds = [hook.get('type') for hook in cfg.get('custom_hooks') or []]
    return dropped | {f'custom_hooks.{kind}': BUILT_IN_HOOKS[kind] for kind in kinds if kind in BUILT_IN_HOOKS}


def sections_of(cfg: Mapping[str, Any]) -> Iterator[tuple[str, Section, Mapping[str, Any]]]:
    """Walk through the sections of a config.

    Args:
        cfg: A config of the dialect that can be lowered.

    Yields:
        tuple[str, Section, Mapping[str, Any]]: The section's dotted name ('' for the top level), its table, and what
            the config has there.
    """
    yield '', TOP_LEVEL, cfg
    for name, section in SECTIONS.items():
        parts: list[Any] = [cfg]
        *path, last = name.split('.')
        for step in path:
            parts = [part.get(step) for part in _dicts(parts)]
        if name in (f'data.{split}' for split in ('train', 'val', 'test')):
            parts = [dataset for part in _dicts(parts) for dataset in _datasets(part.get(last))]
        elif last[0].isupper():
            parts = [part for part in _dicts(parts) if _type_of(path[0], part) == last]
        else:
            parts = [part.get(last) for part in _dicts(parts)]
        if name == _ENTRIES:
            parts = [entry for part in _dicts(parts) for entry in part.values()]
        for part in _dicts(parts):
            yield name, section, part


def _dicts(parts: Sequence[Any]) -> Iterator[Mapping[str, Any]]:
    for part in parts:
        if isinstance(part, list | tuple):
            yield from _dicts(part)
        elif isinstance(part, Mapping):
            yield part


def _type_of(section: str, part: Mapping[str, Any]) -> Any:
    return canonical_policy(section, part.get('policy')) if section in POLICIES else part.get('type')


def _datasets(dataset: Any) -> Iterator[Mapping[str, Any]]:
    """Walk through a data set and those inside it."""
    for part in _dicts([dataset]):
        yield part
        yield from _datasets([part.get('dataset'), part.get('datasets')])

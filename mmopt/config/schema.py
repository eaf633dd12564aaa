"""Hold a section against its table of keys, with errors that say what to write instead.

A closed section refuses every unknown key. An open one, whose other keys go on to a class or to a data set, refuses
only what looks like a slip of a known key.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from mmopt.config.keys import POLICIES, SECTIONS, Key, Section
from mmopt.config.spelling import spelled
from mmopt.config.words.foreign import word_of
from mmopt.utils.errors import UserError
from mmopt.utils.terminal import nearest

__all__ = ['ConfigError', 'canonical_policy', 'check_keys', 'check_type', 'check_value', 'did_you_mean']


class ConfigError(UserError, ValueError):
    """A config says something that cannot be run as it stands; the message names key, rule and remedy."""


def did_you_mean(key: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known key that ``key`` most likely meant, or None when nothing is close."""
    return next(iter(nearest(key, known, 1, cutoff)), None)


def check_keys(name: str, cfg: Mapping[str, Any], section: Section | None = None) -> None:
    """Refuse unknown keys of one section, and values that a key does not take.

    Args:
        name: Dotted name, as messages show it.
        cfg: The section of a config.
        section: Its table; that of the name unless given.

    Raises:
        ConfigError: If the section is no dict, or for the first key that is not accepted.
    """
    if not isinstance(cfg, Mapping):
        raise ConfigError(f'{name} must be a dict, got {type(cfg).__name__} {cfg!r}.')
    section = section or SECTIONS[name]
    for key in cfg:
        if key in section.foreign:
            raise ConfigError(f'{name}.{key} {section.foreign[key]}.')
        if key in section.keys:
            check_value(f'{name}.{key}', section.keys[key], cfg[key])
            continue
        if not isinstance(key, str):
            raise ConfigError(f'{name} has the key {key!r}: keys must be texts.')
        match = did_you_mean(key, section.keys, 0.8 if section.is_open else 0.6)
        if match is not None:
            raise ConfigError(f'{name}.{key} is unknown; did you mean {match}?')
        if not section.is_open and (word := word_of(key)) is not None:
            raise ConfigError(f'{name}.{key} is a word of {word.framework}; {word.remedy(cfg[key])}.')
        if not section.is_open:
            raise ConfigError(f'{name}.{key} is unknown; {name} takes {", ".join(section.keys) or "no keys"}.')


def check_value(name: str, key: Key, value: Any) -> None:
    """Refuse a value of the wrong kind, and any but False and empty ones of a key that cannot be run.

    Args:
        name: Dotted name for the message.
        key: What the table says of it.
        value: The value; None always passes: it stands for a key that is not there.

    Raises:
        ConfigError: With the kind that the key takes, or the remedy.
    """
    if value is None:
        return
    if key.refused and value:
        raise ConfigError(f'{name}: {key.refused}.')
    if not key.kind.accepts(value):
        raise ConfigError(f'{name} must be {key.kind.words}, got {value!r}.')


def check_type(name: str, value: Any) -> None:
    """Refuse a ``type`` that names nothing.

    Args:
        name: Dotted name of the key for the message.
        value: The type, of a data set or of a hook.

    Raises:
        ConfigError: If it is neither a name nor a class.
    """
    check_value(name, SECTIONS['data.train'].keys['type'], value)


def canonical_policy(section: str, policy: Any) -> str:
    """Return the policy's class name as MMCV spells it: an all-lower-case name is title-cased (``step`` -> ``Step``).

    Args:
        section: ``lr_config`` or ``momentum_config``.
        policy: The section's ``policy``.

    Returns:
        A key of the section's :data:`mmopt.config.keys.POLICIES`.

    Raises:
        ConfigError: If MMCV has no such policy.
    """
    known = POLICIES[section]
    name = policy.title() if isinstance(policy, str) and policy == policy.lower() else policy
    if isinstance(name, str) and name in known:
        return name
    match = did_you_mean(str(policy), known)
    hint = f'did you mean {match}?' if match else f'known: {", ".join(known)}.'
    # mmopt's policies are entries of MMEngine's list as well.
    place = spelled('param_scheduler').replace('lr_config', section)
    raise ConfigError(f'{place}.policy={policy!r} is unknown; {hint}')

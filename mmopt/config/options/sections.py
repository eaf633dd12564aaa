"""Options that set keys of the dialect's sections: whether they take effect there."""

import warnings
from collections.abc import Mapping
from typing import Any

from mmopt.config.dropped import dropped_keys
from mmopt.config.keys import EXTRAS, SECTIONS, TOP_LEVEL
from mmopt.config.lower import lower
from mmopt.config.options.look import ABSENT, NUM_PLACES, at, leaves, listed, same, text_of
from mmopt.config.options.merge import apply_parsed
from mmopt.config.schema import ConfigError
from mmopt.config.values import Kind
from mmopt.config.words.dialects import entries, places
from mmopt.utils.errors import ConfigWarning

__all__ = ['check_depth', 'check_section']

# A limit that nothing reaches is no mistake.
_LIMITS = ('optimize.max_workers',)
# Of these a key is given those that its kind takes.
_OTHERS = (*(True, False, 0, 1, 3, 1.5, 'other', 'bf16', 'fp16', 'greater', 'disk', 'skip', 'fsdp'), *([1], ['other']))


def check_depth(changed: Mapping[str, Any], key: str, value: Any) -> None:
    """Name the places of a key that was written too high, such as ``data.img_size``, which is one of the data sets.

    Args:
        changed: The config after all options.
        key: Dotted.
        value: What it was set to.

    Raises:
        ConfigError: If the section has no such key, but something inside it has.
    """
    parts = key.split('.')
    for depth in range(1, len(parts)):
        section, rest = '.'.join(parts[:depth]), parts[depth:]
        table = SECTIONS.get(section)
        if table is None or table.is_open or rest[0] in table.foreign:
            return
        if rest[0] not in table.keys:
            break
    else:
        return
    inside = [
        place
        for place in leaves(changed[parts[0]], parts[0])
        if place.startswith(f'{section}.') and place.endswith(f'.{".".join(rest)}') and place != key
    ]
    if inside:
        inside.sort(key=lambda place: place.count('.'))
        written = ' '.join(f'{place}={text_of(value)}' for place in inside[:NUM_PLACES])
        raise ConfigError(
            f'--options {key}={text_of(value)}: {section} has no {rest[0]}, but {listed(inside)} are there; write '
            f'{written}.'
        )


def check_section(cfg: Mapping[str, Any], changed: Mapping[str, Any], key: str, options: Mapping[str, Any]) -> None:
    """Refuse a key that another one goes before, and warn of one that has no effect for another reason.

    A key without effect may say what is so anyway, as ``data.pin_memory=True`` does: then another value would have one.

    Args:
        cfg: The config before the options.
        changed: The config after all of them.
        key: The option, dotted.
        options: All of them, parsed.

    Raises:
        ConfigError: With the key that goes before it.
    """
    value = options[key]
    if same(at(cfg, key), value):
        return
    without = apply_parsed(cfg, {other: given for other, given in options.items() if other != key})
    lowered = _lowered(changed)
    if lowered is None or lowered != _lowered(without):
        return
    option = f'--options {key}={text_of(value)}'
    for dropped, reason in dropped_keys(changed).items():
        if f'{key}.'.startswith(f'{dropped}.'):
            warnings.warn(f'{option} has no effect: {reason}.', ConfigWarning, stacklevel=2)
            return
    table = dict(entries())
    if key not in table or _would_change(changed, key, table[key].kind, lowered):
        return
    # The deepest one first: `data.train_dataloader.samples_per_gpu`, not `data.train_dataloader`.
    for other, entry in sorted(table.items(), key=lambda item: -item[0].count('.')):
        if other == key or at(changed, other) is ABSENT or not _overlap(places(key, table[key]), places(other, entry)):
            continue
        alone = _lowered(_without(changed, other))
        if alone is not None and alone != _lowered(_without(without, other)):
            raise ConfigError(
                f'{option} has no effect: {other}={text_of(at(changed, other))} goes before it; set that one, or take '
                f'it back with {other}=None.'
            )
    if key not in _LIMITS:
        warnings.warn(f'{option} has no effect beside the rest of the config.', ConfigWarning, stacklevel=2)


def _would_change(changed: Mapping[str, Any], key: str, kind: Kind, lowered: str) -> bool:
    """Tell whether any other value of a key would have an effect."""
    for value in _OTHERS:
        if kind.accepts(value) and not same(value, at(changed, key)):
            other = _lowered(apply_parsed(changed, {key: value}))
            if other is not None and other != lowered:
                return True
    return False


def _overlap(some: set[str], others: set[str]) -> bool:
    return any(f'{a}.'.startswith(f'{b}.') or f'{b}.'.startswith(f'{a}.') for a in some for b in others)


def _lowered(cfg: Mapping[str, Any]) -> str | None:
    """Return the sections of a lowered config as a text, which can be compared; None where it cannot be lowered."""
    try:
        lowered = lower(cfg)
    except ConfigError:
        return None
    return repr(
        {key: value for key, value in lowered.items() if key not in cfg or key in TOP_LEVEL.keys or key in EXTRAS}
    )


def _without(cfg: Mapping[str, Any], key: str) -> dict[str, Any]:
    name, _, rest = key.partition('.')
    if not rest:
        return {other: value for other, value in cfg.items() if other != name}
    return {**cfg, name: _without(cfg[name], rest)}

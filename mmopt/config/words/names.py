"""Which section a name of the top level resembles, and whether by a slip or because a variable is called like it."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from mmopt.config.keys import POLICIES, SECTIONS, TOP_LEVEL
from mmopt.config.schema import did_you_mean

__all__ = ['Resemblance', 'lookalikes', 'missing_sections', 'resemblance']

# Written on purpose under these names, by us or by published configs, though they resemble a section.
_KNOWN_VARIABLES = ('dataset', 'evaluations', 'optimizers', 'models', 'seeds')
_SPELLINGS = dict(config='cfg', configs='cfg', configuration='cfg', directory='dir', iteration='iter')


class Resemblance(NamedTuple):
    """What a name resembles.

    Attributes:
        key: The section.
        is_slip: Whether the section is meant: a letter is wrong, or the value is one of that section. Otherwise the
            name differs by a plural, an underscore, a number or the spelling of a word, as variables' names do.
    """

    key: str
    is_slip: bool


def resemblance(name: str, value: Any, known: Collection[str], cutoff: float = 0.85) -> Resemblance | None:
    """Tell which section a name stands for, if for any.

    Args:
        name: A name that is no section's.
        value: What it is set to.
        known: Sections that may be meant.
        cutoff: How alike a slip must be, of 1.

    Returns:
        The section, or None where nothing is near.
    """
    # `train_cfg_` and the like are variables: the underscore keeps them apart from the section on purpose.
    if name in _KNOWN_VARIABLES or name.strip('_') in known:
        return None
    variants = [key for key in known if _folded(name) == _folded(key) or name.rstrip('0123456789_') == key]
    if variants:
        return Resemblance(variants[0], is_slip=_is_section(variants[0], value))
    match = did_you_mean(name, known, cutoff)
    return None if match is None else Resemblance(match, is_slip=True)


def lookalikes(cfg: Mapping[str, Any]) -> dict[str, str]:
    """Find the variables of a config that are called like a section which it does not have.

    Args:
        cfg: A config of the dialect.

    Returns:
        Variable -> section.
    """
    missing = missing_sections(cfg)
    near = {name: resemblance(name, value, missing) for name, value in cfg.items() if name not in TOP_LEVEL.keys}
    return {name: found.key for name, found in near.items() if found is not None and not found.is_slip}


def missing_sections(cfg: Iterable[str]) -> list[str]:
    """Return the keys of the top level that a config does not have."""
    names = set(cfg)
    return [key for key in TOP_LEVEL.keys if key not in names]


def _folded(name: str) -> str:
    """Write a name without what is a matter of taste: case, underscores, plurals, spellings."""
    words = [_SPELLINGS.get(word, word) for word in re.split('_+', name.lower())]
    return ''.join(word.removesuffix('s') for word in words)


def _is_section(key: str, value: Any) -> bool:
    """Tell whether a value can only be meant for a section: it holds keys of its table and no others."""
    table = SECTIONS.get(key)
    if table is None or not isinstance(value, Mapping):
        return False
    if key in POLICIES:  # whose other keys are those of the policy
        return 'policy' in value
    return all(name in table.keys or name in table.foreign or table.is_open for name in value) and any(
        name in table.keys for name in value
    )

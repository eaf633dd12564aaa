"""What a table of keys is made of, and the reading of it."""

import copy
from collections.abc import Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, NamedTuple

from mmopt.config.values import Kind

__all__ = ['SAME', 'Key', 'Section', 'is_lowered_to', 'passed_on']

SAME = 'the same'
"""In the place of :attr:`Key.to`: the key stays where it is, as it is."""


class Key(NamedTuple):
    """One key of a section: where it goes, or why it has no effect, or why it is refused.

    Attributes:
        kind: What it takes.
        to: Dotted place in the lowered config, several as a tuple. Lists are passed over: ``param_scheduler.step`` is a
            key of one of the schedulers. ``*`` stands for any text: ``*_dataloader`` for all three.
        meaning: For the reference: what it does.
        dropped: Why it is accepted and has no effect.
        refused: Why it is refused unless it is empty or False, and what to write instead.
    """

    kind: Kind
    to: str | tuple[str, ...] = ()
    meaning: str = ''
    dropped: str = ''
    refused: str = ''

    @property
    def places(self) -> tuple[str, ...]:
        """Where the key goes: :attr:`to` as a tuple."""
        return (self.to,) if isinstance(self.to, str) else self.to


class Section(NamedTuple):
    """A section of a config.

    Attributes:
        meaning: For the reference, above the table.
        is_open: Whether keys that are not in the table go on to a class or to a data set, instead of being refused.
        foreign: What people write though it is no key of the section -> the rest of the sentence that says so.
    """

    keys: Mapping[str, Key]
    meaning: str = ''
    is_open: bool = False
    foreign: Mapping[str, str] = MappingProxyType({})


def passed_on(keys: Mapping[str, Key], given: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return what a section gives to one place of the lowered config, under the names that it has there.

    Args:
        keys: The section's table.
        given: The section. None stands for a key that is not there.
        place: Dotted, for example ``default_hooks.checkpoint``.

    Returns:
        A new dict, of copies.
    """
    passed = {}
    for key, value in given.items():
        if value is None or key not in keys:
            continue
        for target in keys[key].places:
            head, _, name = target.rpartition('.')
            if head == place:
                passed[name] = copy.deepcopy(value)
    return passed


def is_lowered_to(key: str, entry: Key, place: str) -> bool:
    """Tell whether a key goes to a place of the lowered config, or into it.

    Args:
        entry: What the table says of it.
        place: Dotted.

    Returns:
        Whether it does.
    """
    targets = [(key if target == SAME else target).split('.') for target in entry.places]
    wanted = place.split('.')
    return any(len(target) >= len(wanted) and all(map(fnmatchcase, wanted, target)) for target in targets)

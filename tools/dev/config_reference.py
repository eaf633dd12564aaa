#!/usr/bin/env python
"""Write docs/config_reference.md from the tables of keys in mmopt/config/keys.

python tools/dev/config_reference.py
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mmopt.config.keys import (
    BUILT_IN_HOOKS,
    POLICIES,
    REFUSED_HOOKS,
    REFUSED_LOGGERS,
    SAME,
    SECTIONS,
    TOP_LEVEL,
    Key,
    Section,
)

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'config_reference.md'
COMMAND = 'python tools/dev/config_reference.py'

_INTRODUCTION = f"""# Config reference

Every key of a config for MMCV 1.x: what it takes, which place of the MMEngine config it becomes
(`python tools/print_config.py CONFIG --lowered` prints that config), and what it does, with the default in parentheses.
`*_dataloader` stands for those of `train_dataloader`, `val_dataloader` and `test_dataloader` that a section is about; a
key of a list, such as `param_scheduler`, is a key of one of its entries. None stands for a key that is not there.

A key that is dropped is accepted and has no effect, for the reason that is given; `tools/convert_config.py` names those
of your config. Where a section is open, keys that are not listed go on to a class or to a data set; elsewhere they are
refused. What differs from MMCV is in [Migrating from MMCV 1.x](migrating_from_mmcv1.md).

This page is made of the tables that the code reads (`mmopt/config/keys`): `{COMMAND}`.
"""
_HEAD = ('key', 'takes', 'becomes', 'what it does')


def render() -> str:
    """Return the text of the page."""
    return '\n'.join([_INTRODUCTION, *_sections({'top level': TOP_LEVEL, **SECTIONS}), *_hooks()])


def _sections(sections: Mapping[str, Section]) -> Iterator[str]:
    done: set[str] = set()
    shown: dict[tuple[str, Key], str] = {}
    for name, section in sections.items():
        if name in done:
            continue
        if _is_type(name):
            parent = name.rpartition('.')[0]
            group = {other: sections[other] for other in sections if _is_type(other) and other.startswith(f'{parent}.')}
            yield from _group(parent, group)
        else:
            group = {other: sections[other] for other in sections if sections[other] == section}
            yield from _section(list(group), section, shown)
        done |= set(group)


def _is_type(name: str) -> bool:
    """Tell a hook or a policy, of which one section has many, from a section."""
    return name.rpartition('.')[2][0].isupper()


def _section(names: list[str], section: Section, shown: dict[tuple[str, Key], str]) -> Iterator[str]:
    """Write a section; keys that another one before has with the same meaning are named only."""
    yield f'## {", ".join(f"`{name}`" for name in names)}\n'
    if section.meaning:
        yield f'{section.meaning}\n'
    new, old = {}, {}
    for key, entry in section.keys.items():
        if (key, entry) in shown:
            old.setdefault(shown[key, entry], []).append(f'`{key}`')
        else:
            new[key] = entry
    shown |= dict.fromkeys(new.items(), names[0])
    if new:
        yield from _table(_HEAD, (_row(key, entry) for key, entry in new.items()))
    for owner, keys in old.items():
        yield f'As in `{owner}`: {", ".join(keys)}.\n'
    if section.foreign:
        yield 'Refused with a remedy:\n'
        yield from (f'- `{key}` {reason}.' for key, reason in section.foreign.items())
        yield ''


def _group(parent: str, group: Mapping[str, Section]) -> Iterator[str]:
    """Write the hooks or the policies of one section: a line for all that share it."""
    yield f'## `{parent}`, one by one\n'
    rows: dict[tuple[str, ...], list[str]] = {}
    for name, section in group.items():
        kind = f'`{name.rpartition(".")[2]}`'
        for row in [_row(key, entry) for key, entry in section.keys.items()] or [('no keys', '', '', '')]:
            rows.setdefault(row, []).append(kind)
    head = 'policy' if parent in POLICIES else 'type'
    lines = [('all' if len(kinds) == len(group) else ', '.join(kinds), *row) for row, kinds in rows.items()]
    yield from _table((head, *_HEAD), lines)


def _hooks() -> Iterator[str]:
    yield '## Hooks that are dropped or refused\n'
    rows = [(f'`{hook}`', '`custom_hooks`', f'Dropped: {why}.') for hook, why in BUILT_IN_HOOKS.items()]
    rows += [(f'`{hook}`', '`custom_hooks`', f'Refused: {why}.') for hook, why in REFUSED_HOOKS.items()]
    rows += [(f'`{hook}`', '`log_config.hooks`', f'Refused: {why}.') for hook, why in REFUSED_LOGGERS.items()]
    yield from _table(('hook', 'in', 'what becomes of it'), rows)


def _row(key: str, entry: Key) -> tuple[str, ...]:
    if entry.dropped:
        return f'`{key}`', entry.kind.words, 'dropped', f'No effect: {entry.dropped}.'
    if entry.refused:
        return f'`{key}`', entry.kind.words, 'refused', f'{entry.refused[0].upper()}{entry.refused[1:]}.'
    places = ', '.join('the same' if place == SAME else f'`{place}`' for place in entry.places)
    return f'`{key}`', entry.kind.words, places, entry.meaning


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f'| {" | ".join(head)} |'
    yield f'|{"---|" * len(head)}'
    for row in rows:
        assert not any('|' in cell for cell in row), row  # it would end the cell
        yield f'| {" | ".join(row)} |'
    yield ''


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(argv)
    PAGE.write_text(render(), encoding='utf-8')
    print(f'wrote {PAGE}')


if __name__ == '__main__':
    main()

"""The tuned config as a file that people read: what differs from the base, each line with its reason."""

import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmopt.apis.tune.edits import Edit
from mmopt.config.render import render_value

__all__ = ['render_tuned']

_WIDTH = 116


def render_tuned(
    base: Path,
    out: Path,
    edits: Sequence[Edit],
    *,
    head: Sequence[str],
    reasons: Mapping[str, str],
    left_out: Sequence[str],
) -> str:
    """Write the file's text.

    Args:
        base: The config that was tuned.
        out: Where the file will lie: ``_base_`` is relative to it.
        edits: What differs.
        head: Lines of the docstring.
        reasons: Knob -> why its value is what it is.
        left_out: What was tried and did not help.

    Returns:
        Python text.
    """
    relative = Path(os.path.relpath(base.resolve(), out.resolve().parent)).as_posix()
    lines = ['"""' + head[0], '', *head[1:], '"""', '', f"_base_ = ['{relative}']"]
    if not edits:
        lines.append('# Nothing that was tried is faster by 1 %: the config stays as it is.')
    tree: dict[str, Any] = {}
    for edit in edits:
        *path, last = edit.key.split('.')
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = edit
    for name, node in tree.items():
        lines += _render(name, node, 0, lambda knob: reasons.get(knob, ''))
    if left_out:
        lines += ['', '# Tried and left out:', *(f'# - {text}' for text in left_out)]
    return '\n'.join(lines) + '\n'


def _render(name: str, node: Any, depth: int, reason: Callable[[str], str]) -> list[str]:
    margin, end = ' ' * (4 * depth), ',' if depth else ''
    equals = '=' if depth else ' = '
    if isinstance(node, Edit):
        why = reason(node.knob)
        value = render_value(node.value, column=len(name) + 3, indent=4 * depth)
        line = f'{margin}{name}{equals}{value}{end}'
        if why and '\n' not in line and len(line) + len(why) + 4 <= _WIDTH:
            return [f'{line}  # {why}']
        comment = textwrap.wrap(why, _WIDTH - len(margin) - 2)
        return [*(f'{margin}# {text}' for text in comment), line]
    inside = [line for key, child in node.items() for line in _render(key, child, depth + 1, reason)]
    return [f'{margin}{name}{equals}dict(', *inside, f'{margin}){end}']

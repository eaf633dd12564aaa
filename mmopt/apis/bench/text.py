"""Tables and spreads as Markdown."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ['format_spread', 'markdown_table']


def markdown_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Set cells in a Markdown table."""
    lines = [head, ['---'] * len(head), *body]
    return '\n'.join('| ' + ' | '.join(cells) + ' |' for cells in lines)


def format_spread(value: Mapping[str, Any], write: Callable[[float], str]) -> str:
    """Write a median with the lowest and the highest in brackets, alone where they do not differ.

    Args:
        value: ``median``, ``low`` and ``high``.

    Returns:
        The text; a dash where there is no median.
    """
    if value['median'] is None:
        return '-'
    median, low, high = (write(value[key]) for key in ('median', 'low', 'high'))
    return median if low == high else f'{median} ({low} - {high})'

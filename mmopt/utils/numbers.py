"""What counts as a number: Python takes True and False for the ints 1 and 0, a user who writes them does not."""

from typing import Any

__all__ = ['is_number', 'is_whole']


def is_whole(value: Any) -> bool:
    """Tell whether a value is an int and no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Tell whether a value is an int or a float, NaN and infinity included, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)

"""What counts as a number: Python takes True and False for the ints 1 and 0, a user who writes them does not."""

from typing import Any, TypeGuard

__all__ = ['is_number', 'is_whole', 'single']


def is_whole(value: Any) -> TypeGuard[int]:
    """Tell whether a value is an int and no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> TypeGuard[int | float]:
    """Tell whether a value is an int or a float, NaN and infinity included, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def single(value: Any) -> Any:
    """Return what a tensor or array of one element holds, as Python's number; anything else as it is."""
    count = getattr(value, 'numel', None)
    size = count() if callable(count) else getattr(value, 'size', None)
    return value.item() if size == 1 and hasattr(value, 'item') else value

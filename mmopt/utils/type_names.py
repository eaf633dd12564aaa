"""What the ``type`` of a config names: a class, or a text with or without a scope or the modules before it."""

from typing import Any

__all__ = ['type_names']


def type_names(kind: Any) -> list[str]:
    """Return the names that a ``type`` goes by.

    Args:
        kind: A class, or a name such as ``'EMAHook'``, ``'mmengine.EMAHook'``, ``'mmengine.hooks.EMAHook'``.

    Returns:
        The name alone; of a class its own and those of its bases.
    """
    return [base.__name__ for base in kind.__mro__] if isinstance(kind, type) else [str(kind).rpartition('.')[2]]

"""Names of a package that are imported on first use: a tool parses its arguments before torch is loaded."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ['lazy_names']


def lazy_names(package: str, home: Mapping[str, str]) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a package.

    Args:
        package: Its ``__name__``.
        home: Public name -> the module inside the package that defines it.

    Returns:
        The function. Python calls it for names that the package itself does not have (PEP 562).
    """

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f'module {package!r} has no attribute {name!r}')
        return getattr(import_module(f'{package}.{home[name]}'), name)

    return get

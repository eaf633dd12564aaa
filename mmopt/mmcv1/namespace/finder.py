"""Modules of mmcv 1.x: found after all others, with specs of their own, and filled from the tables when asked."""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from mmopt.mmcv1.namespace.tables import PATCHED, TABLES, families_of, is_package
from mmopt.mmcv1.namespace.unknown import Asker, asker, make_unknown

__all__ = ['add_names', 'install_names']


def _look_up(module: str, name: str, who: Asker | None) -> Any:
    """Find a name of a module of 1.x.

    Args:
        who: Who asks; None from inside the import system, which then looks for a submodule.

    Returns:
        What stands for it.

    Raises:
        AttributeError: If nothing does and a placeholder would mislead whoever asks.
    """
    for family in families_of(module):
        target = TABLES[family].get(name)
        if target is not None:
            path, _, attribute = target.partition(':')
            found = importlib.import_module(path)
            return getattr(found, attribute) if attribute else found
    child = f'{module}.{name}'
    if is_package(child):
        return importlib.import_module(child)
    if name.startswith('__') or who is None or not who.may_get_unknown:
        raise AttributeError(f"module '{module}' has no attribute '{name}'")
    return make_unknown(child, who.place)


class _Module(ModuleType):
    """A module that only mmcv 1.x has."""

    def __getattr__(self, name: str) -> Any:
        found = _look_up(self.__name__, name, asker())
        setattr(self, name, found)
        return found


def _lookup_of(module: ModuleType) -> Any:
    """Return the ``__getattr__`` of a module that mmcv 2 has as well, for the names that only 1.x had in it."""

    def look_up(name: str) -> Any:
        found = _look_up(module.__name__, name, asker())
        setattr(module, name, found)
        return found

    return look_up


class _Finder(MetaPathFinder, Loader):
    """Find what is left over: modules of mmcv that the installed one has not."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        """Answer for modules of the tables, and for unknown ones that are imported by their own name."""
        if not name.startswith('mmcv.') or not (is_package(name) or _imported_by_name()):
            return None
        return ModuleSpec(name, self, origin='mmopt.mmcv1', is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Make an empty module; its names come when they are asked for."""
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing runs."""


def _imported_by_name() -> bool:
    """Tell ``import mmcv.unknown`` from ``from mmcv import unknown``, which asks whether there is such a module."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith('<frozen importlib'):
        if frame.f_code.co_name == '_handle_fromlist':
            return False
        frame = frame.f_back  # type: ignore[assignment]  # the outermost one has None
    return frame is not None and not _guarded(frame)


def _guarded(frame: Any) -> bool:
    from mmopt.mmcv1.namespace.unknown import _is_guarded

    return _is_guarded(frame.f_code, frame.f_lasti)


def add_names(name: str) -> None:
    """Add the names of 1.x to a module that mmcv 2 has as well.

    Args:
        name: Dotted name of the module.
    """
    module = importlib.import_module(name)
    # Names that mmcv 2 has too come from it: __getattr__ is asked for the others only.
    module.__getattr__ = _lookup_of(module)  # type: ignore[method-assign]


def install_names() -> None:
    """Add the names of 1.x to mmcv; a second time changes nothing."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.append(_Finder())
    for name in PATCHED:
        add_names(name)

"""MMEngine's lazy configs, in which imported names stand for themselves and are imported later."""

import ast
import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import mmengine.config.config
import mmengine.config.utils
from mmengine.config import Config
from mmengine.config.config import BASE_KEY

from mmopt.config import is_native
from mmopt.config.files.text import nodes, place
from mmopt.config.schema import ConfigError

__all__ = ['check_circle', 'is_lazy', 'is_read_base', 'read_lazy']


def is_lazy(path: Path) -> bool:
    """Tell whether MMEngine reads a file lazily: imported names stand for themselves and are imported later.

    Args:
        path: A config file.

    Returns:
        True for ``with read_base():`` and relative imports, and for imports outside the standard library in a config
        without ``_base_`` that has sections of MMEngine.

    Raises:
        ConfigError: If the file is no text in UTF-8, or mixes MMEngine's sections with MMCV 1.x's.
    """
    if path.suffix != '.py':
        return False
    found = list(nodes(path))
    if any(is_read_base(node) or (isinstance(node, ast.ImportFrom) and node.level) for node in found):
        return True
    names = {node.id for node in found if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    if BASE_KEY in names or all(map(_imports_standard, found)):
        return False
    return is_native(dict.fromkeys(names))


def is_read_base(node: ast.AST) -> bool:
    """Tell whether a node is a ``with read_base():``."""
    return isinstance(node, ast.With) and any(
        isinstance(item.context_expr, ast.Call) and ast.unparse(item.context_expr.func).endswith('read_base')
        for item in node.items
    )


def _imports_standard(node: ast.AST) -> bool:
    """Tell whether a node imports nothing, or only from the standard library."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [node.module or '']
    else:
        return True
    return all(name.partition('.')[0] in sys.stdlib_module_names for name in names)


def read_lazy(path: Path) -> dict[str, Any]:
    """Read a lazy config as MMEngine does.

    Args:
        path: A file for which :func:`is_lazy` holds.

    Returns:
        A plain dict; imported classes are dotted names, which the registries import.

    Raises:
        ConfigError: If it cannot be read; the message names file and line.
    """
    _check_lazy_chain(path, ())

    def is_standard(module: str) -> bool:
        return module.startswith('mmengine.config') or module.partition('.')[0] in sys.stdlib_module_names

    try:
        # MMEngine looks where a module lies, and so misses those that Python was built with: `math.pi` would be a text.
        with (
            patch.object(mmengine.config.config, '_is_builtin_module', is_standard),
            patch.object(mmengine.config.utils, '_is_builtin_module', is_standard),
        ):
            return Config.fromfile(path, import_custom_modules=False, lazy_import=True).to_dict()
    except Exception as error:
        raise ConfigError(place(error, str(path))) from error


def _check_lazy_chain(path: Path, chain: tuple[Path, ...]) -> None:
    if not path.is_file():
        return  # MMEngine names it
    check_circle(path, chain)
    body = [node for node in nodes(path) if is_read_base(node)]
    for name in Config._get_base_modules(body):
        level = len(name) - len(name.lstrip('.'))
        if level:
            folder = path.absolute().parents[level - 1]
            _check_lazy_chain(folder / f'{name[level:].replace(".", "/")}.py', (*chain, path))


def check_circle(path: Path, chain: tuple[Path, ...]) -> None:
    """Refuse a file that is one of those that led to it.

    Args:
        path: A file that exists.
        chain: The files that led to it, the first one asked for first.

    Raises:
        ConfigError: With the circle.
    """
    if any(path.samefile(other) for other in chain):
        circle = ' -> '.join(os.path.relpath(file) for file in (*chain, path))
        raise ConfigError(f'{chain[-1]}: its bases lead back to a file that it is a base of: {circle}; cut the circle.')

"""Which mmcv version is reported: the one that the package which asks was written for.

Packages of that time assert a range of ``mmcv.__version__`` when they are imported, and no one version suits all: some
refuse all after 1.4.0, others all before 1.3.13. So before a package is run its own range is read from its source.
"""

import ast
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.utils import digit_version

from mmopt.utils.errors import UserError

__all__ = ['VersionFinder', 'declared_range', 'report_version', 'source_of', 'version_for']

_DEFAULT = '1.7.1'
# The last release of each minor version first, as packages were tested with it; then what bounds name.
_RELEASES = (
    *('1.7.1', '1.7.0', '1.6.2', '1.6.1', '1.6.0', '1.5.3', '1.5.2', '1.5.1', '1.5.0', '1.4.8', '1.4.7', '1.4.6'),
    *('1.4.5', '1.4.4', '1.4.3', '1.4.2', '1.4.1', '1.4.0', '1.3.18', '1.3.17', '1.3.16', '1.3.15', '1.3.14'),
    *('1.3.13', '1.3.12', '1.3.11', '1.3.10', '1.3.9', '1.3.8', '1.3.7', '1.3.6', '1.3.5', '1.3.4', '1.3.3', '1.3.2'),
    *('1.3.1', '1.3.0', '1.2.7', '1.2.6', '1.2.5', '1.2.4', '1.2.3', '1.2.2', '1.2.1', '1.2.0', '1.1.6', '1.1.5'),
    *('1.1.4', '1.1.3', '1.1.2', '1.1.1', '1.1.0', '1.0.5', '1.0.4', '1.0.3', '1.0.2'),
)
_LOWER = ('mmcv_min', 'mmcv_minimum_version', 'mmcv_min_version', 'minimum_mmcv_version')
_UPPER = ('mmcv_max', 'mmcv_maximum_version', 'mmcv_max_version', 'maximum_mmcv_version')


def source_of(package: str) -> Path | None:
    """Return the ``__init__.py`` of a top-level package, which is not imported for it; None if there is none."""
    try:
        spec = PathFinder.find_spec(package) or find_spec(package)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith('.py') else None


def declared_range(init_file: Path) -> tuple[str, str] | None:
    """Read which versions of mmcv a package asks for.

    Args:
        init_file: Its ``__init__.py``.

    Returns:
        The lowest and the highest that it names; None where it names none.
    """
    try:
        source = init_file.read_text(encoding='utf-8', errors='replace')
        tree = ast.parse(source) if 'mmcv' in source.lower() else None
    except (OSError, SyntaxError):
        return None
    found = {}
    for node in tree.body if tree is not None else ():
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found[target.id.lower()] = node.value.value
    lower = next((found[name] for name in _LOWER if name in found), None)
    upper = next((found[name] for name in _UPPER if name in found), None)
    return None if lower is None and upper is None else (lower or '0.0.0', upper or '1.8.0')


def version_for(bounds: tuple[str, str] | None) -> str:
    """Choose the version to report.

    Args:
        bounds: From :func:`declared_range`.

    Returns:
        The newest release inside; the upper end counts as outside, as some packages mean it, unless nothing else is
        left.
    """
    if bounds is None:
        return _DEFAULT
    lower, upper = (digit_version(bound) for bound in bounds)
    return next((item for item in _RELEASES if lower <= digit_version(item) < upper), bounds[1])


def report_version(version: str) -> None:
    """Let mmcv say that it is this version.

    Args:
        version: ``'1.7.1'`` and the like.

    Raises:
        UserError: If it is no version of mmcv 1.x.
    """
    import mmcv

    parts = version.split('.')
    if parts[0] != '1' or not all(part.isdigit() for part in parts):
        raise UserError(f"mmcv1.version={version!r}: the layer stands for mmcv 1.x; write a version such as '1.7.1'.")
    info = tuple(int(part) for part in parts)
    for module in (mmcv, sys.modules['mmcv.version']):
        vars(module).update(__version__=version, version_info=info)  # what packages compare


class VersionFinder:
    """Look at each top-level package before it is run, and report a version inside its range.

    It finds nothing itself: standing first in ``sys.meta_path`` it is asked about every module.

    Args:
        fixed: A version that the config names: it stays.
    """

    def __init__(self, fixed: str | None = None) -> None:
        self.fixed = fixed
        self._asking = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Report the version that a package asks for; always leaves finding it to others."""
        if path is not None or self.fixed is not None or self._asking or name in sys.builtin_module_names:
            return None
        self._asking = True
        try:
            init_file = source_of(name)
        finally:
            self._asking = False
        if init_file is None or init_file.name != '__init__.py':
            return None
        bounds = declared_range(init_file)
        if bounds is not None and digit_version(bounds[0]) < digit_version('2.0.0'):
            import mmcv

            lower, upper = (digit_version(bound) for bound in bounds)
            if not lower <= digit_version(mmcv.__version__) < upper:
                report_version(version_for(bounds))
        return None

"""Switch the layer on for a config, import its repository, and say so in one line."""

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmopt.mmcv1.recognize import Repository, recognize
from mmopt.utils.distributed import rank_to_be
from mmopt.utils.errors import UserError

__all__ = ['import_repository', 'lower_repository', 'prepare']

_said: set[str] = set()


def prepare(cfg: Mapping[str, Any], config_path: str | Path) -> Repository | None:
    """Switch the layer on if a config needs it, and import what it needs.

    Args:
        cfg: The config as it is written.
        config_path: Its file.

    Returns:
        What was imported; None where the layer stays off.

    Raises:
        UserError: If mmcv 1.x itself is installed, or a package that the repository needs is not.
    """
    repository = recognize(cfg, config_path)
    if repository is not None:
        import_repository(repository)
    return repository


def lower_repository(source: Mapping[str, Any], repository: Repository) -> dict[str, Any]:
    """Lower the config of a repository; see :func:`mmopt.mmcv1.lower.lower_repository`."""
    from mmopt.mmcv1.lower import lower_repository as lower_it  # it imports the adapters, which few configs need

    return lower_it(source, repository)


def import_repository(repository: Repository) -> None:
    """Switch the layer on and import a repository's modules.

    Args:
        repository: From :func:`mmopt.mmcv1.recognize.recognize`.

    Raises:
        UserError: If a package that it needs is not installed.
    """
    from mmopt.mmcv1.install import install

    for root in reversed(repository.roots):
        if str(root) not in sys.path:
            sys.path.insert(0, str(root))
    install(repository.package, repository.version)
    importlib.import_module('mmopt.mmcv1.adapt')
    for name in repository.imports:
        try:
            importlib.import_module(name)
        except ImportError as error:
            if name in repository.optional:
                continue
            if isinstance(error, ModuleNotFoundError):
                raise _explained(name, error) from error
            raise
    line = (
        f'mmcv 1.x code: {repository.reason}; the layer for it is on, and mmcv reports '
        f'{importlib.import_module("mmcv").__version__}.'
    )
    if line not in _said and rank_to_be('pytorch') == 0:
        _said.add(line)
        print(line, flush=True)


def _explained(name: str, error: ModuleNotFoundError) -> UserError:
    missing = error.name or '?'
    if f'{name}.'.startswith(f'{missing}.'):
        return UserError(
            f'{name} cannot be imported: there is no {missing}. Install it, or put its folder into PYTHONPATH.'
        )
    if missing.startswith('mmcv.'):
        return UserError(
            f'{name} imports {missing}, which mmopt does not have: report it (docs/migrating_from_mmcv1.md says how).'
        )
    return UserError(
        f'{name} needs {missing}, which is neither part of mmcv nor of mmopt: pip install {missing.split(".")[0]}.'
    )

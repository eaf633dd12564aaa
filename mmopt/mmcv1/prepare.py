"""Switch the layer on for a config, import its repository, and say so in one line."""

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.logging import print_log

from mmopt.mmcv1.recognize import Repository, recognize
from mmopt.utils.errors import UserError

__all__ = ['import_repository', 'prepare']

_said: set[str] = set()


def prepare(cfg: Mapping[str, Any], config_path: str | Path) -> bool:
    """Switch the layer on if a config needs it, and import what it needs.

    Args:
        cfg: The config as it is written.
        config_path: Its file.

    Returns:
        Whether the layer is on for this config.

    Raises:
        UserError: If mmcv 1.x itself is installed, or a package that the repository needs is not.
    """
    repository = recognize(cfg, config_path)
    if repository is None:
        return False
    import_repository(repository)
    return True


def import_repository(repository: Repository) -> None:
    """Switch the layer on and import a repository's modules.

    Args:
        repository: From :func:`mmopt.mmcv1.recognize.recognize`.

    Raises:
        UserError: If a package that it needs is not installed.
    """
    from mmopt.mmcv1.install import install

    version = install(repository.package, repository.version)
    importlib.import_module('mmopt.mmcv1.adapt')
    for root in reversed(repository.roots):
        sys.path.insert(0, str(root))
    for name in repository.imports:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and name.startswith(error.name):
                raise UserError(f'{name} cannot be imported: there is no {error.name}; is it installed?') from error
            raise UserError(
                f'{name} needs the package {error.name}, which is not installed (it is neither part of mmcv nor of '
                f'mmopt): pip install {error.name}.'
            ) from error
    line = f'mmcv 1.x code: {repository.reason}; the layer for it is on and mmcv reports {version}.'
    if line not in _said and is_main_process():
        _said.add(line)
        print_log(line, logger=None)

"""Switch the layer on: from then on `import mmcv...` finds what mmcv 1.x had."""

import importlib
import importlib.util
import sys
import warnings
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from mmengine.registry import MODELS
from torch import nn

from mmopt.engine.checkpoint_io import allow_harmless_types
from mmopt.mmcv1.extension import install_extension
from mmopt.mmcv1.namespace import declared_range, install_names, report_version, version_for
from mmopt.mmcv1.namespace.finder import add_names
from mmopt.mmcv1.namespace.numpy_names import install_numpy_names
from mmopt.mmcv1.namespace.python_names import install_python_names
from mmopt.mmcv1.namespace.versions import VersionFinder, source_of
from mmopt.mmcv1.standins.activations import ReLU
from mmopt.utils.errors import UserError

__all__ = ['check_installed', 'install', 'is_installed']


def check_installed() -> None:
    """Refuse an environment with mmcv 1.x itself, whose files mix with those of mmcv 2.

    Raises:
        UserError: If there is one, or no mmcv at all.
    """
    for name in ('mmcv-full', 'mmcv'):
        try:
            found = distribution(name).version
        except PackageNotFoundError:
            continue
        if found.startswith(('0.', '1.')):
            raise UserError(
                f'{name} {found} is installed: mmopt stands in for mmcv 1.x and needs mmcv 2 beneath; write '
                f'pip uninstall {name}, then pip install --force-reinstall mmcv-lite==2.2.0.'
            )
    if importlib.util.find_spec('mmcv') is None:
        raise UserError('mmcv is not installed: pip install mmcv-lite==2.2.0.')


def is_installed() -> bool:
    """Tell whether the layer is on."""
    return any(isinstance(finder, VersionFinder) for finder in sys.meta_path)


def _say_nothing(*args: Any, **kwargs: Any) -> None:
    """Stand for MMEngine's ``print_log``."""


def install(package: str | None = None, version: str | None = None) -> str:
    """Switch the layer on for this process; a second time changes the version only.

    Args:
        package: The package whose code is to run; the version is one that it accepts.
        version: The version to report instead, whatever packages ask for.

    Returns:
        The version that mmcv reports now.

    Raises:
        UserError: If mmcv 1.x itself is installed, or the version is none of 1.x.
    """
    check_installed()
    install_extension()
    install_names()
    importlib.import_module('mmcv.ops')
    add_names('mmcv.ops')
    # Its constructor asks for a process group; torch's own is the same and mmopt makes it plain for one process.
    MODELS.register_module('MMSyncBN', module=nn.SyncBatchNorm, force=True)
    MODELS.register_module('ReLU', module=ReLU, force=True)
    # MMEngine's FileClient says at every start that there is something newer; the code that calls it stays as it is.
    setattr(importlib.import_module('mmengine.fileio.file_client'), 'print_log', _say_nothing)  # noqa: B010 - of a module
    install_numpy_names()
    install_python_names()
    allow_harmless_types()
    warnings.filterwarnings('ignore', message='torch.meshgrid: in an upcoming release')
    init_file: Path | None = None if package is None else source_of(package)
    chosen = version or version_for(None if init_file is None else declared_range(init_file))
    report_version(chosen)
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, VersionFinder)]
    sys.meta_path.insert(0, VersionFinder(version))
    return chosen

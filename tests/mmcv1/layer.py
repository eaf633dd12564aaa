"""Run a function in a process of its own: the layer changes what ``import mmcv`` finds, for the whole process."""

from collections.abc import Callable
from pathlib import Path

from tests.conftest import REPO
from tests.engine.children import Child

TINY = REPO / 'tests/mmcv1/repos/tiny'
CONFIG = TINY / 'configs/tiny.py'


def run(tmp_path: Path, function: Callable, *args) -> str:
    """Run a function; returns what it printed, and fails with that if it raises."""
    child = Child(tmp_path / f'{function.__name__}.txt', *args, target=function)
    code = child.finish()
    assert code in (0, None), child.text
    return child.text


def install_tiny() -> None:
    """Switch the layer on and import the small repository."""
    import sys

    from mmopt.mmcv1.install import install

    sys.path.insert(0, str(TINY))
    install('tinynet')
    import tinynet.core
    import tinynet.datasets
    import tinynet.models  # noqa: F401

    import mmopt.mmcv1.adapt  # noqa: F401

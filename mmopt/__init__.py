"""mmopt: MMCV-1.x style configs on today's PyTorch, trained fast and in little memory, with proof."""

from importlib.util import find_spec

__all__ = ['__version__']

__version__ = '0.1.0'
"""The only place where the version is written: packaging reads it from here."""

if find_spec('mmcv') is None:
    raise ImportError(
        "mmopt needs mmcv: run `pip install -c requirements/constraints.txt -e '.[lite]'` for mmcv-lite (nothing to "
        'compile), or install full mmcv >= 2.1; never both, they share a folder.'
    )

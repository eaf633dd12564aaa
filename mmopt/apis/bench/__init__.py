"""Measure configs against each other: what ``tools/benchmark.py`` and the tuner call.

A *trial* is one short run in a process of its own. A *cell* is a setting, measured by one trial per round.
"""

from importlib import import_module
from typing import Any

_HOME = dict(
    Cell='cells',
    TrialSettings='cells',
    benchmark='rounds',
    load_table='tables',
    make_cells='cells',
    run_fresh='launch',
    write_report='report',
)

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_HOME[name]}'), name)

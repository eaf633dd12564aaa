"""Measure configs against each other: what ``tools/benchmark.py`` and the tuner call.

A *trial* is one short run in a process of its own. A *cell* is a setting, measured by one trial per round.
"""

from mmopt.utils.lazy import lazy_names

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
__getattr__ = lazy_names(__name__, _HOME)

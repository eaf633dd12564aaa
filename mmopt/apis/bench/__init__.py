"""Measure configs against each other: what ``tools/benchmark.py`` and the tuner call.

A *trial* is one short run in a process of its own. A *setting* is a config with options and a precision; one
trial per round measures it.
"""

from mmopt.utils.lazy import lazy_names

_HOME = dict(
    Setting='settings',
    TrialPlan='settings',
    benchmark='rounds',
    load_table='tables',
    make_settings='settings',
    run_fresh='launch',
    write_report='report',
)

__all__ = list(_HOME)
__getattr__ = lazy_names(__name__, _HOME)

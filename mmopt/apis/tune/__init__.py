"""Find the fastest setting of a config for this machine: what ``tools/tune.py`` calls."""

from mmopt.apis.tune.command import TuneSettings, tune

__all__ = ['TuneSettings', 'tune']

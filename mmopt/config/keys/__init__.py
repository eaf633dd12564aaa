"""The keys of every section of a config for MMCV 1.x: what each takes, and where it goes or why it has no effect.

The only place where keys are listed. What is accepted, what is lowered, the comments of a converted config and
`docs/config_reference.md` are read from here.
"""

from mmopt.config.keys import data, hooks, optimization, schedule, top_level
from mmopt.config.keys.data import BATCH_KEYS, LOADER
from mmopt.config.keys.hooks import BACKENDS, BUILT_IN_HOOKS, REFUSED_HOOKS, REFUSED_LOGGERS
from mmopt.config.keys.schedule import POLICIES, REQUIRED
from mmopt.config.keys.section import SAME, Key, Section, is_lowered_to, passed_on
from mmopt.config.keys.top_level import DIALECT, EXTRAS, NATIVE, TOP_LEVEL

__all__ = [
    'BACKENDS',
    'BATCH_KEYS',
    'BUILT_IN_HOOKS',
    'DIALECT',
    'EXTRAS',
    'LOADER',
    'NATIVE',
    'POLICIES',
    'REFUSED_HOOKS',
    'REFUSED_LOGGERS',
    'REQUIRED',
    'SAME',
    'SECTIONS',
    'TOP_LEVEL',
    'Key',
    'Section',
    'is_lowered_to',
    'passed_on',
]

SECTIONS: dict[str, Section] = {
    **data.SECTIONS,
    **optimization.SECTIONS,
    **schedule.SECTIONS,
    **hooks.SECTIONS,
    **top_level.SECTIONS,
}
"""Dotted name -> section. One hook or policy of many is named by its type: ``lr_config.Step``."""

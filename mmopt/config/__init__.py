"""Configs, dict to dict: the MMCV-1.x dialect lowered to MMEngine."""

from mmopt.config.data_root import replace_data_root
from mmopt.config.lower import lower
from mmopt.config.native import is_native
from mmopt.config.optimize import check_optimize
from mmopt.config.options import apply_options, parse_options
from mmopt.config.schema import ConfigError

__all__ = [
    'ConfigError',
    'apply_options',
    'check_optimize',
    'is_native',
    'lower',
    'parse_options',
    'replace_data_root',
]

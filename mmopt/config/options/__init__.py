"""`--options key=value ...`: parsed, put into a config, and compared: what has no effect is refused."""

from mmopt.config.options.merge import apply_options, merge_options, nest_options
from mmopt.config.options.parse import parse_options, parse_value

__all__ = ['apply_options', 'merge_options', 'nest_options', 'parse_options', 'parse_value']

"""What kinds of value the keys of a config take: a wrong one is refused by name, not by a TypeError further down."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mmopt.config.precision import AUTO, DTYPE_NAMES
from mmopt.utils.numbers import is_number, is_whole

__all__ = [
    'ANY',
    'BF16',
    'BETAS',
    'CHECKPOINTING',
    'CLASS',
    'COMPILE',
    'COUNT',
    'COUNT_OR_AUTO',
    'DATASET',
    'DICT',
    'DICTS',
    'FLOAT_SHARE',
    'FP16',
    'HOOKS',
    'LIST',
    'LOSS_SCALE',
    'NUMBER',
    'NUMBERS',
    'NUMBERS_FROM_0',
    'NUMBER_FROM_0',
    'NUMBER_FROM_0_OR_LIST',
    'PATTERNS',
    'PERIODS',
    'PHASES',
    'POLICY',
    'POSITIVE',
    'PRECISION',
    'RATIOS',
    'SCORE_NAME',
    'SEED',
    'SHA256',
    'SHARE_BELOW_1',
    'SHARE_OF_HEIGHT',
    'STEPS',
    'STRICT_SWITCH',
    'SWITCH',
    'TEXT',
    'TEXTS',
    'TEXT_OR_LIST',
    'WHOLE',
    'WHOLE_FROM_0',
    'WORKERS',
    'Kind',
    'choice',
]


class Kind(NamedTuple):
    """What values a key takes.

    Attributes:
        words: For errors and for the reference: ``'True or False'``.
        accepts: Whether a value will do. None is never asked for: it stands for a key that is not there.
    """

    words: str
    accepts: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return is_number(value) and value == value


def _is_count(value: Any) -> bool:
    return is_whole(value) and value > 0


def _is_from_0(value: Any) -> bool:
    return is_number(value) and 0 <= value < math.inf


def _is_positive(value: Any) -> bool:
    return is_number(value) and value > 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch('[0-9a-fA-F]{64}', value) is not None


def _is_dict(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _list_of(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: _is_list(value) and all(test(item) for item in value)


def _one_or_list(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: test(value) or _list_of(test)(value)


def _is_steps(value: Any) -> bool:
    # MMCV 1.x refuses tuples.
    return _is_count(value) or (isinstance(value, list) and all(map(_is_count, value)))


def _is_ratios(value: Any) -> bool:
    # MMCV 1.x refuses whole numbers and lists.
    return (isinstance(value, float) and _is_positive(value)) or (
        isinstance(value, tuple) and len(value) in (1, 2) and all(map(_is_from_0, value))
    )


def _is_betas(value: Any) -> bool:
    return _is_list(value) and all(_is_from_0(item) and item < 1 for item in value)


def _is_patterns(value: Any) -> bool:
    return isinstance(value, bool | str) or (_list_of(_is_text)(value) and bool(value))


def _is_checkpointing(value: Any) -> bool:
    if not _is_dict(value):
        return _is_patterns(value)
    return (
        set(value) <= {'patterns', 'selective', 'budget_gib'}
        and _is_patterns(value.get('patterns', True))
        and isinstance(value.get('selective', False), bool)
        and _is_number(value.get('budget_gib', 1))
        and value.get('budget_gib', 1) >= 0
    )


# Not torch's other two, which capture CUDA graphs: a graph writes into the same memory in every run, and a region
# stands for many modules, whose outputs the backward pass of each still needs.
_COMPILE_MODES = ('default', 'max-autotune-no-cudagraphs')


def _is_compile(value: Any) -> bool:
    if not _is_dict(value):
        return isinstance(value, bool) or value in _COMPILE_MODES
    known = set(value) <= {'regions', 'mode', 'dynamic', 'backend'}
    return known and isinstance(value.get('regions', []), list) and value.get('mode') in (None, *_COMPILE_MODES)


def choice(*values: Any) -> Kind:
    """Return the kind that takes these values only."""
    *others, last = map(repr, values)
    words = f'{", ".join(others)} or {last}' if others else last
    # 1 equals True and 0 False: the type tells them apart.
    return Kind(words, lambda value: any(type(value) is type(item) and value == item for item in values))


ANY = Kind('any value', lambda value: True)
DICT = Kind('a dict', _is_dict)
FP16 = Kind("a dict such as dict(loss_scale='dynamic'); --precision fp16 stands for it", _is_dict)
BF16 = Kind('a dict, as a rule dict(); --precision bf16 stands for it', _is_dict)
DICTS = Kind('a list of dicts', _list_of(_is_dict))
LIST = Kind('a list', _is_list)
TEXT = Kind('a text', _is_text)
SHA256 = Kind('a SHA-256 of 64 hexadecimal digits', _is_sha256)
TEXTS = Kind('a list of texts', _list_of(_is_text))
TEXT_OR_LIST = Kind('a text or a list of texts', _one_or_list(_is_text))
POLICY = Kind('a dict with a policy', _is_dict)
PHASES = Kind('a list of dicts such as dict(until_epoch=30, freeze=[...])', _list_of(_is_dict))
# The lowering of these two names the entry that is wrong.
DATASET = Kind('a dict with a type, or a list of them', lambda value: True)
HOOKS = Kind('a list of dicts with a type', lambda value: True)
# A config that was built in Python may name a class itself.
CLASS = Kind('a name or a class', lambda value: isinstance(value, str | type))
# Configs for MMCV write 0 and 1 as well.
SWITCH = Kind('True or False', lambda value: isinstance(value, int) and value in (0, 1))
STRICT_SWITCH = Kind('True or False', lambda value: isinstance(value, bool))
WHOLE = Kind('a whole number', is_whole)
WHOLE_FROM_0 = Kind('a whole number, at least 0', lambda value: is_whole(value) and value >= 0)
# NumPy's generators take no others, and every worker and rank adds its number.
SEED = Kind('a whole number from 0 to 4294967295', lambda value: is_whole(value) and 0 <= value < 2**32)
COUNT = Kind('a positive whole number', _is_count)
COUNT_OR_AUTO = Kind("a positive whole number or 'auto'", lambda value: value == AUTO or _is_count(value))
WORKERS = Kind("a whole number, at least 0, or 'auto'", lambda value: value == AUTO or WHOLE_FROM_0.accepts(value))
NUMBER = Kind('a number', _is_number)
NUMBERS = Kind('a list of numbers', _list_of(_is_number))
NUMBER_FROM_0 = Kind('a finite number, at least 0', _is_from_0)
NUMBERS_FROM_0 = Kind('a list of numbers, each at least 0', _list_of(_is_from_0))
NUMBER_FROM_0_OR_LIST = Kind('a number, at least 0, or a list of them', _one_or_list(_is_from_0))
POSITIVE = Kind('a positive number', _is_positive)
BETAS = Kind('a list or tuple of numbers from 0 to below 1', _is_betas)
PERIODS = Kind('a list of positive numbers', lambda value: _list_of(_is_positive)(value) and bool(value))
STEPS = Kind('a positive whole number or a list of them in square brackets, e.g. [8, 11]', _is_steps)
RATIOS = Kind('a float or a tuple (highest, lowest), e.g. (10, 1e-4)', _is_ratios)
FLOAT_SHARE = Kind('a float from 0.0 to 1.0', lambda value: isinstance(value, float) and 0 <= value <= 1)
SHARE_BELOW_1 = Kind('a number from 0 to below 1', lambda value: _is_from_0(value) and value < 1)
SHARE_OF_HEIGHT = Kind('a number above 0, at most 1', lambda value: _is_positive(value) and value <= 1)
SCORE_NAME = Kind("the name of a metric or 'auto'", _is_text)
# An int passes here: it is refused with the float to write.
LOSS_SCALE = Kind(
    "a float, 'dynamic' or a dict", lambda value: value == 'dynamic' or _is_dict(value) or _is_number(value)
)
PRECISION = choice(AUTO, *DTYPE_NAMES)
PATTERNS = Kind('True, False or module patterns', _is_patterns)
CHECKPOINTING = Kind(
    "True, 'blocks', module patterns or dict(patterns=..., selective=True, budget_gib=4)", _is_checkpointing
)
COMPILE = Kind(
    'True, False, a mode of torch.compile without CUDA graphs '
    f'({" or ".join(map(repr, _COMPILE_MODES))}) or dict(regions=[...], mode=...)',
    _is_compile,
)

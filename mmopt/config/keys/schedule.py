"""The keys of `lr_config` and `momentum_config`: those of the warm-up, and those of each policy."""

from typing import Any

from mmopt.config.keys.section import Key, Section
from mmopt.config.values import (
    COUNT,
    FLOAT_SHARE,
    NUMBER,
    NUMBER_FROM_0,
    NUMBER_FROM_0_OR_LIST,
    NUMBERS_FROM_0,
    PERIODS,
    POSITIVE,
    RATIOS,
    SHARE_BELOW_1,
    SHARE_OF_HEIGHT,
    STEPS,
    SWITCH,
    TEXT,
    WHOLE,
    WHOLE_FROM_0,
    Kind,
    choice,
)

__all__ = ['POLICIES', 'REQUIRED', 'SECTIONS']


def _keys(*entries: tuple[str, Kind, str]) -> dict[str, Key]:
    return {name: Key(kind, f'param_scheduler.{name}', meaning) for name, kind, meaning in entries}


_COMMON = _keys(
    ('policy', TEXT, 'One of the policies below; all in lower case will do.'),
    ('by_epoch', SWITCH, 'What `policy` counts: epochs or iterations.'),
    ('warmup', TEXT, "`'constant'`, `'linear'` or `'exp'`."),
    ('warmup_iters', WHOLE, 'Length of the warm-up.'),
    ('warmup_ratio', NUMBER, 'The share of the value that the warm-up begins at, in (0, 1].'),
)

_GAMMA = ('gamma', NUMBER_FROM_0, 'Factor.')
_MIN_LR = (
    ('min_lr', NUMBER_FROM_0, 'Where the learning rate ends.'),
    ('min_lr_ratio', NUMBER_FROM_0, 'The same as a share of the initial one; exactly one of the two.'),
)
_MIN_MOMENTUM = (
    ('min_momentum', NUMBER_FROM_0, 'Where the momentum ends.'),
    ('min_momentum_ratio', NUMBER_FROM_0, 'The same as a share of the initial one; exactly one of the two.'),
)
_STEP = (('step', STEPS, 'Multiply at each of these, or every so many.'), _GAMMA)
_ANNEAL = ('anneal_strategy', choice('cos', 'linear'), "`'cos'` or `'linear'`.")
_CYCLIC = (
    ('target_ratio', RATIOS, 'The highest and the lowest value, as shares of the initial one.'),
    ('cyclic_times', COUNT, 'Number of cycles.'),
    ('step_ratio_up', SHARE_BELOW_1, 'The share of a cycle that goes up.'),
    _ANNEAL,
    ('gamma', SHARE_OF_HEIGHT, 'The share of its height that each cycle keeps of the one before.'),
)
_ONE_CYCLE = (
    ('pct_start', FLOAT_SHARE, 'The share of the run that goes up.'),
    _ANNEAL,
    ('three_phase', SWITCH, 'Come down as long as it went up, then go to the end.'),
)

_LR_POLICIES = {
    'Fixed': {},
    'Step': _keys(*_STEP, ('min_lr', NUMBER_FROM_0, 'The smallest learning rate.')),
    'Exp': _keys(('gamma', NUMBER_FROM_0, 'Factor of every epoch or iteration.')),
    'Poly': _keys(('power', NUMBER, 'Exponent of the share that is left.'), _MIN_LR[0]),
    'Inv': _keys(('gamma', NUMBER_FROM_0, 'Slope.'), ('power', NUMBER, 'Exponent.')),
    'CosineAnnealing': _keys(*_MIN_LR),
    'FlatCosineAnnealing': _keys(('start_percent', FLOAT_SHARE, 'The share of the run that is flat.'), *_MIN_LR),
    'CosineRestart': _keys(
        ('periods', PERIODS, 'Lengths of the cosines.'),
        ('restart_weights', NUMBERS_FROM_0, 'Factor of each cosine.'),
        *_MIN_LR,
    ),
    'LinearAnnealing': _keys(*_MIN_LR),
    'Cyclic': _keys(*_CYCLIC),
    'OneCycle': _keys(
        ('max_lr', NUMBER_FROM_0_OR_LIST, 'The highest learning rate, one for all parameter groups or one each.'),
        ('total_steps', COUNT, 'Length, where it is not the run.'),
        *_ONE_CYCLE,
        ('div_factor', POSITIVE, 'The highest learning rate over the first.'),
        ('final_div_factor', POSITIVE, 'The first learning rate over the last.'),
    ),
    'YOLOX': _keys(('num_last_epochs', WHOLE_FROM_0, 'Epochs at the end that stay at the minimum.'), *_MIN_LR),
}

_MOMENTUM_POLICIES = {
    'Step': _keys(*_STEP, ('min_momentum', NUMBER_FROM_0, 'The smallest momentum.')),
    'CosineAnnealing': _keys(*_MIN_MOMENTUM),
    'LinearAnnealing': _keys(*_MIN_MOMENTUM),
    'Cyclic': _keys(*_CYCLIC),
    'OneCycle': _keys(
        ('base_momentum', NUMBER_FROM_0_OR_LIST, 'The lowest momentum.'),
        ('max_momentum', NUMBER_FROM_0_OR_LIST, 'The highest momentum.'),
        *_ONE_CYCLE,
    ),
}
POLICIES: dict[str, dict[str, dict[str, Key]]] = {
    'lr_config': _LR_POLICIES,
    'momentum_config': _MOMENTUM_POLICIES,
}
"""Section -> policy as MMCV spells it -> its own keys, besides the warm-up's. MMCV has no others."""
REQUIRED: dict[str, dict[str, Any]] = {
    'Step': dict(step=[8, 11]),
    'Exp': dict(gamma=0.9),
    'Inv': dict(gamma=0.1),
    'CosineRestart': dict(periods=[100]),
    'OneCycle': dict(max_lr=0.01),
    'YOLOX': dict(num_last_epochs=15),
}
"""Policy -> the keys of ``lr_config`` that it cannot do without, each with an example."""

_HEADS = {
    'lr_config': Section(
        _COMMON | _keys(('warmup_by_epoch', SWITCH, '`warmup_iters` counts epochs.')),
        'Keys of every policy. All of it equals MMCV at every iteration.',
        foreign={
            'milestones': 'is MMEngine wording; write step',
            'eta_min': 'is MMEngine wording; write min_lr',
            'begin': 'is MMEngine wording; a dialect schedule begins at 0: drop the key',
            'end': 'is MMEngine wording; a dialect schedule ends with the run: drop the key',
        },
    ),
    'momentum_config': Section(_COMMON, 'Keys of every policy.'),
}
SECTIONS: dict[str, Section] = {}
for _name, _head in _HEADS.items():
    SECTIONS |= {_name: _head, **{f'{_name}.{policy}': Section(keys) for policy, keys in POLICIES[_name].items()}}

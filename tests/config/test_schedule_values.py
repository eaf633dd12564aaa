"""What MMCV 1.x's schedules and optimizers cannot run is refused when a config is lowered, not when it is built."""

import pytest

from mmopt.config import ConfigError, lower
from tests.config.samples import make_config, make_epoch_config

MIN = dict(min_lr=0.0)


def lower_with(make, section: str, given: dict, **others) -> dict:
    return lower(make(**{section: None}, **others) | {section: given})


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (dict(policy='step'), r'^lr_config.step is missing: policy Step needs it; write .*step=\[8, 11\]'),
        (dict(policy='step', step=(8, 11)), r'lr_config.step must be .* in square brackets, .*, got \(8, 11\)'),
        (dict(policy='step', step=0), 'lr_config.step must be a positive whole number .*, got 0'),
        (dict(policy='step', step=[8, -1]), r'lr_config.step .*, got \[8, -1\]'),
        (dict(policy='step', step=[8.5]), r'lr_config.step .*, got \[8.5\]'),
        (dict(policy='step', step=[8], gamma=-0.1), 'lr_config.gamma must be a finite number, at least 0, got -0.1'),
        (dict(policy='step', step=[8], min_lr=-1e-5), 'lr_config.min_lr .*at least 0, got -1e-05'),
        (dict(policy='exp'), 'lr_config.gamma is missing: policy Exp'),
        (dict(policy='inv'), 'lr_config.gamma is missing: policy Inv'),
        (dict(policy='inv', gamma=-1), 'lr_config.gamma .*at least 0, got -1'),
        (dict(policy='poly', min_lr=float('nan')), 'lr_config.min_lr .*, got nan'),
        (dict(policy='CosineAnnealing', min_lr_ratio=-0.1), 'lr_config.min_lr_ratio .*, got -0.1'),
        (dict(policy='FlatCosineAnnealing', start_percent=1.5, **MIN), 'start_percent must be a float from 0.0 to 1.0'),
        (dict(policy='CosineRestart', **MIN), 'lr_config.periods is missing'),
        (dict(policy='CosineRestart', periods=[], **MIN), r'lr_config.periods must be .*, got \[\]'),
        (dict(policy='CosineRestart', periods=[0, 12], restart_weights=[1, 1], **MIN), 'a list of positive numbers'),
        (dict(policy='CosineRestart', periods=[6, 6], **MIN), r'a weight for each period, .*restart_weights=\[1\]'),
        (dict(policy='CosineRestart', periods=[11], **MIN), r'periods=\[11\] cover 11 of the 12 epochs of the run'),
        (dict(policy='cyclic', target_ratio=[10, 1e-4]), r'target_ratio must be a float or a tuple .*, got \[10, 0'),
        (dict(policy='cyclic', target_ratio=10), 'target_ratio must be a float or a tuple .*, got 10'),
        (dict(policy='cyclic', target_ratio=(1, 2, 3)), r'got \(1, 2, 3\)'),
        (dict(policy='cyclic', target_ratio=()), r'got \(\)'),
        (dict(policy='cyclic', step_ratio_up=1.0), 'step_ratio_up must be a number from 0 to below 1, got 1.0'),
        (dict(policy='cyclic', gamma=0), 'gamma must be a number above 0, at most 1, got 0'),
        (dict(policy='cyclic', anneal_strategy='cosine'), "anneal_strategy must be 'cos' or 'linear', got 'cosine'"),
        (dict(policy='OneCycle'), 'lr_config.max_lr is missing'),
        (
            dict(policy='OneCycle', max_lr=[0.1, 0.2]),
            r'max_lr=\[0.1, 0.2\] gives 2 values, .*write one number, e.g. max',
        ),
        (dict(policy='OneCycle', max_lr=[]), r'max_lr=\[\] gives 0 values'),
        (dict(policy='OneCycle', max_lr=-0.1), 'max_lr must be a number, at least 0'),
        (dict(policy='OneCycle', max_lr=0.1, pct_start=30), 'pct_start must be a float from 0.0 to 1.0, got 30'),
        (dict(policy='OneCycle', max_lr=0.1, div_factor=0), 'div_factor must be a positive number, got 0'),
        (dict(policy='OneCycle', max_lr=0.1, final_div_factor=0), 'final_div_factor must be a positive number'),
        (dict(policy='OneCycle', max_lr=0.1, anneal_strategy='exp'), "anneal_strategy must be 'cos' or 'linear'"),
        (dict(policy='YOLOX', **MIN), 'num_last_epochs is missing'),
        (dict(policy='YOLOX', num_last_epochs=-1, **MIN), 'num_last_epochs must be a whole number, at least 0'),
    ],
)
def test_a_schedule_that_mmcv_cannot_run_is_refused_when_lowering(given, message):
    with pytest.raises(ConfigError, match=message):
        lower_with(make_epoch_config, 'lr_config', given)


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (dict(policy='step', by_epoch=False), 'momentum_config.step is missing'),
        (dict(policy='step', step=(1,), by_epoch=False), r'momentum_config.step must be .*, got \(1,\)'),
        (dict(policy='cyclic', target_ratio=[0.8, 1]), 'momentum_config.target_ratio must be'),
        (dict(policy='cyclic', cyclic_times=101), 'cyclic_times=101 cycles do not fit into the 100 iterations'),
        (dict(policy='OneCycle', base_momentum=[0.8, 0.9]), r'base_momentum=\[0.8, 0.9\] gives 2 values'),
        (dict(policy='OneCycle', max_momentum=-1), 'max_momentum must be a number, at least 0'),
    ],
)
def test_a_momentum_that_mmcv_cannot_run_is_refused_when_lowering(given, message):
    with pytest.raises(ConfigError, match=message):
        lower_with(make_config, 'momentum_config', given)


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (dict(policy='cyclic', cyclic_times=101), '101 cycles do not fit into the 100 iterations of the run'),
        (dict(policy='OneCycle', max_lr=0.1, total_steps=99), 'total_steps=99 is shorter than the run of 100'),
        (dict(policy='CosineRestart', periods=[99], **MIN), 'cover 99 of the 100 iterations'),
    ],
)
def test_a_schedule_that_ends_before_the_run_is_refused_when_lowering(given, message):
    with pytest.raises(ConfigError, match=message):
        lower_with(make_config, 'lr_config', given)


def test_a_value_per_group_needs_as_many_groups():
    given = dict(policy='OneCycle', max_lr=[0.1, 0.2])
    with pytest.raises(ConfigError, match='with optimizer.paramwise_cfg each parameter is a group in MMCV 1.x'):
        lower_with(make_config, 'lr_config', given, optimizer=dict(paramwise_cfg=dict(bias_lr_mult=2.0)))
    own = lower_with(make_config, 'lr_config', given, optimizer=dict(constructor='Mine', paramwise_cfg=dict(a=1)))
    assert own['param_scheduler'][0]['max_lr'] == [0.1, 0.2]  # how many groups it makes, it knows alone
    assert lower_with(make_config, 'lr_config', given | dict(max_lr=[0.1]))['param_scheduler'][0]['max_lr'] == [0.1]


def test_a_momentum_schedule_needs_an_optimizer_that_has_one():
    with pytest.raises(ConfigError, match="optimizer.type='Adagrad' has neither"):
        lower_with(make_config, 'momentum_config', dict(policy='cyclic'), optimizer=dict(type='Adagrad'))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(optimizer=dict(lr=-0.1)), 'optimizer.lr must be a finite number, at least 0, got -0.1'),
        (dict(optimizer=dict(lr=float('inf'))), 'optimizer.lr .*, got inf'),
        (dict(optimizer=dict(weight_decay=-1e-4)), 'optimizer.weight_decay .*at least 0, got -0.0001'),
        (dict(optimizer=dict(momentum=-0.9)), 'optimizer.momentum .*at least 0, got -0.9'),
        (dict(optimizer=dict(betas=(0.9, 1.0))), r'optimizer.betas must be .* from 0 to below 1, got \(0.9, 1.0\)'),
        (dict(optimizer=dict(eps=-1e-8)), 'optimizer.eps .*at least 0'),
        (dict(optimizer=dict(paramwise_cfg=dict(bias_lr_mult=-1))), 'bias_lr_mult .*at least 0, got -1'),
        (
            dict(optimizer=dict(paramwise_cfg=dict(custom_keys=dict(head=dict(decay_mult=-1))))),
            r"decay_mult .*at least 0, got -1\. \(in the entry 'head'\)",
        ),
        (dict(optimizer_config=dict(grad_clip=dict(max_norm=0))), 'max_norm must be a positive number, got 0'),
        (dict(seed=-5), 'seed must be a whole number from 0 to 4294967295, got -5'),
        (dict(seed=2**33), 'seed must be a whole number from 0 to 4294967295, got 8589934592'),
    ],
)
def test_a_number_out_of_its_range_is_named_with_the_range(changes, message):
    with pytest.raises(ConfigError, match=message):
        lower(make_config(**changes))


def test_the_ends_of_the_ranges_are_taken():
    changes = dict(optimizer=dict(lr=0, betas=(0, 0.999)), optimizer_config=dict(grad_clip=dict(max_norm=float('inf'))))
    lowered = lower(make_config(seed=2**32 - 1, **changes))
    assert lowered['randomness']['seed'] == 2**32 - 1
    assert lowered['optim_wrapper']['clip_grad'] == dict(max_norm=float('inf'))

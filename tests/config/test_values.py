"""No value, however wrong, makes lowering fail in any way but by a message that names the key."""

import copy
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmopt.config import ConfigError, lower
from tests.config.samples import make_config

RICH = make_config(
    data=dict(
        data_root='x',
        pin_memory=True,
        prefetch_factor=2,
        train_dataloader=dict(samples_per_gpu=3),
        train=dict(type='R', times=2, dataset=dict(type='A', data_root='q', ann_file=['a', 'b'], img_prefix='x')),
    ),
    optimizer=dict(paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys=dict(a=dict(lr_mult=0.1))), constructor=None),
    optimizer_config=dict(
        type='GradientCumulativeFp16OptimizerHook',
        cumulative_iters=2,
        loss_scale=dict(init_scale=2.0),
        grad_clip=dict(max_norm=1),
    ),
    fp16=dict(loss_scale=dict(init_scale=2.0)),
    lr_config=dict(warmup='linear', warmup_iters=3, warmup_ratio=0.1, warmup_by_epoch=False),
    momentum_config=dict(policy='cyclic', by_epoch=False, target_ratio=(0.8, 1)),
    runner=dict(accumulative_counts=2),
    checkpoint_config=dict(max_keep_ckpts=1, save_last=True, sync_buffer=True, out_dir='o', filename_tmpl='w{}.pth'),
    evaluation=dict(
        save_best='mIoU', start=2, dynamic_intervals=[(3, 1)], rule='greater', at_end=True, greater_keys=['a']
    ),
    log_config=dict(
        hooks=[dict(type='TextLoggerHook', by_epoch=False, interval=50), dict(type='TensorboardLoggerHook')]
    ),
    custom_hooks=[dict(type='EMAHook', momentum=0.1, priority=49), dict(type='TheirHook')],
    workflow=[('train', 1)],
    load_from='a',
    resume_from='b',
    auto_resume=True,
    dist_params=dict(backend='nccl'),
    auto_scale_lr=dict(enable=True, base_batch_size=3),
    custom_imports=dict(imports=['x']),
    total_iters=100,
    seed=1,
    cudnn_benchmark=True,
)
JUNK = [None, -1, 0, 2.5, 'junk', '', [], [1], [None], {}, dict(zz=1), {1: 2}, True, (1, 2, 3), float('nan')]


def places(part, before=()):
    if before:
        yield before
    entries = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, value in entries:
        yield from places(value, (*before, key))


@given(place=st.sampled_from(list(places(RICH))), value=st.sampled_from(JUNK))
@settings(max_examples=400, deadline=None)
def test_a_wrong_value_is_run_or_refused_but_never_a_crash(place, value):
    cfg = copy.deepcopy(RICH)
    part = cfg
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = copy.deepcopy(value)
    with suppress(ConfigError):
        lower(cfg)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(optimizer=[1]), r'^optimizer must be a dict, got \[1\]\.$'),
        (dict(optimizer=dict(lr='0.1')), r"^optimizer.lr must be a finite number, at least 0, got '0.1'\.$"),
        (dict(lr_config=dict(warmup_iters=1.5)), 'lr_config.warmup_iters must be a whole number, got 1.5'),
        (dict(lr_config=dict(policy=['poly'])), r"lr_config.policy=\['poly'\] is unknown"),
        (dict(checkpoint_config=dict(interval='10')), "checkpoint_config.interval must be a whole number, got '10'"),
        (dict(checkpoint_config=dict(save_last='no')), "checkpoint_config.save_last must be True or False, got 'no'"),
        (dict(evaluation=dict(start='2')), "evaluation.start must be a whole number, got '2'"),
        (dict(evaluation=dict(greater_keys='acc')), "evaluation.greater_keys must be a list of texts, got 'acc'"),
        (dict(log_config=dict(hooks=[1])), r'log_config.hooks must be a list of dicts, got \[1\]'),
        (dict(log_config=dict(interval='50')), "log_config.interval must be a positive whole number, got '50'"),
        (dict(custom_hooks=[dict(type=3)]), 'custom_hooks.0.type must be a name or a class, got 3'),
        (dict(data=dict(train=dict(type=None, x=1), val=dict(type=[1]))), r'data.val.type must be a name or a class'),
        (dict(data=dict(samples_per_gpu=[4])), r'data.samples_per_gpu must be a positive whole number, got \[4\]'),
        (dict(workflow=1), 'workflow must be a list, got 1'),
        (dict(evaluation={1: 2}), 'evaluation has the key 1: keys must be texts'),
        (dict(seed='7'), "seed must be a whole number from 0 to 4294967295, got '7'"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(changes, message):
    cfg = make_config(**changes)
    with pytest.raises(ConfigError, match=message):
        lower(cfg)


def test_a_class_may_stand_for_its_name():
    assert lower(make_config(optimizer=dict(type=dict)))['optim_wrapper']['optimizer']['type'] is dict


def test_none_stands_for_a_key_that_is_not_there():
    assert lower(make_config(lr_config=dict(warmup=None, min_lr=None)))['param_scheduler'] == [
        dict(type='ClosedFormLR', policy='Poly', by_epoch=False, power=1.0)
    ]

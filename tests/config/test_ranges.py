"""Numbers that nothing takes are named with place and range in native configs too."""

import pytest

from mmopt.config import ConfigError, lower
from mmopt.config.ranges import check_ranges, check_seed
from tests.config.samples import make_config, make_epoch_config

WRAPPER = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(randomness=dict(seed=-5)), r'^randomness.seed must be a whole number from 0 to 4294967295, got -5\.$'),
        (dict(randomness=dict(seed=2**33)), 'got 8589934592'),
        (dict(randomness=dict(seed=1.5)), 'got 1.5'),
        (dict(optim_wrapper=dict(optimizer=dict(lr=-0.1))), r'^optim_wrapper.optimizer.lr must be .*, got -0.1\.$'),
        (dict(optim_wrapper=dict(optimizer=dict(weight_decay=-1))), 'optim_wrapper.optimizer.weight_decay'),
        (dict(optim_wrapper=dict(optimizer=dict(betas=(0.9, 1)))), 'optim_wrapper.optimizer.betas'),
        (dict(optim_wrapper=dict(optimizer=dict(momentum=-1))), 'optim_wrapper.optimizer.momentum'),
        (dict(optim_wrapper=dict(optimizer=dict(eps=-1))), 'optim_wrapper.optimizer.eps'),
        (dict(optim_wrapper=WRAPPER | dict(accumulative_counts=0)), 'optim_wrapper.accumulative_counts'),
        (dict(optim_wrapper=WRAPPER | dict(clip_grad=dict(max_norm=-1))), 'optim_wrapper.clip_grad.max_norm'),
        (
            dict(optim_wrapper=WRAPPER | dict(paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=-1))))),
            r"custom_keys\['head'\].lr_mult",
        ),
        (dict(optim_wrapper=dict(generator=dict(optimizer=dict(lr=-1)))), 'optim_wrapper.generator.optimizer.lr'),
        (
            dict(train_dataloader=dict(batch_size=0)),
            'train_dataloader.batch_size must be a positive whole .*, got 0',
        ),
        (dict(val_dataloader=dict(num_workers=-1)), 'val_dataloader.num_workers must be'),
    ],
)
def test_a_number_out_of_its_range_is_named_with_its_place(cfg, message):
    with pytest.raises(ConfigError, match=message):
        check_ranges(cfg)


@pytest.mark.parametrize('make', [make_config, make_epoch_config])
def test_what_lowering_makes_is_in_its_range(make):
    check_ranges(lower(make(seed=3, optimizer_config=dict(grad_clip=dict(max_norm=1.0)))))
    check_ranges(dict(train_dataloader=None, optim_wrapper=None, randomness=dict(seed=None)))


def test_a_flag_is_named_as_it_was_written():
    check_seed('--seed', None)
    check_seed('--seed', 0)
    with pytest.raises(ConfigError, match='^--seed must be a whole number from 0 to 4294967295, got -1'):
        check_seed('--seed', -1)

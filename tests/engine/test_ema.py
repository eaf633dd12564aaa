import math

import pytest
import torch
from mmengine.hooks import EMAHook
from torch import nn

import mmopt.engine  # noqa: F401  registers the averaged models
from mmopt.config import lower
from mmopt.registry import MODELS
from tests.config.samples import make_config


def average(hook: dict, num_iters: int = 7) -> float:
    """Train a single weight whose value is 1, 2, 3, ... and return what the lowered hook's model makes of it."""
    lowered = dict(lower(make_config(custom_hooks=[hook]))['custom_hooks'][0])
    cfg = EMAHook(**{key: value for key, value in lowered.items() if key not in ('type', 'priority')}).ema_cfg
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    averaged = MODELS.build(cfg, default_args=dict(model=model))
    for i in range(num_iters):
        nn.init.constant_(model.weight, i + 1.0)
        averaged.update_parameters(model)
    return averaged.module.weight.item()


def by_hand(momentum, interval: int, first: int, num_iters: int = 7) -> float:
    value = 0.0
    for i in range(num_iters):
        if i % interval == first:
            value = (1 - momentum(i)) * value + momentum(i) * (i + 1.0)
    return value


def test_the_average_of_mmcv():
    expected = by_hand(lambda i: min(0.3, (1 + i) / (10 + i)), 1, 0)
    assert average(dict(type='EMAHook', momentum=0.3, warm_up=10)) == pytest.approx(expected)


def test_the_momentum_of_mmcv_is_raised_to_the_interval():
    expected = by_hand(lambda i: min(0.3**2, (1 + i) / (10 + i)), 2, 0)
    assert average(dict(type='EMAHook', momentum=0.3, warm_up=10, interval=2)) == pytest.approx(expected)


def test_the_linear_average_of_mmdetection_counts_its_interval_from_one():
    expected = by_hand(lambda i: min(0.3**2, (1 + i) / (10 + i)), 2, 1)
    hook = dict(type='LinearMomentumEMAHook', momentum=0.3, warm_up=10, interval=2)
    assert average(hook) == pytest.approx(expected)


def test_the_exponential_average_of_mmdetection():
    expected = by_hand(lambda i: 0.7 * math.exp(-(1 + i) / 20) + 0.3, 1, 0)
    assert average(dict(type='ExpMomentumEMAHook', momentum=0.3, total_iter=20)) == pytest.approx(expected)


@pytest.mark.parametrize(('update_buffers', 'expected'), [(True, 0.5), (False, 1.0)])
def test_buffers_are_averaged_or_copied(update_buffers, expected):
    model = nn.BatchNorm1d(1)
    nn.init.zeros_(model.running_mean)
    cfg = dict(type='LinearWarmupEMA', momentum=0.5, warm_up=1, update_buffers=update_buffers)
    averaged = MODELS.build(cfg, default_args=dict(model=model))
    model.running_mean.fill_(1.0)
    averaged.update_parameters(model)
    assert averaged.module.running_mean.item() == pytest.approx(expected)
    assert averaged.module.num_batches_tracked.dtype == torch.long


def test_a_momentum_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r'momentum must be in \(0, 1\), got 1'):
        MODELS.build(dict(type='LinearWarmupEMA', momentum=1.0), default_args=dict(model=nn.Linear(1, 1)))

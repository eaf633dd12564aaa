import logging

import pytest
import torch
from torch import nn

from mmopt.config import ConfigError
from mmopt.engine.switches import Effect, apply_to_model, report
from tests.engine.test_runner import build
from tests.engine.toy import toy_config


def test_a_config_without_the_section_changes_nothing():
    assert apply_to_model(nn.Linear(2, 2), None) == {}


def test_keys_of_other_places_and_none_are_passed_over():
    assert apply_to_model(nn.Linear(2, 2), dict(micro_batch=2, channels_last=None)) == {}


def test_a_slip_is_refused_without_a_runner():
    with pytest.raises(ConfigError, match='did you mean channels_last'):
        apply_to_model(nn.Linear(2, 2), dict(channel_last=True))


def test_a_switch_without_effect_warns_and_one_with_effect_informs(caplog):
    with caplog.at_level(logging.INFO):
        report(dict(a=Effect('3 layers'), b=Effect('no layer', is_effective=False)), logging.getLogger('switches'))
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ('INFO', 'optimize.a: 3 layers'),
        ('WARNING', 'optimize.b had no effect: no layer'),
    ]


def test_a_run_applies_the_switches_and_logs_them(tmp_path):
    runner = build(toy_config(tmp_path, optimize=dict(channels_last=True, micro_batch=3)))
    assert 'optimize.channels_last had no effect: the model has no convolution' in (tmp_path / 'latest.log').read_text()
    runner.train()
    assert runner.train_loop.step.micro_batch == 3


def test_a_native_config_that_nobody_lowered_gets_its_precision_and_workers(tmp_path):
    cfg = toy_config(tmp_path, optimize=dict(precision='bf16', max_workers=0), train_dataloader=dict(num_workers=2))
    runner = build(cfg)
    runner.train()
    assert runner.optim_wrapper.cast_dtype is torch.bfloat16
    assert runner.train_dataloader.num_workers == 0
    assert cfg['optimize'] == dict(precision='bf16', max_workers=0)


def net_2d() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3))


def test_channels_last_reaches_the_activations_and_keeps_values_and_checkpoints():
    torch.manual_seed(0)
    plain, switched = net_2d(), net_2d()
    switched.load_state_dict(plain.state_dict())
    weight = switched[0].weight
    effect = apply_to_model(switched, dict(channels_last=True))['channels_last']
    assert effect == Effect('2 2d convolutions, 0 3d convolutions')
    assert switched[0].weight is weight
    image = torch.randn(2, 3, 8, 8)
    out = switched(image)
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, plain(image))
    for got, want in zip(switched.state_dict().values(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(got, want)


def test_channels_last_of_3d_convolutions_only():
    model = nn.ModuleList([nn.Conv2d(3, 8, 3), nn.Conv3d(3, 8, 3)])
    apply_to_model(model, dict(channels_last='3d'))
    assert not model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert model[1].weight.is_contiguous(memory_format=torch.channels_last_3d)


def test_channels_last_of_a_model_without_such_convolutions_says_so():
    effect = apply_to_model(nn.Conv1d(3, 8, 3), dict(channels_last='2d'))['channels_last']
    assert effect == Effect('the model has no convolution of 2d: drop the key', is_effective=False)

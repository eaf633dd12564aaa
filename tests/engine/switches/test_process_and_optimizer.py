"""Switches for the process and for the optimizer."""

import pytest
import torch

from mmopt.config import ConfigError, check_optimize
from mmopt.engine.switches import apply_to_optimizer, apply_to_process, fuse_optimizer, malloc_effect
from mmopt.utils.precision import cuda_device, this_device
from tests.engine.test_runner import build, losses_of
from tests.engine.toy import toy_config


@pytest.fixture(autouse=True)
def _keep_tf32():
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize('value', [True, False])
def test_tf32_switches_products_and_convolutions(value):
    effect = apply_to_process(dict(tf32=value, micro_batch=2))['tf32']
    assert torch.backends.cuda.matmul.allow_tf32 is value
    assert torch.backends.cudnn.allow_tf32 is value
    assert effect.is_effective == torch.cuda.is_available()


def test_a_fused_optimizer_is_asked_for_where_torch_has_one():
    section = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
    built, effect = fuse_optimizer(section, True)
    assert built['optimizer'] == dict(type='AdamW', lr=1e-3, fused=True)
    assert section['optimizer'] == dict(type='AdamW', lr=1e-3)
    assert effect.is_effective


@pytest.mark.parametrize(('capability', 'is_effective'), [((7, 5), False), ((8, 0), True), ((12, 0), True)])
def test_tf32_has_an_effect_where_the_gpu_has_it(monkeypatch, capability, is_effective):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr('mmopt.engine.switches.process.this_device', lambda kind: cuda_device(capability))
    effect = apply_to_process(dict(tf32=True))['tf32']
    assert effect.is_effective is is_effective
    assert ('before Ampere' in effect.text) is not is_effective


@pytest.mark.parametrize(
    ('optimizer', 'text'),
    [
        (dict(type='Adadelta'), 'no fused Adadelta'),
        (dict(type='AdamW', foreach=True), 'drop foreach'),
    ],
)
def test_a_fused_optimizer_that_cannot_be_is_told(optimizer, text):
    built, effect = fuse_optimizer(dict(optimizer=optimizer), True)
    assert 'fused' not in built['optimizer']
    assert text in effect.text
    assert not effect.is_effective


def test_what_the_optimizer_says_itself_counts():
    built, effect = fuse_optimizer(dict(optimizer=dict(type='AdamW', fused=False)), True)
    assert built['optimizer']['fused'] is False
    assert 'says so itself' in effect.text


def test_values_of_a_wrong_kind_are_refused():
    with pytest.raises(ConfigError, match='optimize.tf32 must be True or False'):
        check_optimize(dict(tf32='high'))


def test_a_run_with_a_fused_optimizer_learns_what_the_plain_one_learns(tmp_path):
    losses = []
    for name, optimize in (('plain', {}), ('fused', dict(fused_optimizer=True))):
        runner = build(toy_config(tmp_path / name, optimize=optimize, train_cfg=dict(val_interval=8)))
        assert runner.build_optim_wrapper(runner.cfg.optim_wrapper).optimizer.defaults['fused'] == (
            optimize != {} or None
        )
        runner.train()
        losses.append(list(losses_of(tmp_path / name).values()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    log = (tmp_path / 'fused' / 'latest.log').read_text()
    assert 'optimize.fused_optimizer: fused AdamW' in log
    assert malloc_effect(True) in log or malloc_effect(False) in log


TURING = cuda_device((7, 5))
"""A GPU that multiplies fp16 and not bf16."""


def section(optimizer: dict, dtype: str = 'float16') -> dict:
    return dict(type='AmpOptimWrapper', dtype=dtype, optimizer=optimizer)


@pytest.mark.parametrize('kind', ['AdamW', 'Adam', 'SGD', torch.optim.AdamW])
@pytest.mark.parametrize('dtype', ['float16', 'auto'])
def test_fp16_on_a_gpu_fuses_by_itself_so_that_the_loss_scale_waits_for_nothing(kind, dtype):
    given = section(dict(type=kind, lr=1e-3), dtype)
    built, effects = apply_to_optimizer(given, {}, 1, TURING)
    assert built['optimizer'] == dict(type=kind, lr=1e-3, fused=True)
    assert 'fused' not in given['optimizer']
    assert 'no step waits for the check of the loss scale' in effects['fused_optimizer'].text
    assert effects['fused_optimizer'].is_effective


@pytest.mark.parametrize(
    ('wrapper', 'optimize'),
    [
        (section(dict(type='AdamW')), dict(fused_optimizer=False)),
        (section(dict(type='AdamW', fused=False)), {}),
        (section(dict(type='AdamW', foreach=False)), {}),
        (section(dict(type='AdamW'), 'bfloat16'), {}),
        (section(dict(type='Adadelta')), {}),
        (dict(type='OptimWrapper', optimizer=dict(type='AdamW')), {}),
        (dict(type='OptimWrapper'), {}),
    ],
)
def test_what_was_said_and_what_has_no_loss_scale_or_no_kernel_is_not_fused(wrapper, optimize):
    built, _ = apply_to_optimizer(wrapper, dict(optimize=optimize), 1, TURING)
    assert not (built.get('optimizer') or {}).get('fused')


def test_on_a_cpu_fp16_is_not_fused_by_itself():
    built, effects = apply_to_optimizer(section(dict(type='AdamW')), {}, 1, this_device('cpu'))
    assert built['optimizer'] == dict(type='AdamW')
    assert effects == {}

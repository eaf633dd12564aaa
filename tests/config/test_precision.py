"""One answer to the question which precision a config means."""

import pytest
import torch
from mmengine.optim import AmpOptimWrapper as ForeignWrapper

from mmopt.config import ConfigError, lower
from mmopt.config.precision import allowed_precisions, precision_of, resolve_precision, with_precision
from mmopt.engine.optim import AmpOptimWrapper, OptimWrapper
from mmopt.utils.precision import cpu_device, cuda_device
from tests.config.samples import make_config


class OwnWrapper(AmpOptimWrapper):
    """A user's subclass."""


@pytest.mark.parametrize(
    ('section', 'precision'),
    [
        (None, 'fp32'),
        (dict(), 'fp32'),
        (dict(type='OptimWrapper', dtype='float16'), 'fp32'),
        (dict(type=OptimWrapper), 'fp32'),
        (dict(type='AmpOptimWrapper'), 'fp16'),
        (dict(type='AmpOptimWrapper', dtype=None), 'fp16'),
        (dict(type='mmengine.AmpOptimWrapper', dtype='bfloat16'), 'bf16'),
        (dict(type=AmpOptimWrapper, dtype='bfloat16'), 'bf16'),
        (dict(type=ForeignWrapper, dtype='float16'), 'fp16'),
        (dict(type=OwnWrapper, dtype=torch.bfloat16), 'bf16'),
        (dict(type='AmpOptimWrapper', dtype='auto'), 'auto'),
    ],
)
def test_a_section_means_one_precision_however_it_is_written(section, precision):
    assert precision_of(section) == precision


@pytest.mark.parametrize(
    ('sections', 'want', 'allowed', 'scale'),
    [
        (dict(precision='auto'), 'auto', ('bf16', 'fp16'), 'dynamic'),
        (dict(precision='auto', fp16=dict(loss_scale=128.0)), 'auto', ('fp16',), 128.0),
        (dict(precision='auto', bf16=dict()), 'auto', ('bf16',), 'dynamic'),
        (dict(precision='bf16', fp16=dict(loss_scale=128.0)), 'bf16', None, None),
        (dict(precision='fp16', fp16=dict(loss_scale=128.0)), 'fp16', None, 128.0),
        (dict(precision='fp32', bf16=dict()), 'fp32', None, None),
        (dict(precision=None, bf16=dict()), 'bf16', None, None),
        (dict(optimize=dict(precision='auto')), 'auto', ('bf16', 'fp16'), 'dynamic'),
    ],
)
def test_the_key_precision_replaces_the_sections_and_auto_keeps_to_them(sections, want, allowed, scale):
    wrapper = lower(make_config(**sections))['optim_wrapper']
    assert precision_of(wrapper) == want
    if allowed is not None:
        assert allowed_precisions(wrapper) == allowed
    assert wrapper.get('loss_scale') == scale


def test_an_unknown_precision_is_refused_with_those_that_there_are():
    with pytest.raises(ConfigError, match=r"precision.*'auto', 'fp32', 'fp16' or 'bf16'.*'half'"):
        lower(make_config(precision='half'))


def test_a_native_config_may_have_a_variable_of_that_name():
    native = dict(optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)), precision='whatever')
    assert lower(native) == native


def test_auto_comes_to_what_the_device_computes():
    auto = dict(type='AmpOptimWrapper', dtype='auto')
    assert resolve_precision(auto, cuda_device((7, 5))) == 'fp16'
    assert resolve_precision(auto | dict(allow=['bf16']), cuda_device((7, 5))) == 'fp32'
    assert resolve_precision(dict(type='AmpOptimWrapper', dtype='bfloat16'), cpu_device({})) == 'bf16'


def test_a_loss_scale_survives_only_between_precisions_that_have_one():
    scaled = dict(type='AmpOptimWrapper', dtype='float16', loss_scale=64.0)
    auto = with_precision(scaled, 'auto')
    assert auto == dict(type='AmpOptimWrapper', dtype='auto', loss_scale=64.0)
    assert with_precision(auto, 'fp16') == scaled
    assert with_precision(with_precision(scaled, 'bf16'), 'fp16')['loss_scale'] == 'dynamic'

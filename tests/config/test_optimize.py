"""The closed `optimize` section, in configs of both dialects and on the command line."""

import re

import pytest

from mmopt.config import ConfigError, apply_options, lower
from mmopt.config.keys import SECTIONS
from mmopt.engine.switches import MODEL_SWITCHES
from tests.config.samples import make_config
from tests.engine.toy import toy_config

DIALECTS = {'dialect': make_config, 'native': lambda **changes: toy_config('runs/x', **changes)}


@pytest.fixture(params=DIALECTS.values(), ids=DIALECTS)
def make(request):
    return request.param


def test_a_section_of_known_keys_is_carried_over(make):
    optimize = dict(micro_batch=2, channels_last='2d', base_batch=None)
    assert lower(make(optimize=optimize))['optimize'] == optimize


def test_a_slip_of_a_key_names_the_key(make):
    with pytest.raises(ConfigError, match=r'optimize\.chanels_last is unknown; did you mean channels_last\?'):
        lower(make(optimize=dict(chanels_last=True)))


def test_an_unknown_key_lists_what_there_is(make):
    with pytest.raises(ConfigError, match=r'optimize\.turbo is unknown; optimize takes .*micro_batch'):
        lower(make(optimize=dict(turbo=True)))


@pytest.mark.parametrize(
    ('key', 'value', 'kind'),
    [
        ('micro_batch', 0, 'a positive whole number'),
        ('compile', 'reduce-overhead', "without CUDA graphs .'default' or 'max-autotune-no-cudagraphs'."),
        ('compile', dict(mode='max-autotune'), 'without CUDA graphs'),
        ('base_batch', True, 'a positive whole number'),
        ('checkpointing', dict(budget=4), 'module patterns or dict'),
        ('checkpointing', [], 'module patterns or dict'),
        ('offload', 3, 'True, False or module patterns'),
        ('optimizer_8bit', 8, 'True or False'),
        ('channels_last', 'yes', "True, False, '2d' or '3d'"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_the_right_one(make, key, value, kind):
    with pytest.raises(ConfigError, match=rf'optimize\.{key} must be .*{kind}.*, got {re.escape(repr(value))}'):
        lower(make(optimize={key: value}))


def test_the_section_must_be_a_dict(make):
    with pytest.raises(ConfigError, match='optimize must be a dict, got bool True'):
        lower(make(optimize=True))


def test_a_slip_of_the_sections_name_is_refused(make):
    with pytest.raises(ConfigError, match='optimise is unknown; did you mean optimize'):
        lower(make(optimise=dict(micro_batch=2)))


def test_an_option_begins_the_section(make):
    assert apply_options(make(), ['optimize.micro_batch=3'])['optimize'] == dict(micro_batch=3)


def test_an_option_with_a_slip_names_the_key(make):
    with pytest.raises(ConfigError, match=r'optimize\.mikro_batch is unknown; did you mean micro_batch\?'):
        lower(apply_options(make(), ['optimize.mikro_batch=3']))


def test_every_switch_of_the_engine_can_be_configured():
    assert set(MODEL_SWITCHES) <= set(SECTIONS['optimize'].keys)

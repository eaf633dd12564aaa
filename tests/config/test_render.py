import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config

from mmopt.config import lower
from mmopt.config.render import render_native, render_value
from tests.config.samples import make_config, make_epoch_config

values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(
            st.one_of(st.text(max_size=8), st.sampled_from(['lr', 'class', 'a.b', 'type'])), inner, max_size=4
        ),
    ),
    max_leaves=25,
)


@given(value=values, column=st.integers(0, 90), indent=st.integers(0, 12))
@settings(max_examples=200, deadline=None)
def test_a_written_value_reads_back(value, column, indent):
    again = eval(render_value(value, column=column, indent=indent))
    assert repr(again) == repr(value)  # repr, because nan is not equal to itself


def read_back(text: str, tmp_path) -> dict:
    path = tmp_path / 'new.py'
    path.write_text(text)
    return Config.fromfile(path).to_dict()


@pytest.mark.parametrize('make', [make_config, make_epoch_config])
def test_a_written_config_reads_back_and_is_native(make, tmp_path):
    original = make(
        fp16=dict(loss_scale=512.0),
        custom_hooks=[dict(type='EMAHook')],
        momentum_config=dict(policy='cyclic'),
        optimizer=dict(paramwise_cfg=dict(custom_keys={'a.b': dict(lr_mult=0.1)}, norm_decay_mult=0.0)),
        optimize=dict(micro_batch=2),
        data_root='data/x',
        norm=dict(mean=[1.0]),
        data=dict(train=dict(type='Data', pipeline=[dict(type='Normalize', mean=[1.0], to_rgb=True)])),
    )
    lowered = lower(original)
    text = render_native(lowered, original, source='old.py')
    again = read_back(text, tmp_path)
    # The variable stands in the pipeline; the section of mmopt and the root are needed.
    lowered.pop('norm')
    assert again == lowered
    assert lower(again) == again
    assert 'written out above: norm.' in text


def test_the_comments_say_what_changed():
    original = make_config(fp16=dict(), workflow=[('train', 1)], evaluation=dict(pre_eval=True), train_cfg=dict(a=1))
    text = render_native(lower(original), original, source='old.py')
    for comment in (
        '# old.py, an MMCV-1.x config',
        '# Without counterpart, dropped: workflow, evaluation.pre_eval.',
        '# workflow: every phase trains; one that validates is refused.',
        '# train_cfg stood at the top level.',
        '# From optimizer, optimizer_config, fp16, runner.',
        '# loss_scale 512.0 is static, as in MMCV',
        '# From lr_config.',
        '# MMCV averages over the log interval.',
    ):
        assert comment in text
    assert max(map(len, text.splitlines())) <= 100


def test_what_has_an_effect_is_not_called_dropped():
    original = make_config(bad_numbers=dict(action='skip'), model_wrapper='fsdp', optimizer_config=dict(coalesce=True))
    text = render_native(lower(original), original, source='old.py')
    assert '# Without counterpart, dropped: optimizer_config.coalesce.' in text
    assert '# From runner, evaluation, bad_numbers.' in text
    assert '# From model_wrapper.' in text


def test_sections_come_in_order():
    original = make_config()
    text = render_native(lower(original), original, source='old.py')
    places = [
        text.index(f'\n{name} = ') for name in ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper', 'resume')
    ]
    assert places == sorted(places)
    assert max(len(line) for line in text.splitlines()) <= 120

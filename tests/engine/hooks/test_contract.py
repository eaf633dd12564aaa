"""Hooks that cannot work are refused before the run, with class, method, place and remedy."""

import pytest
from mmengine.hooks import Hook

from mmopt.engine.hooks.contract import check_points, check_priority, uncalled_points
from mmopt.registry import HOOKS, RUNNERS
from mmopt.utils.errors import UserError
from tests.engine.toy import toy_config


@HOOKS.register_module()
class OldHook(Hook):
    """Written for MMCV 1.x."""

    def before_train_epoch(self, runner):
        pass

    def after_train_iter(self, runner):
        pass

    def after_iter(self, runner):
        pass


class NewHook(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        pass

    def after_val_epoch(self, runner, **kwargs):
        pass

    def before_test_iter(self, runner, *args, **kwargs):
        pass


class WrongName(Hook):
    def after_train_iter(self, runner, index, data_batch=None, outputs=None):
        pass

    def after_train_epochs(self, runner):
        pass


def test_a_hook_of_mmcv_1_is_named_with_its_method_and_the_line_to_write():
    with pytest.raises(UserError) as caught:
        check_points(OldHook)
    assert str(caught.value).startswith(
        'OldHook.after_train_iter(self, runner), as hooks of MMCV 1.x, cannot be called with runner, batch_idx, '
        'data_batch, outputs'
    )
    assert 'write def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None)' in str(caught.value)
    assert f'in {__file__}:' in str(caught.value)


def test_any_other_signature_that_does_not_fit_is_refused_too():
    with pytest.raises(UserError, match=r'WrongName.after_train_iter\(self, runner, index, .*cannot be called'):
        check_points(WrongName)
    check_points(NewHook)
    check_points(Hook)


def test_a_method_that_nobody_calls_is_told():
    assert list(uncalled_points(NewHook)) == []
    (text,) = uncalled_points(OldHook)
    assert text.startswith('OldHook.after_iter is never called')
    assert text.endswith('Did you mean after_train_iter or after_val_iter?')
    (text,) = uncalled_points(WrongName)
    assert 'after_train_epochs is never called' in text
    assert 'after_train_epoch' in text.split('Did you mean')[1]


@pytest.mark.parametrize('priority', ['NOPE', 101, -1, 3.5])
def test_a_priority_that_is_none_is_refused_with_those_that_exist(priority):
    with pytest.raises(UserError, match=rf'MyHook: priority={priority!r} is none.*VERY_LOW.*0 \(first\) to 100'):
        check_priority(priority, 'MyHook')


def test_the_nearest_priority_is_suggested():
    with pytest.raises(UserError, match=r'did you mean .*VERY_HIGH'):
        check_priority('VERY_HGH', 'MyHook')
    for priority in (None, 'low', 'VERY_HIGH', 0, 100):
        check_priority(priority, 'MyHook')


@pytest.mark.parametrize(
    ('hook', 'text'),
    [(dict(type='OldHook'), 'OldHook.after_train_iter'), (dict(type='EMAHook', priority='NOPE'), "priority='NOPE'")],
)
def test_the_runner_refuses_them(tmp_path, hook, text):
    with pytest.raises(UserError, match=text):
        RUNNERS.get('IterBasedRunner').from_cfg(toy_config(tmp_path, custom_hooks=[hook]))


def test_priority_zero_of_a_config_counts(tmp_path):
    runner = RUNNERS.get('IterBasedRunner').from_cfg(
        toy_config(tmp_path, custom_hooks=[dict(type='PeakMemoryHook', priority=0)])
    )
    assert type(runner.hooks[0]).__name__ == 'PeakMemoryHook'

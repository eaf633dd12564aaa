from pathlib import Path

import pytest
from mmengine.config import Config

from mmopt.apis.cli.errors import explain
from mmopt.apis.config import load_config, read_config, set_precision, without_validation
from mmopt.utils.errors import UserError

FP16 = dict(type='AmpOptimWrapper', dtype='float16', loss_scale=512.0, accumulative_counts=2)
BF16 = dict(type='AmpOptimWrapper', dtype='bfloat16', accumulative_counts=2)
FP32 = dict(type='OptimWrapper', accumulative_counts=2)


@pytest.mark.parametrize('before', [FP16, BF16, FP32])
@pytest.mark.parametrize(('precision', 'after'), [('bf16', BF16), ('fp32', FP32)])
def test_a_precision_replaces_any_other(before, precision, after):
    cfg = Config(dict(optim_wrapper=dict(before)))
    set_precision(cfg, precision)
    assert cfg.optim_wrapper.to_dict() == after


@pytest.mark.parametrize(('before', 'scale'), [(FP16, 512.0), (BF16, 'dynamic'), (FP32, 'dynamic')])
def test_fp16_keeps_a_loss_scale_and_else_has_a_dynamic_one(before, scale):
    cfg = Config(dict(optim_wrapper=dict(before)))
    set_precision(cfg, 'fp16')
    assert cfg.optim_wrapper.to_dict() == FP16 | dict(loss_scale=scale)


def test_a_precision_without_an_optimizer_is_refused():
    with pytest.raises(UserError, match='--precision bf16 has no effect: the config has no optimizer'):
        set_precision(Config(dict(model=dict())), 'bf16')


def test_without_validation_nothing_waits_for_a_metric():
    cfg = Config(
        dict(val_cfg=dict(), default_hooks=dict(checkpoint=dict(interval=1, save_best='mIoU', rule='greater')))
    )
    without_validation(cfg)
    assert cfg.val_cfg is cfg.val_dataloader is cfg.val_evaluator is None
    assert cfg.default_hooks.checkpoint.to_dict() == dict(interval=1)


@pytest.fixture
def native(tmp_path) -> Path:
    path = tmp_path / 'native.py'
    Config(
        dict(
            default_scope='mmopt',
            model=dict(type='ToyModel'),
            train_dataloader=dict(batch_size=4, dataset=dict(type='ToyDataset')),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=8),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
        )
    ).dump(path)
    return path


def test_flags_are_applied_to_the_lowered_config(native):
    cfg = load_config(native, seed=3, deterministic=True, launcher='pytorch', work_dir='w')
    assert cfg.randomness.to_dict() == dict(seed=3, deterministic=True)
    assert (cfg.launcher, cfg.work_dir, cfg.filename) == ('pytorch', 'w', str(native))


def test_a_batch_changed_by_options_alone_notes_what_the_rate_was_written_for(native):
    changed = load_config(native, options=['train_dataloader.batch_size=8'])
    assert changed.auto_scale_lr.to_dict() == dict(base_batch_size=4, enable=False)
    both = load_config(native, options=['train_dataloader.batch_size=8', 'optim_wrapper.optimizer.lr=0.2'])
    assert 'auto_scale_lr' not in both
    assert 'auto_scale_lr' not in load_config(native)


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('runner.max_iter=3', r'runner.max_iter.*did you mean max_iters\?'),
        ('data.samples_per_gpus=3', r'data.samples_per_gpus.*did you mean samples_per_gpu\?'),
        ('optimzer.lr=3', r'optimzer.*did you mean optimizer\?'),
        ('runner.max_iters', 'write key=value without spaces'),
    ],
)
def test_a_mistyped_option_is_one_line_that_names_the_nearest_key(tmp_path, option, message):
    path = tmp_path / 'dialect.py'
    path.write_text(
        "data = dict(samples_per_gpu=4, workers_per_gpu=0, train=dict(type='ToyDataset'))\n"
        "optimizer = dict(type='SGD', lr=0.1)\n"
        "lr_config = dict(policy='fixed')\n"
        "runner = dict(type='IterBasedRunner', max_iters=8)\n"
    )
    with pytest.raises(ValueError, match=message) as caught:
        load_config(path, options=[option])
    assert '\n' not in explain(caught.value)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('import no_such_pkg', "broken.py:1: ModuleNotFoundError: No module named 'no_such_pkg'"),
        ('from math import nope', "broken.py:1: ImportError: cannot import name 'nope'"),
        ('x = 1\ny = x / 0', 'broken.py:2: ZeroDivisionError'),
        ('import numpy as np\nx = np.float', 'broken.py:2: AttributeError'),
        ('def f(:', r'broken.py:1: invalid syntax: def f\(:'),
    ],
)
def test_a_module_of_custom_imports_that_fails_inside_is_named_with_its_line(tmp_path, monkeypatch, text, message):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'broken.py').write_text(text)
    config = tmp_path / 'config.py'
    config.write_text("custom_imports = dict(imports=['broken'])")
    with pytest.raises(UserError, match=f'config.py: custom_imports failed in .*{message}') as caught:
        read_config(config)
    assert 'sys.path' not in str(caught.value)


def test_a_module_of_custom_imports_that_is_not_there_is_looked_for_in_pythonpath(tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', '/somewhere')
    config = tmp_path / 'config.py'
    config.write_text("custom_imports = dict(imports=['not_here.models'])")
    with pytest.raises(UserError, match=r"there is no module 'not_here'.*PYTHONPATH \(/somewhere\)"):
        read_config(config)

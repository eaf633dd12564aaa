"""Checkpoints of mmcv 1.x and MMEngine, made here the way those libraries make them."""

import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine import ConfigDict
from mmengine.logging import MessageHub
from torch import nn

from mmopt.engine.checkpoint_io import load, load_weights, restore_message_hub

ITER_CONFIG = "runner = dict(type='IterBasedRunner', max_iters=160000)\n"
EPOCH_CONFIG = "runner = dict(type='EpochBasedRunner', max_epochs=12)\n"


def mmcv1(iteration: int, epoch: int = 1, **meta) -> dict:
    """What mmcv 1.7.2's ``save_checkpoint`` writes."""
    model = nn.Linear(2, 2)
    return dict(
        meta=dict(
            env_info='sys.platform: linux',
            seed=np.int64(7),
            exp_name='config.py',
            mmcv_version='1.7.2',
            time='Tue Jan  3 10:00:00 2023',
            CLASSES=('road', 'car'),
            PALETTE=[[0, 0, 0], [1, 1, 1]],
            iter=iteration,
            epoch=epoch,
        )
        | meta,
        state_dict=OrderedDict(model.state_dict()),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1).state_dict(),
    )


@pytest.mark.parametrize(
    ('name', 'content', 'iters', 'epochs'),
    [
        ('iter_20.pth', mmcv1(19, epoch=3), 20, 2),
        ('best_mIoU_iter_20.pth', mmcv1(19), 20, 0),
        ('epoch_2.pth', mmcv1(20, epoch=2), 20, 2),
        ('renamed.pth', mmcv1(19, config=ITER_CONFIG), 20, 0),
        ('renamed.pth', mmcv1(20, epoch=2, config=EPOCH_CONFIG), 20, 2),
        ('latest.pth', mmcv1(19, hook_msgs=dict(last_ckpt='/x/iter_10.pth')), 20, 0),
        # A file renamed to a number that is not its own.
        ('iter_99.pth', mmcv1(20, epoch=2, config=EPOCH_CONFIG), 20, 2),
    ],
)
def test_the_iterations_of_mmcv1_are_those_that_are_done(tmp_path, name, content, iters, epochs):
    torch.save(content, tmp_path / name)
    checkpoint = load(tmp_path / name)
    assert checkpoint['source_format'] == 'mmcv1'
    assert checkpoint['iter'] == checkpoint['meta']['iter'] == iters
    assert checkpoint['epoch'] == checkpoint['meta']['epoch'] == epochs
    assert checkpoint['meta']['seed'] == 7
    assert checkpoint['meta']['CLASSES'] == ('road', 'car')


def test_a_checkpoint_that_does_not_say_how_it_counted_is_a_warning(tmp_path, warnings_logged):
    torch.save(mmcv1(20), tmp_path / 'renamed.pth')
    assert load(tmp_path / 'renamed.pth')['iter'] == 20
    assert 'Name it iter_<N>.pth' in warnings_logged[0]


@pytest.mark.parametrize('old_format', [False, True])
def test_numpy_values_in_mmcv1_meta_need_no_unsafe_loading(tmp_path, old_format):
    messages = dict(best_score=np.float64(0.5), best_ckpt='/far/best_mIoU_iter_20.pth', ious=np.ones(3))
    content = mmcv1(19, hook_msgs=messages, flag=np.bool_(True), name=np.str_('x'), count=np.uint8(3))
    torch.save(content, tmp_path / 'iter_20.pth', _use_new_zipfile_serialization=not old_format)
    checkpoint = load(tmp_path / 'iter_20.pth')
    meta = checkpoint['meta']
    assert (meta['flag'], meta['name'], meta['count']) == (True, 'x', 3)
    assert type(meta['hook_msgs']['best_score']) is float
    best = dict(mIoU=dict(score=0.5, file='best_mIoU_iter_20.pth'))
    assert checkpoint['message_hub']['runtime_info']['best_checkpoints'] == best
    restore_message_hub(MessageHub.get_instance('x'), checkpoint['message_hub'])
    assert MessageHub.get_instance('x').get_info('best_checkpoints') == best


def test_names_of_numpy_1_load_too(tmp_path):
    path = tmp_path / 'iter_20.pth'
    torch.save(mmcv1(np.int64(19)), path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert b'cnumpy._core.multiarray\n' in content
    path.write_bytes(content.replace(b'cnumpy._core.multiarray\n', b'cnumpy.core.multiarray\n'))
    assert load(path)['iter'] == 20


def test_the_config_dict_of_mmcv1_loads_as_a_dict(tmp_path, monkeypatch):
    """mmcv's ConfigDict is an addict.Dict: a dict that is its own pickled state."""

    class Config(dict):
        def __getstate__(self):
            return self

        def __setstate__(self, state):
            self.update(state)

    Config.__name__ = Config.__qualname__ = 'ConfigDict'
    Config.__module__ = 'mmcv.utils.config'
    module = type(sys)('mmcv.utils.config')
    module.ConfigDict = Config
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, 'mmcv.utils.config', module)
        torch.save(mmcv1(19, cfg=Config(a=1, b=Config(c=[2]))), tmp_path / 'iter_20.pth')
    assert load(tmp_path / 'iter_20.pth')['meta']['cfg'] == dict(a=1, b=dict(c=[2]))


@pytest.mark.parametrize(
    'scaler',
    [
        torch.amp.GradScaler('cpu', init_scale=512.0).state_dict(),
        dict(cur_scale=512.0, cur_iter=3, mode='dynamic', last_overflow_iter=-1, scale_factor=2.0, scale_window=1000),
    ],
)
def test_the_fp16_scaler_of_mmcv1_is_kept(tmp_path, scaler):
    torch.save(mmcv1(19, fp16=dict(loss_scaler=scaler)), tmp_path / 'iter_20.pth')
    state = load(tmp_path / 'iter_20.pth')['optimizer']['loss_scaler']
    restored = torch.amp.GradScaler('cpu')
    restored.load_state_dict(state)
    assert restored.get_scale() == 512.0


EMA_CONFIG = EPOCH_CONFIG + "custom_hooks = [dict(type='ExpMomentumEMAHook', momentum=0.0001, priority=49)]\n"


@pytest.mark.parametrize(
    ('name', 'content', 'swapped'),
    [
        ('iter_20.pth', mmcv1(19), False),
        ('epoch_2.pth', mmcv1(20, config=EPOCH_CONFIG), False),
        ('epoch_2.pth', mmcv1(20, config=EMA_CONFIG), True),
        ('best_mAP_epoch_2.pth', mmcv1(20, config=EPOCH_CONFIG), True),
    ],
)
def test_the_averages_of_mmcv1_are_resumed_as_mmengine_keeps_them(tmp_path, name, content, swapped):
    weights = content['state_dict']['weight']
    buffers = torch.zeros(2, 2)
    content = content | dict(state_dict=content['state_dict'] | dict(ema_weight=buffers, ema_bias=torch.zeros(2)))
    torch.save(content, tmp_path / name)

    report = load_weights(nn.Linear(2, 2), tmp_path / name)
    assert report.complete
    loaded = load(tmp_path / name)
    assert torch.equal(loaded['state_dict']['weight'], weights)
    assert 'ema_state_dict' not in loaded

    resumed = load(tmp_path / name, for_resume=True)
    average, raw = (weights, buffers) if swapped else (buffers, weights)
    assert torch.equal(resumed['state_dict']['weight'], average)
    assert torch.equal(resumed['ema_state_dict']['module.weight'], raw)
    assert set(resumed['ema_state_dict']) == {'module.weight', 'module.bias', 'steps'}
    assert resumed['ema_state_dict']['steps'] == 20


def mmengine_checkpoint(path) -> MessageHub:
    """What MMEngine 0.10.7's runner writes, message hub and all."""
    hub = MessageHub.get_instance('mmengine_run')
    for loss in (2.0, 1.0):
        hub.update_scalar('train/loss', loss)
    hub.update_info('best_score', np.float32(0.25))
    hub.update_info('best_ckpt', '/far/best_mIoU_iter_20.pth')
    hub.update_info('dataset_meta', ConfigDict(classes=('a', 'b'), palette=np.zeros((2, 3))))
    model = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters()).state_dict()
    torch.save(
        dict(
            meta=dict(iter=20, epoch=0, seed=7, mmengine_version='0.10.7', dataset_meta=ConfigDict(classes=('a',))),
            state_dict=model.state_dict(),
            message_hub=hub.state_dict(),
            optimizer=optimizer | dict(base_param_settings=dict(params=[0])),
            param_schedulers=[dict(last_step=20)],
        ),
        path,
    )
    return hub


def test_an_mmengine_checkpoint_with_its_message_hub_loads_safely(tmp_path):
    hub = mmengine_checkpoint(tmp_path / 'iter_20.pth')
    checkpoint = load(tmp_path / 'iter_20.pth')
    assert checkpoint['source_format'] == 'mmengine'
    assert checkpoint['iter'] == 20
    assert 'base_param_settings' not in checkpoint['optimizer']
    assert checkpoint['meta']['dataset_meta'] == dict(classes=('a',))
    restored = MessageHub.get_instance('restored')
    restore_message_hub(restored, checkpoint['message_hub'])
    for ours, theirs in zip(restored.get_scalar('train/loss').data, hub.get_scalar('train/loss').data, strict=True):
        assert ours.tolist() == theirs.tolist()
    assert restored.get_scalar('train/loss').mean(2) == 1.5
    assert restored.get_info('best_checkpoints') == dict(mIoU=dict(score=0.25, file='best_mIoU_iter_20.pth'))


def test_published_mmengine_weights_load(tmp_path):
    content = dict(meta=dict(mmengine_version='0.10.7', iter=5, epoch=1), state_dict=nn.Linear(2, 2).state_dict())
    torch.save(content, tmp_path / 'a.pth')
    assert load(tmp_path / 'a.pth')['optimizer'] is None

"""What only the detection configs have to keep: recipes as published, and numbers that belong together."""

import pytest
from mmengine.config import Config

from mmopt.config import lower
from tests.conftest import REPO

CONFIGS = sorted(path for folder in ('baseline', 'demo') for path in (REPO / 'configs' / folder).glob('yolov5*.py'))


def read(path) -> dict:
    return lower(Config.fromfile(path).to_dict())


def baseline(name: str) -> dict:
    return read(REPO / 'configs' / 'baseline' / f'yolov5m_fred_{name}.py')


def steps(cfg: dict, split: str = 'train') -> dict[str, dict]:
    return {step['type']: step for step in cfg[f'{split}_dataloader']['dataset']['pipeline']}


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem + '_' + path.parent.name)
def test_mosaics_stop_at_70_percent_and_training_and_evaluation_have_one_size(path):
    cfg = read(path)
    train = steps(cfg)
    if 'Mosaic' in train:
        assert train['Mosaic']['stop_epoch'] == int(0.7 * cfg['train_cfg']['max_epochs'])
        assert train['Mosaic']['size'] == train['RandomLetterbox']['size']
    sizes = [train['RandomLetterbox']['size'], *(steps(cfg, split)['Letterbox']['size'] for split in ('val', 'test'))]
    assert len(set(map(str, sizes))) == 1
    if 'MixUp' in train:
        assert train['MixUp']['load'][-1] == train['RandomLetterbox']


@pytest.mark.parametrize('modality', ['rgb', 'event'])
def test_published_settings_of_both_recipes(modality):
    slow, fast = baseline(modality), baseline(f'{modality}_fast')
    assert [cfg['optim_wrapper']['type'] for cfg in (slow, fast)] == ['OptimWrapper', 'AmpOptimWrapper']
    assert slow['train_cfg']['phases'] == [
        dict(until_epoch=50, freeze=['backbone'], batch_size=16),
        dict(until_epoch=300, batch_size=8),
    ]
    assert fast['train_cfg']['phases'] == [
        dict(until_epoch=30, freeze=['backbone'], batch_size=32),
        dict(until_epoch=150, batch_size=16),
    ]
    assert [cfg['train_cfg']['max_epochs'] for cfg in (slow, fast)] == [300, 150]
    assert [cfg['train_cfg']['val_interval'] for cfg in (slow, fast)] == [10, 15]
    assert [cfg['default_hooks']['checkpoint']['interval'] for cfg in (slow, fast)] == [10, 15]
    assert [cfg['train_dataloader']['num_workers'] for cfg in (slow, fast)] == [4, 8]
    assert [('MixUp' in steps(cfg)) for cfg in (slow, fast)] == [True, False]
    for cfg in (slow, fast):
        optimizer = cfg['optim_wrapper']['optimizer']
        # 2e-2 x batch / 64 within [5e-4, 5e-2]; phases scale from the batch of the loader.
        assert optimizer['lr'] == pytest.approx(2e-2 * cfg['train_dataloader']['batch_size'] / 64)
        for phase in cfg['train_cfg']['phases']:
            assert 5e-4 <= optimizer['lr'] * phase['batch_size'] / cfg['train_dataloader']['batch_size'] <= 5e-2
        assert (optimizer['momentum'], optimizer['nesterov'], optimizer['weight_decay']) == (0.937, True, 5e-4)
        (ema,) = cfg['custom_hooks']
        assert (ema['ema_type'], ema['momentum'], ema['warm_up']) == ('ExpWarmupEMA', 1e-4, 2000)
        assert (cfg['model']['score_threshold'], cfg['model']['nms_iou']) == (0.05, 0.5)
        assert all(modality in cfg[f'{s}_dataloader']['dataset']['ann_file'] for s in ('train', 'val', 'test'))
        assert ('DrawHSV' in steps(cfg)) == (modality == 'rgb')
        assert cfg['visualizer']['vis_backends'][-1]['type'] == 'TensorboardVisBackend'


def test_the_table_of_the_two_recipes_covers_their_phases():
    table = Config.fromfile(REPO / 'benchmarks' / 'tables' / 'detection.py')
    epochs = [
        int(option.split('=')[1]) for row in table.rows for option in row.options if option.startswith('runner.max')
    ]
    for recipe, rows in (('rgb', epochs[:2]), ('rgb_fast', epochs[2:])):
        first, last = baseline(recipe)['train_cfg']['phases']
        assert rows == [first['until_epoch'], last['until_epoch'] - first['until_epoch']]

"""What only the driver configs have to keep: data and model agree, presets are the guide's."""

import pytest
from mmengine.config import Config

from mmopt.config import lower
from tests.conftest import REPO

CONFIGS = sorted(path for kind in ('baseline', 'demo') for path in (REPO / 'configs' / kind).glob('video_*.py'))


def read(path) -> dict:
    return lower(Config.fromfile(path).to_dict())


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: f'{path.stem}_{path.parent.name}')
@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_the_data_set_loads_what_the_model_needs_and_no_more(path, split):
    cfg = read(path)
    dataset, model = cfg[f'{split}_dataloader']['dataset'], cfg['model']
    assert dataset['load_rgb'] == (model.get('encoder') is not None)
    assert dataset['load_kpt'] == (model.get('keypoint_encoder') is not None)
    assert dataset['img_size'] == cfg['train_dataloader']['dataset']['img_size']
    assert model['num_classes'] == 9


def test_published_settings_of_the_baselines():
    for name in ('conv3d', 'transformer', 'mamba', 'stgcn'):
        cfg = read(REPO / 'configs' / 'baseline' / f'video_{name}_driver.py')
        assert (cfg['optim_wrapper']['optimizer']['type'], cfg['optim_wrapper']['optimizer']['lr']) == ('Adam', 1e-4)
        assert cfg['train_cfg']['max_epochs'] == 50
        stop = cfg['custom_hooks'][0]
        assert (stop['type'], stop['monitor'], stop['patience']) == ('EarlyStoppingHook', 'accuracy', 5)
        dataset = cfg['train_dataloader']['dataset']
        assert (dataset['img_size'], dataset['uniform_temporal_subsample_num']) == (224, 8)


@pytest.mark.parametrize(
    ('preset', 'batch', 'workers', 'frames', 'pixels', 'threads', 'accumulation', 'checkpointing'),
    [
        ('standard', 2, 4, 500, 224, 4, 2, None),
        ('aggressive', 1, 2, 300, 160, 2, 8, 'blocks'),
        ('extreme', 1, 0, 200, 112, 1, 16, 'blocks'),
    ],
)
def test_presets_are_those_of_the_memory_guide(
    preset, batch, workers, frames, pixels, threads, accumulation, checkpointing
):
    cfg = read(REPO / 'configs' / 'baseline' / f'video_transformer_driver_{preset}.py')
    loader = cfg['train_dataloader']
    dataset = loader['dataset']
    assert (loader['batch_size'], loader['num_workers']) == (batch, workers)
    assert (dataset['max_video_frames'], dataset['img_size'], dataset['num_io_threads']) == (frames, pixels, threads)
    assert not dataset['load_kpt']
    assert cfg['optim_wrapper']['accumulative_counts'] == accumulation
    assert cfg['optim_wrapper']['dtype'] == 'float16'
    assert cfg['optimize'].get('checkpointing') == checkpointing

"""What only the TAD configs have to keep: inputs, classes and windows of data and model agree."""

import pytest
from mmengine.config import Config

from mmopt.apis import load_config
from mmopt.apis.bench.tables import load_table
from mmopt.config import lower
from mmopt.datasets.tad.motion import count_inputs
from tests.conftest import REPO

CONFIGS = sorted(path for folder in ('baseline', 'demo') for path in (REPO / 'configs' / folder).glob('tad_*.py'))


def read(path) -> dict:
    return lower(Config.fromfile(path).to_dict())


def check_fit(cfg: dict, split: str) -> bool:
    """Compare model and data set of a lowered config; returns whether there are motion features."""
    dataset, model = cfg[f'{split}_dataloader']['dataset'], cfg['model']
    (features,) = (step for step in dataset['pipeline'] if step['type'] == 'MotionFeatures')
    num_mice = features['num_mice']
    num_keypoints = features.get('num_keypoints') or num_mice * len(features['body_parts'])
    pairs = num_mice * (num_mice - 1) // 2 if features.get('use_pair_features') else 0
    use_motion = features.get('use_motion_features', True)
    assert model['encoder']['in_channels'] == count_inputs(num_keypoints, use_motion, pairs)
    if model['type'] == 'IntervalDetector':
        assert dataset['window'] == model.get('window', 1000)
    if 'classes' in dataset.get('metainfo', {}):
        assert len(dataset['metainfo']['classes']) == model['num_classes'] == 37
    return use_motion


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem + '_' + path.parent.name)
@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_the_model_fits_what_the_pipeline_makes(path, split):
    assert check_fit(read(path), split)


def test_the_ablation_changes_the_inputs_and_nothing_else():
    table = load_table(REPO / 'benchmarks' / 'tables' / 'tad_motion.py')
    for without, full in zip(table.settings[::2], table.settings[1::2], strict=True):
        with_motion, positions = (load_config(cell.config, options=cell.options) for cell in (full, without))
        for split in ('train', 'val', 'test'):
            assert check_fit(with_motion, split)
            assert not check_fit(positions, split)
            for step in positions[f'{split}_dataloader'].dataset.pipeline:
                step.pop('use_motion_features', None)
        positions.model.encoder.in_channels *= 2
        assert positions.to_dict() == with_motion.to_dict()


def test_published_settings_of_the_three_baselines():
    v7, biggest, v6 = (
        read(REPO / 'configs' / 'baseline' / f'tad_{name}.py')
        for name in ('v7_mabe_5090', 'v7_mabe_5090_max', 'v6_mabe')
    )
    assert [cfg['train_dataloader']['batch_size'] for cfg in (v7, biggest, v6)] == [32, 48, 96]
    assert [cfg['optim_wrapper']['optimizer']['lr'] for cfg in (v7, biggest)] == [1.5e-4, 2e-4]
    assert v7['model']['encoder']['in_channels'] == 284
    assert v6['model']['encoder']['in_channels'] == 288
    assert v6['train_dataloader']['dataset']['window'] == 100
    loader = v7['train_dataloader']
    assert (loader['num_workers'], loader['pin_memory'], loader['prefetch_factor']) == (8, True, 2)
    assert loader['persistent_workers']
    assert v7['optim_wrapper']['dtype'] == 'float16'
    assert v7['optim_wrapper']['clip_grad']['max_norm'] == 1.0
    assert v7['train_cfg']['max_epochs'] == 100
    (stop,) = v7['custom_hooks']
    assert (stop['type'], stop['monitor'], stop['patience']) == ('EarlyStoppingHook', 'F1', 15)

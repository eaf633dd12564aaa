"""The shipped BEV configs, read as users do."""

from pathlib import Path

import pytest

from mmopt.apis import load_config

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


@pytest.mark.parametrize(
    ('name', 'batch', 'lr', 'wrapper'),
    [
        ('lss_swin_nuscenes', 4, 2e-4, 'OptimWrapper'),
        ('lss_swin_nuscenes_high_memory', 8, 4e-4, 'AmpOptimWrapper'),
    ],
)
def test_a_baseline_has_the_batch_rate_and_precision_of_its_name(name, batch, lr, wrapper):
    cfg = load_config(str(CONFIGS / 'baseline' / f'{name}.py'))
    assert cfg.train_dataloader.batch_size == batch
    assert cfg.train_dataloader.num_workers == 4
    assert cfg.optim_wrapper.optimizer.lr == lr
    assert cfg.optim_wrapper.type == wrapper
    assert cfg.train_cfg.max_iters == 200_000


def test_one_option_moves_the_data_root_of_all_splits():
    cfg = load_config(str(CONFIGS / 'baseline/lss_swin_nuscenes.py'), options=['data.data_root=elsewhere'])
    loaders = (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader)
    assert [loader.dataset.data_root for loader in loaders] == ['elsewhere'] * 3
    assert [loader.dataset.img_dir for loader in loaders] == ['img_dir/train', 'img_dir/val', 'img_dir/val']

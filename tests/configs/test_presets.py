"""Presets of the `optimize` section, with every baseline config."""

import pytest
from mmengine.config import Config

from mmopt.apis.config import PRESETS, load_config, read_preset
from mmopt.config import check_optimize, lower
from mmopt.utils.errors import UserError
from tests.conftest import REPO

NAMES = ['standard', 'aggressive', 'extreme']
BASELINES = sorted((REPO / 'configs' / 'baseline').glob('*.py'))


def test_there_are_the_three_presets_and_all_keys_are_known():
    assert sorted(path.stem for path in PRESETS.glob('*.py')) == sorted(NAMES)
    for name in NAMES:
        check_optimize(read_preset(name))


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('path', BASELINES, ids=lambda path: path.stem)
def test_a_preset_changes_memory_but_not_the_training_of_a_baseline_config(path, name):
    plain, cfg = load_config(path), load_config(path, preset=name)
    assert cfg.optim_wrapper['type'] == 'AmpOptimWrapper'
    assert cfg.optim_wrapper['dtype'] == 'float16'
    limit = dict(standard=4, aggressive=2, extreme=0)[name]
    # Some configs have a preset of their own, which this one replaces key by key.
    unlimited = load_config(path, options=['optimize.max_workers=64'])
    assert cfg.train_dataloader.num_workers == min(limit, unlimited.train_dataloader.num_workers)
    assert cfg.optimize.micro_batch == (1 if name == 'extreme' else 'auto')
    own = (plain.get('optimize') or {}).get('checkpointing')
    assert cfg.optimize.get('checkpointing') == (own if name == 'standard' else 'blocks')
    for key in ('model', 'param_scheduler', 'train_cfg', 'val_evaluator'):
        assert cfg.get(key) == plain.get(key)
    assert cfg.optim_wrapper.optimizer == plain.optim_wrapper.optimizer
    assert cfg.optim_wrapper.accumulative_counts == plain.optim_wrapper.accumulative_counts
    assert cfg.train_dataloader.batch_size == plain.train_dataloader.batch_size
    # What is written into the work dir can be run again, and flags still win.
    assert lower(cfg.to_dict()) == cfg.to_dict()
    assert load_config(path, preset=name, precision='bf16').optim_wrapper['dtype'] == 'bfloat16'


def test_a_preset_can_be_a_base_of_a_config(tmp_path):
    child = tmp_path / 'child.py'
    child.write_text(
        f"_base_ = ['{REPO}/configs/baseline/lss_swin_nuscenes.py', '{PRESETS}/extreme.py']\n"
        'optimize = dict(micro_batch=2)\n'
    )
    lowered = lower(Config.fromfile(child).to_dict())
    assert lowered['optimize'] == dict(micro_batch=2, checkpointing='blocks')
    assert lowered['train_dataloader']['num_workers'] == 0
    assert not lowered['train_dataloader']['persistent_workers']


def test_options_win_over_a_preset():
    cfg = load_config(BASELINES[0], preset='extreme', options=['optimize.micro_batch=3', 'optimize.precision=fp32'])
    assert cfg.optimize.micro_batch == 3
    assert cfg.optim_wrapper['type'] == 'OptimWrapper'


def test_an_unknown_preset_names_the_known_ones(tmp_path):
    with pytest.raises(UserError, match='known: aggressive, extreme, standard'):
        load_config(BASELINES[0], preset='brutal')
    empty = tmp_path / 'empty.py'
    empty.write_text('x = 1\n')
    with pytest.raises(UserError, match=r'has no section optimize'):
        load_config(BASELINES[0], preset=str(empty))

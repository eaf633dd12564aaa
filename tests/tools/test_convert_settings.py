"""Settings of a guide in YAML, as children of our configs: every key is mapped or named."""

from pathlib import Path

import pytest
import yaml

from mmopt.apis.config import load_config
from mmopt.apis.convert_settings import convert_settings, is_settings
from mmopt.config.words.settings import flatten
from mmopt.utils.errors import UserError

V7 = """
data_dir: /data/mabe
model:
  input_dim: 284
  use_motion_features: true
  anchor_scales: [16, 32, 64]
training:
  batch_size: 24
  learning_rate: 2.0e-4
  num_epochs: 150
  mixed_precision: true
  gradient_accumulation_steps: 2
  effective_batch_size: 48
  grad_clip: 1.0
dataloader:
  num_workers: 8
  pin_memory: true
  prefetch_factor: 2
  persistent_workers: true
seed: 42
unheard_of: 3
"""
HYDRA = """
defaults:
  - model: mamba
  - logger: csv
  - _self_
data:
  batch_size: 1
  img_size: 112
  max_video_frames: 500
  load_kpt: false
  num_workers: 4
  fold: 0
model:
  use_gradient_checkpointing: true
train:
  accumulate_grad_batches: 4
trainer:
  precision: bf16-mixed
  devices: 1
hydra:
  run:
    dir: outputs
"""


@pytest.fixture
def convert(tmp_path):
    """Write settings, convert them, and return the text and the config that it is."""

    def convert(text: str, name: str = 'config.yaml', base: str | None = None):
        source = tmp_path / name
        source.write_text(text)
        assert is_settings(source)
        child = tmp_path / 'child.py'
        child.write_text(convert_settings(source, base))
        return child.read_text(), load_config(child)

    return convert


def test_the_settings_of_the_mouse_guide_become_a_child_of_its_config(convert):
    text, cfg = convert(V7, 'config_v7_5090.yaml')
    assert "_base_ = 'mmopt::baseline/tad_v7_mabe_5090.py'" in text
    assert cfg.train_dataloader.batch_size == 24
    assert cfg.train_dataloader.num_workers == 8
    assert cfg.train_dataloader.dataset.data_root == '/data/mabe'
    assert cfg.optim_wrapper.accumulative_counts == 2
    assert cfg.optim_wrapper.optimizer.lr == 2e-4
    assert cfg.optim_wrapper.clip_grad.max_norm == 1.0
    assert (cfg.optim_wrapper.dtype, cfg.optim_wrapper.loss_scale) == ('float16', 'dynamic')
    assert cfg.train_cfg.max_epochs == 150
    assert cfg.model.encoder.in_channels == 284
    assert cfg.randomness.seed == 42


def test_the_base_is_that_of_the_largest_settings_where_the_name_says_so(convert):
    assert 'tad_v7_mabe_5090_max.py' in convert(V7, 'config_v7_5090_max.yaml')[0]


def test_the_settings_of_the_driver_guide_reach_all_data_sets(convert):
    text, cfg = convert(HYDRA)
    assert "_base_ = 'mmopt::baseline/video_mamba_driver.py'" in text
    for name in ('train', 'val', 'test'):
        dataset = cfg[f'{name}_dataloader'].dataset
        assert (dataset.img_size, dataset.max_video_frames, dataset.load_kpt) == (112, 500, False)
    assert cfg.optimize.checkpointing == 'blocks'
    assert cfg.optim_wrapper.dtype == 'bfloat16'
    assert cfg.optim_wrapper.accumulative_counts == 4


@pytest.mark.parametrize('settings', [V7, HYDRA])
def test_every_key_is_mapped_or_named_with_a_reason(convert, settings):
    text, _ = convert(settings)
    said = {line[2:].partition(': ')[0]: line for line in text.splitlines() if line.startswith('# ') and ': ' in line}
    content = yaml.safe_load(settings)
    defaults, hydra = content.pop('defaults', None), content.pop('hydra', None)
    keys = {key for key, _ in flatten(content)}
    keys |= {'model.backbone', 'logger.group', 'hydra'} if defaults and hydra else set()
    assert set(said) == keys
    assert all(' -> ' in line or len(line.split(': ')[-1].split()) > 2 for line in said.values())


def test_a_group_of_hydra_is_read_from_its_file(convert, tmp_path):
    (tmp_path / 'train').mkdir()
    (tmp_path / 'train' / 'small.yaml').write_text('max_epochs: 7\nlearning_rate: 0.5\n')
    _, cfg = convert('defaults: [{train: small}]\nmodel: {backbone: mamba}\ntrain: {learning_rate: 0.25}\n')
    assert cfg.train_cfg.max_epochs == 7
    assert cfg.optim_wrapper.optimizer.lr == 0.25


@pytest.mark.parametrize(
    ('precision', 'expected'),
    [('16', 'float16'), ('bf16', 'bfloat16'), ('16-mixed', 'float16'), ('true', 'float16'), ('32', None)],
)
def test_every_spelling_of_a_precision_is_understood(convert, precision, expected):
    _, cfg = convert(f'trainer: {{precision: {precision}}}', base='baseline/bisenetv2_cityscapes_fast')
    assert cfg.optim_wrapper.get('dtype') == expected


def test_two_settings_that_contradict_each_other_are_named(convert):
    text, cfg = convert('learning_rate: 0.5\nlr0: 0.25\nims_per_gpu: 8\n')
    assert cfg.optim_wrapper.optimizer.lr == 0.5
    assert '# lr0: 0.25: another setting says optimizer.lr=0.5' in text


@pytest.mark.parametrize(
    ('text', 'base', 'message'),
    [
        ('batch_size: 3\n', None, 'nothing in it tells which config it belongs to; name one with --base'),
        ('batch_size: 3\n', 'baseline/bisenetv2_cityscape', 'Did you mean baseline/bisenetv2_cityscapes'),
        ('- 3\n', None, 'must hold a mapping of settings, got list'),
        ('a: [3\n', None, 'config.yaml: '),
    ],
)
def test_what_cannot_be_converted_is_refused(tmp_path, text, base, message):
    path = Path(tmp_path, 'config.yaml')
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        convert_settings(path, base)


def test_a_config_of_mmengine_in_yaml_is_no_settings(tmp_path):
    for text in ('model: {type: ToyModel}\n', '_base_: other.yaml\n', 'train_dataloader: {batch_size: 2}\n'):
        (tmp_path / 'x.yaml').write_text(text)
        assert not is_settings(tmp_path / 'x.yaml')
    assert not is_settings(tmp_path / 'x.py')


def test_the_tool_writes_the_child(tool, tmp_path, capsys):
    (tmp_path / 'config.yaml').write_text('ims_per_gpu: 64\n')
    assert tool('convert_config').main([str(tmp_path / 'config.yaml'), '--out', 'mine.py']) == 0
    assert load_config('mine.py').train_dataloader.batch_size == 64
    with pytest.raises(UserError, match='leave --base out'):
        tool('convert_config').main(['mine.py', '--base', 'x'])

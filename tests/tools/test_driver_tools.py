"""From the demo's videos to a trained model, with the tools that users call."""

import json
from pathlib import Path

import cv2
import pytest

from mmopt.apis.bench.estimates import estimate_settings
from mmopt.apis.bench.settings import Setting
from mmopt.apis.bench.tables import load_table
from mmopt.utils.errors import UserError
from tests.conftest import REPO

CONFIG = REPO / 'configs' / 'demo' / 'video_conv3d_driver.py'


def test_drivers_are_made_prepared_looked_at_and_trained(tool, capsys):
    make = ['driver', '--num-train', '2', '--num-val', '2', '--image-size', '64', '64', '--workers', '0']
    tool('datasets/make_demo').main(make)
    assert 'made 2 train + 2 val' in capsys.readouterr().out
    tool('datasets/prepare_driver').main(['--data-root', 'data/demo/driver', '--num-folds', '2', '--workers', '1'])
    out = capsys.readouterr().out
    assert '4 recordings' in out
    assert 'fold 1 holds out person_101' in out
    tool('browse_dataset').main([str(CONFIG), '--num', '1', '--out', 'pictures'])
    assert cv2.imread('pictures/train_000000.jpg').shape[1] >= 4 * 64
    options = ['runner.max_epochs=1', 'evaluation.interval=1', 'data.workers_per_gpu=0', 'expect=None']
    options += [f'data.{split}.img_size=32' for split in ('train', 'val', 'test')]
    assert tool('train').main([str(CONFIG), '--work-dir', 'run', '--options', *options]) == 0
    metrics = json.loads(Path('run/summary.json').read_text())['metrics']
    assert {'accuracy', 'precision', 'recall', 'F1'} <= set(metrics)
    assert Path('run/confusion_matrix.png').is_file()
    assert list(Path('run/pictures').glob('*.jpg'))


def test_the_table_of_layouts_names_configs_that_exist():
    table = load_table(REPO / 'benchmarks' / 'tables' / 'video_layout.py')
    assert len({setting.config for setting in table.settings}) == 3
    assert all((REPO / setting.config).is_file() for setting in table.settings)


def test_the_table_of_the_memory_guide_names_configs_and_options_that_exist():
    table = load_table(REPO / 'benchmarks' / 'tables' / 'video.py', demo=True)
    by_name = {setting.name: setting for setting in table.settings}
    assert table.settings[0].claimed['memory_gib'] == (14.0, 14.0)
    assert 'data.val.img_size=112' in by_name['112 pixels'].options
    assert by_name['preset extreme'].config.endswith('video_transformer_driver_extreme.py')
    assert all('data.data_root=data/demo/driver' in setting.options for setting in table.settings)


def test_the_memory_guide_is_estimated_without_measuring_anything(tool, monkeypatch, capsys):
    """Both precisions and options reach the estimate; here it only counts what it is asked."""

    class Report:
        def __init__(self, config, options, precisions):
            size = (2 if precisions == ['fp16'] else 4) * 2**30 // (4 if 'data.samples_per_gpu=1' in options else 1)
            if 'aggressive' in config:
                raise UserError('this one cannot be estimated')
            self.cases = [dict(reserved=size // 2), dict(reserved=size)]
            self.host = type('Host', (), dict(total=3 * 2**30))

    monkeypatch.setattr('mmopt.apis.bench.estimates.estimate_memory', Report)
    assert tool('benchmark').main(['--table', 'video', '--demo', '--rounds', '0']) == 1
    text = capsys.readouterr().out
    assert '| batch 4 | 14.0 GiB | 4.00 GiB | - | 1.00x | 3.0 GiB |' in text
    assert '| + FP16, accumulation | 2.0 GiB | 0.50 GiB | - | 0.12x | 3.0 GiB |' in text
    assert '- preset aggressive, estimate: this one cannot be estimated' in text
    assert 'samples/s' not in text
    with pytest.raises(UserError, match='--rounds 0 measures nothing: with --estimate'):
        tool('benchmark').main([str(CONFIG), '--rounds', '0'])


@pytest.mark.slow
def test_the_demo_learns_actions_from_keypoints_of_other_persons(tool):
    """Half of the demo; pictures are small, because nobody looks at them."""
    make = ['driver', '--num-train', '6', '--num-val', '2', '--image-size', '64', '64', '--workers', '2']
    tool('datasets/make_demo').main(make)
    config = REPO / 'configs' / 'demo' / 'video_stgcn_driver.py'
    argv = [str(config), '--work-dir', 'run', '--options', 'runner.max_epochs=20', 'expect.margin=0.4']
    assert tool('train').main(argv) == 0  # 1 if it misses what the config expects


@pytest.mark.slow
def test_accumulation_halves_what_is_estimated_and_more():
    """Batch 1 x 4 instead of 4: a quarter of the activations, the same weights."""
    config = str(REPO / 'configs' / 'baseline' / 'video_transformer_driver.py')
    small = ('model.encoder.depth=2', *(f'data.{split}.img_size=112' for split in ('train', 'val', 'test')))
    accumulated = ('data.samples_per_gpu=1', 'runner.accumulative_counts=4')
    four, one = estimate_settings([Setting('4', config, small), Setting('1 x 4', config, (*small, *accumulated))])
    assert four['relative'] == 1
    assert 0.1 < one['relative'] < 0.5
    assert one['host_gib'] < four['host_gib']

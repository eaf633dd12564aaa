"""From the demo's videos to a trained model, with the tools that users call."""

import json
from pathlib import Path

import cv2

from mmopt.apis.bench.tables import load_table
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
    table = load_table(REPO / 'benchmarks' / 'tables' / 'video_layout.py', root=REPO)
    assert len({cell.config for cell in table.cells}) == 3
    assert all((REPO / cell.config).is_file() for cell in table.cells)


def test_the_table_of_the_memory_guide_names_configs_and_options_that_exist():
    table = load_table(REPO / 'benchmarks' / 'tables' / 'video.py', demo=True, root=REPO)
    by_name = {cell.name: cell for cell in table.cells}
    assert table.cells[0].claimed['memory_gib'] == (14.0, 14.0)
    assert 'data.val.img_size=112' in by_name['112 pixels'].options
    assert by_name['preset extreme'].config.endswith('video_transformer_driver_extreme.py')
    assert all('data.data_root=data/demo/driver' in cell.options for cell in table.cells)

import sys
from pathlib import Path

import pytest

from mmopt.apis.config import load_config, missing_file, read_config
from mmopt.utils.shipped import find_config, launch_command, near_configs, shipped_folder, tool_command
from tests.conftest import REPO

SHIPPED = REPO / 'configs' / 'baseline' / 'bisenetv2_cityscapes.py'
NAMES = ['baseline/bisenetv2_cityscapes', 'baseline/bisenetv2_cityscapes.py', 'configs/baseline/bisenetv2_cityscapes']


@pytest.mark.parametrize('name', NAMES)
def test_a_config_that_ships_is_found_by_its_name_from_any_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == SHIPPED
    cfg = load_config(name)
    assert cfg.filename == str(SHIPPED)
    assert cfg.work_dir == 'work_dirs/bisenetv2_cityscapes'


def test_a_file_goes_before_a_config_that_ships(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('baseline').mkdir()
    Path(NAMES[1]).write_text('number = 1\n')
    assert find_config(NAMES[1]) == Path(NAMES[1])


def test_in_the_repository_a_config_is_named_as_people_do(monkeypatch):
    monkeypatch.chdir(REPO)
    assert find_config(NAMES[0]) == Path('configs/baseline/bisenetv2_cityscapes.py')


@pytest.mark.parametrize('name', ['', '.', 'configs', 'baseline', '_base_', '/nowhere/x.py', '../configs/none.py'])
def test_what_is_no_config_stays_as_it_is(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == Path(name)


def test_a_slip_in_a_name_is_answered_with_one_that_ships(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert 'baseline/bisenetv2_cityscapes' in near_configs('baseline/bisenetv2_cityscape')
    text = str(missing_file('baseline/bisenetv2_cityscape', 'config', suffix='.py'))
    assert 'Did you mean baseline/bisenetv2_cityscapes' in text


def test_a_config_elsewhere_inherits_from_one_that_ships(tmp_path):
    config = tmp_path / 'mine.py'
    config.write_text("_base_ = 'mmopt::baseline/bisenetv2_cityscapes.py'\ndata = dict(samples_per_gpu=3)\n")
    mine, base = read_config(config).to_dict(), read_config(SHIPPED).to_dict()
    base['data']['samples_per_gpu'] = 3
    assert mine == base


def test_commands_are_called_as_this_process_was(monkeypatch):
    monkeypatch.chdir(REPO)
    assert tool_command('train', 'a b.py') == "python tools/train.py 'a b.py'"
    assert launch_command('c.py', 2, '--seed', '1') == 'bash tools/dist_train.sh c.py 2 --seed 1'
    monkeypatch.setattr(sys, 'argv', ['mmopt train', 'x'])
    assert tool_command('train', 'a b.py') == "mmopt train 'a b.py'"
    launched = 'torchrun --standalone --nproc-per-node 2 -m mmopt train c.py --launcher pytorch --seed 1'
    assert launch_command('c.py', 2, '--seed', '1') == launched


def test_a_wheel_carries_what_ships_in_its_own_folder(tmp_path):
    package = tmp_path / 'mmopt'
    assert shipped_folder('tables', package) == tmp_path / 'benchmarks' / 'tables'
    (package / '.mim' / 'tables').mkdir(parents=True)
    assert shipped_folder('tables', package) == package / '.mim' / 'tables'

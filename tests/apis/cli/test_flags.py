import argparse
import os
import re

import pytest

from mmopt.apis.cli.device import select_gpus, visible_devices
from mmopt.apis.cli.flags import add_config_flags, check_launch, config_arguments, gpu_ids, prepare_work_dir
from mmopt.utils.errors import UserError


def parse(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_config_flags(parser)
    return parser.parse_args(argv)


def test_options_and_cfg_options_are_one_list():
    args = parse('c.py', '--options', 'a=1', 'b=2', '--cfg-options', 'c=3')
    assert config_arguments(args)['options'] == ['a=1', 'b=2', 'c=3']


@pytest.mark.parametrize('argv', [('--gpu-ids', '0', '2'), ('--gpu-ids', '0,2')])
def test_gpu_ids_are_listed_either_way(argv):
    assert gpu_ids(parse('c.py', *argv)) == [0, 2]


def test_both_spellings_of_the_local_rank_reach_the_environment(monkeypatch):
    for flag in ('--local-rank=3', '--local_rank=3'):
        monkeypatch.setenv('LOCAL_RANK', '')
        monkeypatch.delenv('LOCAL_RANK')
        check_launch(parse('c.py', flag, '--launcher', 'pytorch'))
        assert os.environ['LOCAL_RANK'] == '3'


def test_several_gpus_in_one_process_give_the_command_to_use():
    with pytest.raises(UserError, match=r'`bash tools/dist_train.sh c.py 4`'):
        check_launch(parse('c.py', '--gpus', '4'))
    with pytest.raises(UserError, match=r'`CUDA_VISIBLE_DEVICES=1,3 bash tools/dist_train.sh c.py 2`'):
        check_launch(parse('c.py', '--gpu-ids', '1', '3'))


def test_no_gpus_are_refused():
    with pytest.raises(UserError, match='--gpus must be at least 1, got 0'):
        check_launch(parse('c.py', '--gpus', '0'))


def test_the_work_dir_is_made_for_a_config_that_exists(tmp_path):
    config = tmp_path / 'c.py'
    prepare_work_dir(parse(str(config), '--work-dir', str(tmp_path / 'a')))
    config.touch()
    prepare_work_dir(parse(str(config), '--work-dir', str(tmp_path / 'b' / 'c')))
    assert not (tmp_path / 'a').exists()
    assert (tmp_path / 'b' / 'c').is_dir()


def test_gpu_ids_count_within_what_is_visible():
    assert visible_devices(None, [1, 0], 2) == '1,0'
    assert visible_devices('4,7', [1], 2) == '7'
    with pytest.raises(UserError, match='--gpu-ids 2: there are 2 GPUs within CUDA_VISIBLE_DEVICES=4,7'):
        visible_devices('4,7', [2], 2)


def test_without_a_gpu_the_cpu_is_used_and_said_so(monkeypatch):
    monkeypatch.setattr('torch.cuda.device_count', lambda: 0)
    assert select_gpus([0]) == '--gpu-ids 0: no usable GPU here, running on the CPU.'


def test_a_chosen_gpu_is_the_only_visible_one(monkeypatch):
    monkeypatch.setattr('torch.cuda.device_count', lambda: 4)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '0,1,2,3')
    assert select_gpus([2]) is None
    assert os.environ['CUDA_VISIBLE_DEVICES'] == '2'


@pytest.mark.parametrize(
    ('flags', 'answer'),
    [
        ('c.py --batch-size 48', r'--batch-size: write --options data\.samples_per_gpu=48'),
        ('c.py --epochs=3', r'--epochs: write --options runner\.max_epochs=3'),
        ('c.py --learning_rate 2e-4 --fp16', r'optimizer\.lr=2e-4; --fp16: write --precision'),
        ('c.py --modality event', '--modality: write another config: .*yolov5m_fred_event'),
        ('c.py --no_eval_map', '--no_eval_map: write --no-validate'),
        ('--config c.py', 'name the config first, without --config'),
        ('c.py --never-heard-of 3', r'unrecognized arguments: --never-heard-of 3\n$'),
    ],
)
def test_a_flag_of_other_code_is_answered_with_ours(capsys, flags, answer):
    parser = argparse.ArgumentParser()
    add_config_flags(parser)
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(flags.split())
    assert stop.value.code == 2
    assert re.search(answer, capsys.readouterr().err)


def test_flags_of_ours_are_taken_as_before():
    parser = argparse.ArgumentParser()
    add_config_flags(parser)
    assert parser.parse_args(['c.py', '--prec', 'bf16', '--options', 'a=--b']).precision == 'bf16'

"""tools/datasets/make_demo.py, as a user calls it."""

import shlex
from pathlib import Path

import pytest

from mmopt.utils.errors import UserError
from mmopt.utils.shipped import find_config
from tests.conftest import REPO
from tests.tools.conftest import TOOLS

SMALL = ['--num-train', '1', '--num-val', '1', '--image-size', '90', '160', '--workers', '0']


def test_it_writes_to_data_demo_and_names_the_next_command(tool, capsys):
    tool('datasets/make_demo').main(['nuscenes', *SMALL])
    out = capsys.readouterr().out.splitlines()
    assert Path('data/demo/nuscenes/calib.json').is_file()
    assert out[0].startswith('made 1 train + 1 val samples in data/demo/nuscenes in ')
    python, script, config = shlex.split(out[-1].removeprefix('next: '))
    assert python == 'python'
    assert Path(script).resolve() == TOOLS / 'train.py'
    assert find_config(config) == REPO / 'configs/demo/lss_swin_nuscenes.py'
    tool('datasets/make_demo').main(['nuscenes', *SMALL])
    assert 'is complete' in capsys.readouterr().out


def test_elsewhere_the_next_command_names_the_folder(tool, capsys):
    tool('datasets/make_demo').main(['nuscenes', '--out', 'there', *SMALL])
    assert capsys.readouterr().out.endswith('--options data.data_root=there\n')
    assert Path('there/preview.jpg').is_file()


def test_an_unknown_name_is_refused(tool):
    with pytest.raises(UserError, match="unknown demo 'waymo'; known: "):
        tool('datasets/make_demo').main(['waymo'])


def test_an_option_that_a_demo_does_not_have_is_refused(tool):
    with pytest.raises(UserError, match=r'this demo .mice that attack, .* has no image_size: leave --image-size out'):
        tool('datasets/make_demo').main(['mabe', *SMALL])

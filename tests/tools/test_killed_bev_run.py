"""A real training that is really killed: the weights at its end are those of a run that nobody touched."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mmopt.datasets.bev.demo import make_demo
from tests.conftest import REPO

OPTIONS = [
    'runner.max_iters=40',
    'checkpoint_config.interval=20',
    'evaluation.at_end=False',
    'model.head.channels=(8,8)',
]


@pytest.fixture(scope='module')
def data_root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('killed') / 'data'
    return make_demo(folder, num_train=12, num_val=1, image_size=(225, 400), say=lambda line: None).out


def start(work_dir: Path, data_root: Path, num_workers: int, *flags: str) -> subprocess.Popen:
    options = [*OPTIONS, f'data.data_root={data_root}', f'data.workers_per_gpu={num_workers}']
    command = [sys.executable, 'tools/train.py', 'configs/demo/lss_swin_nuscenes.py', '--work-dir', str(work_dir)]
    return subprocess.Popen(
        [*command, '--no-validate', *flags, '--options', *options],
        cwd=REPO,
        env={**os.environ, 'PYTHONPATH': str(REPO)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen) -> None:
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 0, text[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize('num_workers', [0, 2])
def test_a_run_killed_after_its_checkpoint_ends_with_the_same_weights_bit_for_bit(data_root, tmp_path, num_workers):
    finish(start(tmp_path / 'whole', data_root, num_workers))

    killed = start(tmp_path / 'killed', data_root, num_workers)
    pointer = tmp_path / 'killed' / 'last_checkpoint'
    while not pointer.exists():
        assert killed.poll() is None, killed.communicate()[0][-2000:]
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / 'killed' / 'iter_40.pth').exists()
    finish(start(tmp_path / 'killed', data_root, num_workers, '--auto-resume'))

    one, other = (torch.load(tmp_path / name / 'iter_40.pth', weights_only=True) for name in ('whole', 'killed'))
    assert one['state_dict'].keys() == other['state_dict'].keys()
    assert [
        name for name, value in one['state_dict'].items() if not torch.equal(value, other['state_dict'][name])
    ] == []
    for state, resumed in zip(one['optimizer']['state'].values(), other['optimizer']['state'].values(), strict=True):
        assert all(torch.equal(state[name], resumed[name]) for name in state)

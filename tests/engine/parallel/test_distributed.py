import os
import socket
import subprocess
import sys

import pytest
import torch
from torch import distributed as dist

from mmopt.utils.distributed import init_distributed
from tests.conftest import REPO
from tests.engine.children import ranks_of
from tests.engine.ddp_worker import phased_config
from tests.engine.test_runner import build
from tests.engine.toy import toy_config


def test_two_processes_of_which_one_dies_and_is_restarted_equal_one_with_the_same_global_batch(tmp_path):
    """Weighted losses on unequal ranks: averaging the ranks' own means would be off by percents.

    torchrun starts both again after the kill, and they go on from the last checkpoint.
    """
    out = tmp_path / 'weights.pth'
    command = [
        sys.executable,
        '-m',
        'torch.distributed.run',
        '--nproc-per-node',
        '2',
        '--master-port',  # as on several machines; unlike --standalone it keeps its store over a restart
        ranks_of(2)[0]['MASTER_PORT'],
        '--max-restarts',
        '1',
    ]
    command += ['-m', 'tests.engine.ddp_worker', str(tmp_path / 'two'), str(out)]
    environment = os.environ | dict(PYTHONPATH=str(REPO), OMP_NUM_THREADS='1')
    finished = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0, finished.stderr[-3000:]
    one = build(toy_config(tmp_path / 'one', model=dict(dropout=0.0), optim_wrapper=dict(accumulative_counts=2)))
    one.train()
    two = torch.load(out, weights_only=True)
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(two['weights'][name], value, rtol=1e-6, atol=1e-6)
    assert two['count'] == 6  # every evaluation sample once, although 6 samples over 2 ranks make uneven batches
    assert not list((tmp_path / 'two').glob('*rank*'))
    assert (tmp_path / 'two' / 'died').exists()
    assert f'Resumed {tmp_path}/two/iter_4.pth after 4 iterations' in (tmp_path / 'two' / 'latest.log').read_text()
    # A layer that thaws after the first epoch: the ranks must begin to exchange its gradients.
    phased = build(phased_config(tmp_path / 'phased', 4))
    phased.train()
    for name, value in phased.model.state_dict().items():
        torch.testing.assert_close(two['phased'][name], value, rtol=1e-6, atol=1e-6)


def test_a_missing_launcher_environment_names_the_command(monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    with pytest.raises(ValueError, match='torchrun --nproc-per-node N'):
        init_distributed('pytorch')


def test_the_port_of_the_config_goes_before_slurms(monkeypatch):
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        free_port = probe.getsockname()[1]
    names = dict(RANK='', WORLD_SIZE='', LOCAL_RANK='', MASTER_ADDR='127.0.0.1', MASTER_PORT='1')
    slurm = dict(SLURM_PROCID='0', SLURM_NTASKS='1', SLURM_LOCALID='0')
    for name, value in {**names, **slurm}.items():
        monkeypatch.setenv(name, value)
    init_distributed('slurm', 'gloo', timeout_s=30, port=free_port)
    try:
        assert os.environ['MASTER_PORT'] == str(free_port)
        assert dist.get_world_size() == 1
    finally:
        dist.destroy_process_group()

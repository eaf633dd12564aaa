"""tools/slurm_train.sh and the restarts of tools/dist_train.sh, with ``echo`` in the place of srun and Python."""

import subprocess

import pytest

from tests.tools.conftest import TOOLS


def run(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ['bash', str(TOOLS / script), *arguments],
        capture_output=True,
        text=True,
        env=dict(PATH='/usr/bin:/bin', PYTHON='echo') | environment,
    )


@pytest.fixture
def fake_srun(tmp_path) -> str:
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\necho srun "$@"\n')
    srun.chmod(0o755)
    return f'{tmp_path}:/usr/bin:/bin'


def test_slurm_starts_one_task_per_gpu_and_asks_to_be_warned(fake_srun):
    done = run('slurm_train.sh', 'gpu', 'bev', 'c.py', '--auto-resume', GPUS='16', REQUEUE='1', PATH=fake_srun)
    assert done.returncode == 0, done.stderr
    flags, command = done.stdout.strip().split(' echo -u ')
    assert flags.split() == [
        *('srun', '--partition=gpu', '--job-name=bev', '--ntasks=16', '--ntasks-per-node=8', '--gres=gpu:8'),
        *('--cpus-per-task=8', '--kill-on-bad-exit=1', '--signal=USR1@120', '--requeue'),
    ]
    assert command.endswith('train.py c.py --launcher slurm --auto-resume')


@pytest.mark.parametrize(
    ('arguments', 'environment', 'message'),
    [
        (['gpu', 'bev'], {}, 'usage:'),
        (['gpu', 'bev', 'c.py'], dict(GPUS='two'), "must be whole numbers, got 'two'"),
        (['gpu', 'bev', 'c.py'], dict(REQUEUE='1'), 'give --auto-resume'),
    ],
)
def test_slurm_refuses_what_it_cannot_start(arguments, environment, message):
    done = run('slurm_train.sh', *arguments, **environment)
    assert done.returncode == 2
    assert message in done.stderr


def test_restarts_need_auto_resume():
    done = run('dist_train.sh', 'c.py', '2', MAX_RESTARTS='3')
    assert done.returncode == 2
    assert 'MAX_RESTARTS needs --auto-resume' in done.stderr
    done = run('dist_train.sh', 'c.py', '2', '--auto-resume', MAX_RESTARTS='3')
    assert '--nproc-per-node 2 --max-restarts 3' in done.stdout

"""Systems without fork, resource, fcntl, SIGUSR1 and /proc, and the start method they have: whole runs."""

import json
import os
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config

from mmopt.registry import RUNNERS
from mmopt.utils import platform
from tests.conftest import REPO
from tests.engine.children import Child
from tests.engine.test_runner import assert_same, build
from tests.engine.toy import toy_config


def test_all_of_it_imports_helps_and_trains_where_little_is_there(tmp_path):
    script = REPO / 'tests' / 'bare_system' / 'everything.py'
    path = os.pathsep.join([str(script.parent), str(REPO)])
    env = {**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1].removeprefix('ok '))
    assert told['modules'] > 300
    assert told['tools'] > 15
    logs = [next((tmp_path / name).glob('*.log')).read_text() for name in ('plain', 'workers')]
    for log in logs:
        assert log.count("mp_start_method='fork': this system cannot fork; workers are started by spawn.") == 1


def test_a_whole_run_with_spawned_workers_is_that_without_workers(tmp_path):
    checkpoints = []
    for name, num_workers in (('plain', 0), ('spawned', 1)):
        loader = dict(num_workers=num_workers, persistent_workers=True)
        cfg = toy_config(
            tmp_path / name,
            train_dataloader=loader,
            val_dataloader=loader,
            env_cfg=dict(mp_cfg=dict(mp_start_method='spawn')),
        )
        child = Child(tmp_path / f'{name}.txt', cfg)
        assert child.finish() == 0, child.text
        checkpoints.append(torch.load(tmp_path / name / 'iter_8.pth', weights_only=True))
        log = next((tmp_path / name).glob('*.log')).read_text()
        assert log.count('count: 6') == 2  # evaluated, at the end too
    assert_same(checkpoints[0]['state_dict'], checkpoints[1]['state_dict'])


def test_a_config_that_asks_for_fork_where_there_is_none_is_told_so(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr('mmengine.runner.runner.set_multi_processing', lambda **options: asked.append(options))
    monkeypatch.delattr(platform.os, 'fork')
    build(toy_config(tmp_path, env_cfg=dict(mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))))
    assert asked == [dict(mp_start_method='spawn', opencv_num_threads=0, distributed=False)]
    assert 'this system cannot fork' in next(tmp_path.glob('*.log')).read_text()


def test_a_run_computes_with_the_threads_that_it_may_use(tmp_path, monkeypatch):
    threads = [64]
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    monkeypatch.delenv('MKL_NUM_THREADS', raising=False)
    monkeypatch.setattr(torch, 'get_num_threads', lambda: threads[-1])
    monkeypatch.setattr(torch, 'set_num_threads', threads.append)
    monkeypatch.setattr('mmopt.utils.host.cpu_quota', lambda: 3.0)
    monkeypatch.setattr('mmopt.utils.host.allowed_cores', lambda: 64)
    build(toy_config(tmp_path))
    assert threads == [64, 3]
    assert 'threads: 3 instead of 64: there are 3 cores for this process.' in next(tmp_path.glob('*.log')).read_text()


@pytest.mark.parametrize(('given', 'expected'), [(None, ':4096:8'), (':16:8', ':16:8')])
def test_deterministic_runs_set_cublas_workspaces_before_cuda_is_looked_at(tmp_path, monkeypatch, given, expected):
    name, seen = 'CUBLAS_WORKSPACE_CONFIG', []
    monkeypatch.delenv(name, raising=False)
    if given is not None:
        monkeypatch.setenv(name, given)
    runner_class = RUNNERS.get('IterBasedRunner')
    is_available = torch.cuda.is_available
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: seen.append(os.environ.get(name)) or is_available())
    monkeypatch.setattr(torch, 'use_deterministic_algorithms', lambda mode: None)
    monkeypatch.setattr(torch.backends.cudnn, 'deterministic', False)  # put back at the end
    runner_class.from_cfg(Config(toy_config(tmp_path, randomness=dict(seed=5, deterministic=True))))
    assert seen
    assert set(seen) == {expected}
    monkeypatch.delenv(name, raising=False)


def test_other_runs_leave_cublas_alone(tmp_path, monkeypatch):
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG', raising=False)
    build(toy_config(tmp_path))
    assert 'CUBLAS_WORKSPACE_CONFIG' not in os.environ

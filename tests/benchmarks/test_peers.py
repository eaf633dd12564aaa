"""The comparison with other trainers: the same training in all, a killed run, and what the report says."""

import json
import os
import sys

import pytest

from mmopt.utils.platform import KILL_SIGNAL
from tests.conftest import forget_mmengine_globals, load_script

SETTINGS = dict(
    task='toy', iters=30, save_every=None, resume=False, vary=False, num_workers=0, kill_after=0
)  # fmt: skip


@pytest.fixture(scope='module')
def peers():
    sys.path.insert(0, 'benchmarks')
    yield load_script('benchmarks/peers.py')
    sys.path.remove('benchmarks')


def measure(peers, capsys, trainer, folder, **settings):
    forget_mmengine_globals()  # every run is a process of its own, but for here
    folder.mkdir(exist_ok=True)
    peers.run_child(trainer, SETTINGS | dict(work_dir=str(folder)) | settings)
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_all_trainers_run_the_same_training(peers, tmp_path, capsys):
    plain, mmengine, mmopt = (measure(peers, capsys, name, tmp_path / name) for name in ('plain', 'mmengine', 'mmopt'))
    assert len(plain['losses']) == 20
    assert plain['losses'][-1] != plain['losses'][0]
    assert mmengine['losses'] == pytest.approx(plain['losses'], rel=1e-5)
    assert mmopt['losses'] == pytest.approx(plain['losses'], rel=1e-5)


@pytest.mark.parametrize('trainer', ['plain', 'mmopt'])
def test_a_killed_run_ends_with_the_weights_of_a_whole_one(peers, trainer, tmp_path, capsys, monkeypatch):
    settings = dict(save_every=10, vary=True)
    whole = measure(peers, capsys, trainer, tmp_path / 'whole', **settings)

    class Killed(BaseException):
        pass

    def kill(pid, number):
        assert (pid, number) == (os.getpid(), KILL_SIGNAL)
        raise Killed

    monkeypatch.setattr(peers.os, 'kill', kill)
    with pytest.raises(Killed):
        measure(peers, capsys, trainer, tmp_path / 'killed', **settings, kill_after=17)
    resumed = measure(peers, capsys, trainer, tmp_path / 'killed', **settings, resume=True)
    assert resumed['weights'] == whole['weights']
    assert len(resumed['gaps']) < len(whole['gaps'])


def results(**steps):
    rows = {
        name: dict(step_s=step, losses=[2.0, 1.0 + (1e-3 if name == 'lightning' else 0.0)], peak_gib=0.5)
        for name, step in steps.items()
    }
    machine = dict(cpu='a CPU', threads=2, torch='2.13.0')
    return dict(machine=machine, versions=dict(mmengine='0.10.7'), networks=dict(toy=[rows], bev=[rows]), killed={})


def test_the_report_tells_which_musts_fail(peers):
    good = results(plain=1.0, mmengine=1.5, mmopt=1.01)
    text, musts = peers.report(good)
    assert all(holds for _, holds in musts)
    assert '| mmopt | 1010.000 (1010.000 - 1010.000) | 1.010 | 0.50 |' in text
    slow = dict(peers.report(results(plain=1.0, mmengine=1.02, mmopt=1.03))[1])
    assert slow == {
        'toy: the losses of all agree to 1e-4': True,
        'toy: mmopt is faster than every trainer': False,
        'bev: the losses of all agree to 1e-4': True,
        'bev: mmopt takes at most 1.02 of the plain loop': False,
    }
    unlike = dict(peers.report(results(plain=1.0, lightning=1.1))[1])
    assert not any(unlike.values())


def test_a_trainer_that_is_not_installed_is_named(peers, monkeypatch):
    monkeypatch.setitem(peers.PACKAGES, 'lightning', 'no_such_package')
    with pytest.raises(SystemExit, match='lightning cannot be imported'):
        peers.versions(['plain', 'lightning'])

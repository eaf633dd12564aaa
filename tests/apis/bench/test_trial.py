"""One trial: what it measures, and what it makes of a failing run."""

import json

import pytest
from mmengine.config import Config

from mmopt.apis.bench.launch import result_path, run_fresh
from mmopt.apis.bench.settings import Setting, TrialPlan
from mmopt.apis.bench.trial import main, run_trial
from tests.conftest import forget_mmengine_globals
from tests.engine.toy import toy_config

QUICK = TrialPlan(warmup=1, iters=3, val_batches=2)


@pytest.fixture(autouse=True)
def _small_products(monkeypatch):
    monkeypatch.setattr('mmopt.utils.machine._SIZE', dict(cpu=64))


@pytest.fixture
def config(tmp_path):
    def write(**changes) -> str:
        cfg = toy_config(tmp_path / 'unused', **changes) | dict(custom_imports=dict(imports=['tests.engine.toy']))
        del cfg['work_dir']
        path = tmp_path / 'toy.py'
        Config(cfg).dump(path)
        return str(path)

    return write


def test_a_trial_measures_time_memory_operations_and_the_cost_of_the_schedule(config, tmp_path):
    result = run_trial(Setting('toy', config()), QUICK, tmp_path / 'work')
    assert len(result['iter_s']) == 3
    assert len(result['losses']) == 4
    # Per sample 2 x 16 + 16 x 1 products forward; backward twice that, less the gradient of the input.
    assert result['flops'] == 4 * 2 * (3 * 16 + 2 * 32)
    assert 0 < result['mfu'] < 1
    assert result['val_batch_s'] > 0
    assert result['checkpoint_mib'] > 0
    assert result['settings']['val_interval'] == 4  # of the whole run, not of the shortened one
    assert result['emulates'] is None
    assert result['schedule'] == dict(iters=8, evaluations=2, val_batches=2, saves=4, num_train=24, num_val=6)


def test_an_iteration_of_an_accumulating_run_pays_its_share_of_the_step(config, tmp_path):
    setting = Setting('toy', config(), ('optim_wrapper.accumulative_counts=2',))
    result = run_trial(setting, TrialPlan(warmup=1, iters=3, val_batches=0, flops=False), tmp_path / 'work')
    assert len(result['losses']) == 2 + 4  # whole windows
    assert len(result['iter_s']) == 2
    assert result['samples_per_step'] == 8


def test_an_epoch_shorter_than_the_measurement_does_not_end_it(config, tmp_path):
    setting = Setting('toy', config(by_epoch=True))
    result = run_trial(setting, TrialPlan(warmup=2, iters=20, val_batches=0, flops=False), tmp_path / 'work')
    assert len(result['iter_s']) == 20


def test_losses_of_two_trials_are_the_same(config, tmp_path):
    setting, plan = Setting('toy', config()), TrialPlan(1, 3, 0, flops=False)
    first = run_trial(setting, plan, tmp_path / 'a')['losses']
    forget_mmengine_globals()
    assert run_trial(setting, plan, tmp_path / 'b')['losses'] == first


def test_the_metric_comes_from_a_whole_training(config, tmp_path):
    result = run_trial(Setting('toy', config()), TrialPlan(metric=True), tmp_path / 'work')
    assert result['main_metric'] == 'error'
    assert result['metrics']['error'] > 0


@pytest.mark.parametrize(
    ('error', 'kind'), [(RuntimeError('CUDA out of memory. Tried 2 GiB'), 'out of memory'), (KeyError('x'), 'error')]
)
def test_an_error_of_the_run_is_a_result(config, tmp_path, monkeypatch, error, kind):
    def fail(*_):
        raise error

    monkeypatch.setattr('mmopt.apis.bench.trial.run_trial', fail)
    spec = dict(
        setting=dict(name='x', config='x.py', options=[], precision=None),
        plan=dict(),
        work_dir=str(tmp_path),
        out=str(tmp_path / '0.json'),
    )
    (tmp_path / '0.spec').write_text(json.dumps(spec))
    assert main([str(tmp_path / '0.spec')]) == 1
    result = json.loads((tmp_path / '0.json').read_text())
    assert result['failed'] == kind
    assert result['message']


def test_a_trial_in_a_fresh_process_is_not_run_twice(config, tmp_path):
    setting = Setting('toy, as it is', config())
    plan = TrialPlan(warmup=1, iters=2, val_batches=0, flops=False)
    first = run_fresh(setting, plan, tmp_path / 'trials')
    assert 'failed' not in first, result_path(setting, plan, tmp_path / 'trials').with_suffix('.log').read_text()
    assert not first['reused']
    again = run_fresh(setting, plan, tmp_path / 'trials')
    assert again['reused']
    assert again['iter_s'] == first['iter_s']
    assert not list((tmp_path / 'trials').glob('*/*.work'))


def test_another_option_is_another_trial(config, tmp_path):
    path = config()
    one, other = (Setting('x', path, (f'train_cfg.max_iters={iters}',)) for iters in (8, 9))
    assert QUICK.fingerprint(one) != QUICK.fingerprint(other)
    assert QUICK.fingerprint(one) == QUICK.fingerprint(Setting('another name', path, ('train_cfg.max_iters=8',)))


def test_a_killed_process_and_a_broken_result_are_told_and_run_again(config, tmp_path, monkeypatch):
    setting, folder = Setting('toy', config()), tmp_path / 'trials'
    out = result_path(setting, QUICK, folder)
    monkeypatch.setattr('mmopt.apis.bench.launch._run', lambda *_: -9)
    assert run_fresh(setting, QUICK, folder)['failed'] == 'killed'
    monkeypatch.setattr('mmopt.apis.bench.launch._run', lambda *_: None)
    assert run_fresh(setting, QUICK, folder)['failed'] == 'timeout'

    def finish(*_):
        out.write_text('{"iter_s": [1]}')
        return 0

    out.write_text('{"iter_s": [')
    monkeypatch.setattr('mmopt.apis.bench.launch._run', finish)
    assert run_fresh(setting, QUICK, folder) == dict(iter_s=[1], reused=False)

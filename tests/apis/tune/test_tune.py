"""The tuner from a config to a tuned one, on trials made up from the settings."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mmopt.apis.bench.settings import TrialPlan
from mmopt.apis.config import load_config
from mmopt.apis.tune import TuneSettings, tune
from mmopt.apis.tune.memory import make_fits
from mmopt.engine.bench import PARTS
from mmopt.engine.tuner import Knob, Space
from mmopt.utils.errors import UserError
from tests.engine.toy import toy_config

MACHINE = dict(cpu='a CPU', torch='2.13', gpu='NVIDIA A100', capability=[8, 0], gpu_gib=80.0)


@pytest.fixture
def config(tmp_path, monkeypatch):
    cfg = toy_config(tmp_path / 'unused', max_iters=80)
    del cfg['work_dir']
    path = tmp_path / 'toy.py'
    Config(cfg).dump(path)
    monkeypatch.setattr('mmopt.apis.tune.command.make_fits', lambda *_: lambda point: True)
    return path


class Trials:
    """A machine: bf16 is twice as fast, fusing does nothing, fp16 does not learn, batch 8 does not fit in fp32."""

    def __init__(self) -> None:
        self.lowered: list[dict] = []

    def __call__(self, setting, plan, folder, repeat=0, *, again=False) -> dict:
        cfg = setting.load().to_dict()
        self.lowered.append(cfg)
        dtype, batch = cfg['optim_wrapper'].get('dtype'), cfg['train_dataloader']['batch_size']
        if batch >= 8 and dtype is None:
            return dict(failed='out of memory', message='tried 2 GiB', machine=MACHINE)
        accumulation = cfg['optim_wrapper'].get('accumulative_counts', 1)
        seconds = (0.01 + 0.1 * batch) * (0.5 if dtype else 1.0)
        losses = [1.5 if dtype == 'float16' else 1.0] * 4 * accumulation
        return dict(
            iter_s=[seconds] * 3,
            parts_s=dict.fromkeys(PARTS, 0.0),
            batch_size=batch,
            accumulation=accumulation,
            losses=losses,
            peak_gib=dict(host=1.0, reserved=batch / 2),
            machine=MACHINE,
            schedule=dict(num_train=24),
        )


def tuned(config: Path, out: Path, trials: Trials, **settings):
    asked = TuneSettings(**dict(knobs=('batch', 'precision', 'fused_optimizer')) | settings)
    return tune(str(config), out, settings=asked, trial=TrialPlan(), folder=out.parent, run=trials)


def test_the_tuned_config_is_the_fastest_that_fits_and_learns(config, tmp_path):
    out = tmp_path / 'tuned' / 'toy.py'
    found = tuned(config, out, Trials(), effective_batch=8)
    assert found.best == dict(batch=8, precision='bf16', fused_optimizer=False)
    cfg = load_config(out)
    assert cfg.optim_wrapper.dtype == 'bfloat16'
    assert cfg.train_dataloader.batch_size == 8
    assert cfg.train_cfg.max_iters == 40
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.02)  # 0.01 was written for 4 samples per step
    text = out.read_text()
    assert 'linear with the samples per step: 4 -> 8' in text
    assert 'its loss is 50.0% off' in text
    assert 'fused_optimizer=' not in text  # fusing did nothing: no line


def test_the_learning_rate_stays_where_the_effective_batch_does(config, tmp_path):
    out = tmp_path / 'tuned.py'
    trials = Trials()
    tuned(config, out, trials)
    assert {cfg['optim_wrapper']['optimizer']['lr'] for cfg in trials.lowered} == {0.01}
    assert {
        cfg['train_dataloader']['batch_size'] * cfg['optim_wrapper'].get('accumulative_counts', 1)
        for cfg in trials.lowered
    } == {4}


def test_a_budget_is_kept(config, tmp_path):
    found = tuned(config, tmp_path / 'x.py', Trials(), effective_batch=8, budget_bytes=3 * 1024**3)
    assert found.best['batch'] == 4


def test_without_a_gpu_the_budget_is_of_the_host(config, tmp_path):
    class OnCpu(Trials):
        def __call__(self, setting, plan, folder, repeat=0, *, again=False):
            trial = super().__call__(setting, plan, folder, repeat)
            return trial | dict(peak_gib=dict(host=trial['batch_size'] / 2)) if 'failed' not in trial else trial

    out = tmp_path / 'x.py'
    found = tuned(config, out, OnCpu(), effective_batch=8, budget_bytes=3 * 1024**3)
    assert found.best['batch'] == 4
    assert '4.0 GiB (host) are over the budget' in out.read_text()


def test_a_gain_that_the_confirmation_does_not_see_is_none(config, tmp_path):
    class Fickle(Trials):
        def __call__(self, setting, plan, folder, repeat=0, *, again=False):
            trial = super().__call__(setting, plan, folder, repeat)
            return trial | dict(iter_s=[1.0]) if folder.name == 'confirm' else trial

    out = tmp_path / 'x.py'
    found = tuned(config, out, Fickle(), confirm=2)
    assert found.best == found.space.base
    assert 'stays as it is' in out.read_text()
    text = out.read_text()
    assert 'the fastest in the search' in text
    assert 'times as fast in the confirmation' in text


def test_a_config_that_does_not_run_is_told(config, tmp_path):
    def broken(*_, **__):
        return dict(failed='error', message='data/x does not exist.')

    with pytest.raises(UserError, match='does not run as it is: data/x does not exist'):
        tuned(config, tmp_path / 'x.py', broken)


def test_an_unknown_knob_is_told(config, tmp_path):
    with pytest.raises(UserError, match='did you mean precision'):
        tuned(config, tmp_path / 'x.py', Trials(), knobs=('precison',))


def test_the_estimate_rules_out_what_cannot_fit(monkeypatch):
    class Report:
        cases = [
            dict(batch_size=batch, precision=precision, checkpointing=None)
            for batch in (2, 4)
            for precision in ('fp32', 'bf16')
        ]

        @staticmethod
        def card_bytes(case):
            least = case['batch_size'] * (2 if case['precision'] == 'fp32' else 1)
            return least, 2 * least, 3 * least

    monkeypatch.setattr('mmopt.apis.tune.memory.estimate_memory', lambda *_, **__: Report)
    space = Space((Knob('batch', 2, (2, 4)), Knob('precision', 'fp32', ('fp32', 'bf16'))))
    fits = make_fits('x.py', (), space, 4, print)
    assert [fits(point) for point in space] == [True, True, False, True]

    def refuse(*_, **__):
        raise UserError('a loss that reads values')

    said = []
    monkeypatch.setattr('mmopt.apis.tune.memory.estimate_memory', refuse)
    assert all(make_fits('x.py', (), space, 4, said.append)(point) for point in space)
    assert 'a loss that reads values' in said[0]

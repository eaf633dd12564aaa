"""The clock around a step: parts add up, and a slow part shows where it is."""

import time

import pytest
import torch
from mmengine.config import Config

from mmopt.engine.bench import PARTS, EnoughMeasured, MeasureHook, StepClock
from mmopt.engine.loops.step import TrainStep
from mmopt.engine.optim import OptimWrapper
from mmopt.registry import RUNNERS
from tests.engine.toy import ToyDataset, ToyModel, toy_config


def measured(tmp_path, warmup: int = 1, iters: int = 3, **changes):
    runner = RUNNERS.get('IterBasedRunner').from_cfg(Config(toy_config(tmp_path, max_iters=20, **changes)))
    hook = MeasureHook(warmup, iters)
    runner.register_hook(hook)
    with pytest.raises(EnoughMeasured):
        runner.train()
    return hook, runner


def test_a_run_stops_after_the_measured_iterations(tmp_path):
    hook, runner = measured(tmp_path)
    assert runner.train_loop.iters_done == 4
    assert len(hook.losses) == 4
    assert len(hook.clock.iterations_s()) == 3
    assert hook.peak_gib['host'] > 0.05


def test_the_parts_of_an_iteration_add_up_to_it(tmp_path):
    hook, _ = measured(tmp_path)
    parts = hook.clock.parts_s()
    assert list(parts) == list(PARTS)
    for place, whole in enumerate(hook.clock.iterations_s()):
        assert abs(sum(parts[part][place] for part in PARTS) - whole) < 1e-6 + 0.01 * whole


def test_a_slow_part_shows_where_it_is(tmp_path, monkeypatch):
    forward, step, load = ToyModel.forward, torch.optim.AdamW.step, ToyDataset.prepare_data

    def slowed(function, seconds):
        def slow(*args, **kwargs):
            time.sleep(seconds)
            return function(*args, **kwargs)

        return slow

    monkeypatch.setattr(ToyModel, 'forward', slowed(forward, 0.02))
    monkeypatch.setattr(torch.optim.AdamW, 'step', slowed(step, 0.03))
    monkeypatch.setattr(ToyDataset, 'prepare_data', slowed(load, 0.01))
    hook, _ = measured(tmp_path)
    parts = hook.clock.parts_s()
    assert min(parts['forward']) > 0.02
    assert min(parts['optimizer']) > 0.03
    assert min(parts['data']) > 0.04  # four samples
    assert max(parts['copy']) < 0.02


def test_a_measured_step_computes_what_it_would_without(tmp_path):
    model = ToyModel(dropout=0.0)
    step = TrainStep(model, OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)))
    step.optim_wrapper.initialize_count_status(model, 0, 10)
    batch = [ToyDataset(noise=0.0)[index] for index in range(4)]
    batch = dict(
        inputs=torch.stack([item['inputs'] for item in batch]), data_samples=[item['data_samples'] for item in batch]
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plain = step(batch)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(before)
    clock = StepClock(torch.device('cpu'))
    clock.attach(step)
    clock.start()
    assert torch.equal(step(batch)['loss'], plain['loss'])
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_a_measurement_ends_when_nobody_waits_for_it(tmp_path):
    runner = RUNNERS.get('IterBasedRunner').from_cfg(Config(toy_config(tmp_path)))
    runner.register_hook(MeasureHook(1, 3, parent_pid=-1))
    with pytest.raises(SystemExit, match='nobody waits'):
        runner.train()

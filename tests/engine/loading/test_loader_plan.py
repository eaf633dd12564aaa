import random
import time

import numpy as np
import pytest
import torch

from mmopt.config import lower
from mmopt.engine.loading.build import build_dataloader
from mmopt.engine.loading.workers import Host, LoaderPlan, LoaderTuner, SampleCost, measure_samples, plan_loader
from mmopt.structures import DataSample
from mmopt.utils.memory import GIB
from tests.config.samples import make_config
from tests.engine.test_runner import assert_same, build, losses_of, state_of
from tests.engine.toy import ToyDataset, toy_config

SAMPLE = SampleCost(seconds=0.01, spread=1.0, num_bytes=1 << 20)
MANY = Host(num_cores=64, memory_bytes=256 * GIB, shared_bytes=64 * GIB)


def test_a_worker_per_core_is_started_but_the_loops_own():
    assert plan_loader(SAMPLE, 8, Host(16, 64 * GIB, None)).num_workers == 15
    assert plan_loader(SAMPLE, 8, Host(16, 64 * GIB, None, num_processes=4)).num_workers == 3
    assert plan_loader(SAMPLE, 8, Host(1, 64 * GIB, None)).num_workers == 0
    assert plan_loader(SAMPLE, 8, MANY).num_workers == 32


def test_memory_bounds_the_workers():
    # A quarter of 16 GiB, 300 MiB and two batches of 64 MiB each.
    plan = plan_loader(SAMPLE, 64, Host(64, 16 * GIB, None))
    assert plan.num_workers == 4096 // (300 + 2 * 64)
    assert 'bounded by memory' in plan.text


def test_a_small_shared_memory_bounds_the_workers():
    # Docker's 64 MiB: three batches of 8 MiB lie in four fifths of it, with two ahead each.
    plan = plan_loader(SAMPLE, 8, Host(64, 256 * GIB, 64 * 2**20))
    assert plan.num_workers == 3
    assert 'bounded by shared memory' in plan.text


def test_tiny_batches_are_loaded_in_the_loop():
    plan = plan_loader(SampleCost(1e-5, 1.0, 100), 8, MANY)
    assert plan.num_workers == 0
    assert 'less than handing a batch over' in plan.text


def test_samples_that_differ_much_are_fetched_further_ahead():
    assert plan_loader(SAMPLE, 4, MANY).prefetch_factor == 2
    assert plan_loader(SampleCost(0.01, 8.0, 1 << 20), 4, MANY).prefetch_factor == 5
    assert plan_loader(SampleCost(0.01, 8.0, 1 << 20), 64, MANY).prefetch_factor == 2
    assert plan_loader(SAMPLE, 4, MANY, prefetch_factor=7).prefetch_factor == 7


def test_a_given_number_of_workers_is_kept():
    plan = plan_loader(SAMPLE, 4, MANY, num_workers=3)
    assert plan.num_workers == 3
    tuner = LoaderTuner(plan)
    for _ in range(100):
        tuner.observe(1.0, 0.5)
    assert not tuner.is_due


def plan(num_workers: int = 15) -> LoaderPlan:
    return plan_loader(SAMPLE, 8, Host(num_workers + 1, 256 * GIB, None))


@pytest.mark.parametrize(
    ('step_s', 'waited_s', 'expected'),
    [
        (1.0, 0.0, 1),  # 80 ms of loading per second of computing
        (0.05, 0.001, 2),
        (0.02, 0.0, 5),  # 1.25 x 80 ms / 20 ms
        (0.02, 0.01, 15),  # they wait although five should do: all stay
        (0.001, 0.05, 15),  # no machine of this size keeps up
    ],
)
def test_measured_steps_say_how_many_workers_stay(step_s, waited_s, expected):
    tuner = LoaderTuner(plan(), skip=2, measured=5)
    for number in range(7):
        assert not tuner.is_due
        tuner.observe(9.0 if number < 2 else step_s + waited_s, waited_s)
    assert tuner.is_due
    assert tuner.decide(10**6).num_workers == expected
    assert not tuner.is_due


def test_a_difference_of_one_and_a_run_about_to_end_change_nothing():
    tuner = LoaderTuner(plan(6), skip=0, measured=1)
    tuner.observe(0.02, 0.0)
    assert '6 stay' in tuner.decide(10**6).text
    tuner = LoaderTuner(plan(), skip=0, measured=1)
    tuner.observe(1.0, 0.0)
    assert tuner.decide(199) is None


class Mixed(ToyDataset):
    def prepare_data(self, idx):
        np.random.rand(), random.random(), torch.rand(1)
        time.sleep(0.008 if int(idx) < 3 else 0.001)
        sample = DataSample()
        sample.mask = torch.zeros(100, dtype=torch.uint8)
        return dict(inputs=dict(a=torch.zeros(5)), data_samples=sample, names=['x'])


def test_measuring_loads_samples_and_leaves_random_generators_alone():
    states = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    cost = measure_samples(Mixed(length=8))
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states
    assert cost.num_bytes == 120
    assert 0.001 < cost.seconds < 0.1
    assert cost.spread > 1.2


def test_one_sample_is_enough_to_measure():
    assert measure_samples(ToyDataset(length=1)).spread == 1.0


def test_the_dialect_takes_auto():
    data = dict(workers_per_gpu='auto', prefetch_factor='auto', val_dataloader=dict(workers_per_gpu=1))
    lowered = lower(make_config(data=data))
    assert lowered['train_dataloader']['num_workers'] == lowered['train_dataloader']['prefetch_factor'] == 'auto'
    assert lowered['train_dataloader']['persistent_workers']
    assert lowered['val_dataloader']['num_workers'] == 1


def test_a_loader_says_what_it_measured(capsys):
    cfg = dict(dataset=Mixed(), batch_size=4, sampler=None, num_workers='auto', persistent_workers=True)
    loader = build_dataloader(cfg, seed=0)
    assert loader.num_workers == loader.plan.num_workers
    out = capsys.readouterr().out
    assert 'workers_per_gpu: a sample takes' in out
    assert loader.plan.prefetch_factor == 2  # what torch takes where nobody says 'auto'


@pytest.mark.parametrize('by_epoch', [False, True])
def test_a_change_of_workers_within_a_run_changes_no_loss_and_no_weight(tmp_path, monkeypatch, by_epoch):
    from mmopt.engine.loops import train_loop

    def run(name: str, num_workers) -> tuple:
        cfg = toy_config(tmp_path / name, by_epoch=by_epoch, train_dataloader=dict(num_workers=num_workers))
        runner = build(cfg)
        runner.train()
        return state_of(runner), losses_of(tmp_path / name), runner

    plain = run('plain', 0)
    monkeypatch.setattr('mmopt.engine.loading.build.plan_for', lambda *args: plan(2))
    monkeypatch.setattr(train_loop, 'LoaderTuner', lambda found: LoaderTuner(found, skip=0, measured=3, min_left=0))
    monkeypatch.setattr('mmopt.engine.loading.workers.LoaderTuner.decide', one_less(LoaderTuner.decide))
    tuned = run('tuned', 'auto')
    assert tuned[2].train_loop.dataloader.num_workers == 1
    assert_same(plain[0], tuned[0])
    assert plain[1] == tuned[1]


def one_less(decide):
    def decide_one_less(self, iters_left):
        change = decide(self, iters_left)
        return change if change is None else type(change)(1, change.text)

    return decide_one_less

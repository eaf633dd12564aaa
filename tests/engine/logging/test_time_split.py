import time

import pytest
import torch

from mmopt.engine.logging.time_split import PARTS, DeviceTime, TimeSplit
from mmopt.registry import DATASETS
from tests.engine.test_runner import build
from tests.engine.toy import ToyDataset, toy_config


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, 'perf_counter', lambda: now[0])
    return now


def test_exactly_one_part_runs_at_a_time(clock):
    split = TimeSplit()
    for moment, part in ((10, 'data'), (11, 'compute'), (14, 'hooks'), (16, None), (99, 'data'), (100, None)):
        clock[0] = moment
        split.switch(part)
    assert {part: value for part, value in split.seconds.items() if value} == dict(data=2, compute=3, hooks=2)


def test_a_part_inside_another_is_taken_out_of_it(clock):
    split = TimeSplit()
    split.switch('hooks')
    clock[0] = 1.0
    with split.measure('checkpoints'):
        clock[0] = 5.0
    clock[0] = 6.0
    assert split.shares() == dict.fromkeys(PARTS, 0.0) | dict(hooks=2.0, checkpoints=4.0)


class Event:
    """A device whose clock the test moves; an event has passed once the device got there."""

    device_ms = 0.0
    host_ms = 0.0

    def record(self):
        self.at = Event.host_ms

    def query(self):
        return Event.device_ms >= self.at

    def elapsed_time(self, other):
        return other.at - self.at


def test_events_are_read_when_they_have_passed_and_used_again():
    Event.device_ms = 0.0
    device = DeviceTime(Event)
    for iteration in range(3):
        Event.host_ms = 100.0 * iteration + 10
        start = device.mark()
        Event.host_ms += 50
        device.add('compute', start)
    assert device.seconds['compute'] == 0.0
    Event.device_ms = 200.0  # the third step is still computed
    device.collect()
    assert device.seconds['compute'] == pytest.approx(0.1)
    assert len(device._free) == 4


def test_only_what_a_gpu_stood_idle_is_shared_out():
    split = TimeSplit()
    split.seconds |= dict(data=30.0, compute=10.0, hooks=60.0, evaluation=7.0)
    # Of 100 s the GPU computed 95: the log waited for it, the loader was late by 5 s at most.
    assert split.shares(dict(compute=94.0, copy=1.0)) == dict(
        data=5.0, copy=1.0, compute=94.0, hooks=0.0, evaluation=7.0, checkpoints=0.0
    )
    # It computed 20: the loader's 30 and the hooks' 50 of what is left count in full.
    assert split.shares(dict(compute=20.0, copy=0.0)) | dict() == dict(
        data=30.0, copy=0.0, compute=20.0, hooks=50.0, evaluation=7.0, checkpoints=0.0
    )


@DATASETS.register_module(force=True)
class SlowDataset(ToyDataset):
    def prepare_data(self, idx):
        time.sleep(0.01)
        return super().prepare_data(idx)


@pytest.mark.parametrize('by_epoch', [False, True])
def test_the_parts_of_a_run_are_its_whole_and_a_slow_loader_shows(tmp_path, by_epoch):
    cfg = toy_config(tmp_path, by_epoch=by_epoch, train_dataloader=dict(dataset=dict(type='SlowDataset')))
    runner = build(cfg)
    marks = []
    loop = runner.build_train_loop(runner._train_loop)
    loop.run, original = (
        (lambda: (marks.append(time.perf_counter()), original(), marks.append(time.perf_counter()))),
        (loop.run),
    )
    runner._train_loop = loop
    runner.train()
    seconds = runner.time_split.shares()
    whole = marks[1] - marks[0]
    assert sum(seconds.values()) == pytest.approx(whole, rel=0.1)
    num_samples = 4 * loop.iters_done
    assert 0.01 * num_samples <= seconds['data'] <= whole
    assert seconds['evaluation'] > 0
    assert seconds['checkpoints'] > 0
    assert seconds['compute'] > 0


@pytest.mark.gpu
def test_on_a_gpu_the_events_of_a_run_add_up_to_less_than_its_time(tmp_path):
    runner = build(toy_config(tmp_path, max_iters=30))
    started = time.perf_counter()
    runner.train()
    torch.cuda.synchronize()
    runner.train_loop._device_time.collect()
    whole = time.perf_counter() - started
    assert 0 < runner.train_loop.device_seconds['compute'] < whole

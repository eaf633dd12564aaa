from contextlib import contextmanager

import pytest
import torch

from mmopt.engine.loading.prefetch import BatchSource, CudaStreams, PrefetchedBatches, batch_source
from mmopt.structures import DataSample, move_to
from tests.engine.test_runner import build, state_of
from tests.engine.toy import toy_config


class Loader:
    def __init__(self, batches, calls):
        self.batches = iter(batches)
        self.calls = calls

    def __iter__(self):
        return self

    def __next__(self):
        batch = next(self.batches)
        self.calls.append(f'load {batch}')
        return batch


class FakeStreams:
    def __init__(self, calls):
        self.calls = calls

    @contextmanager
    def copying(self):
        self.calls.append('copying')
        yield
        self.calls.append('copied')

    def record(self):
        return object()

    def wait(self, event):
        assert event is not None
        self.calls.append('wait')

    def keep(self, tensor):
        raise AssertionError('nothing on a CPU is kept for a stream')


def source(batches, calls):
    return PrefetchedBatches(Loader(batches, calls), lambda batch: f'device {batch}', FakeStreams(calls))


def test_the_next_batch_is_loaded_and_copied_once_the_step_is_launched_and_not_before():
    calls = []
    batches = source('ab', calls)
    assert batches.take() == 'device a'
    calls.append('step a')
    batches.advance()
    batches.advance()  # once is enough
    assert batches.take() == 'device b'
    calls.append('step b')
    batches.advance()
    assert batches.take() is None
    a, b = (['load {0}', 'copying', 'copied', 'wait', 'step {0}'] for _ in 'ab')
    assert calls == [call.format('a') for call in a] + [call.format('b') for call in b]


def test_without_being_told_of_steps_it_gives_the_same_batches():
    batches = source('abc', [])
    assert [batches.take() for _ in range(4)] == ['device a', 'device b', 'device c', None]


def test_a_cpu_or_a_loader_without_workers_reads_batches_as_they_come():
    module = torch.nn.Linear(1, 1)
    for num_workers in (0, 2):
        got = batch_source(iter('ab'), module, num_workers=num_workers, enabled=True)
        assert type(got) is BatchSource
        assert [got.take(), got.advance(), got.take(), got.take()] == ['a', None, 'b', None]


def test_fields_for_the_host_stay_there_and_the_rest_moves():
    sample = DataSample(metainfo=dict(name='x'))
    sample.label, sample.intrinsics = torch.ones(2), torch.eye(3)
    batch = dict(inputs=[torch.zeros(1)], data_samples=[sample], other=(1, None))
    moved = move_to(batch, torch.device('meta'), host_fields=('intrinsics',))
    assert moved['inputs'][0].is_meta
    assert moved['data_samples'][0].label.is_meta
    assert moved['data_samples'][0].intrinsics is sample.intrinsics
    assert moved['data_samples'][0].name == 'x'
    assert not sample.label.is_meta
    assert moved['other'] == (1, None)


@pytest.mark.gpu
def test_on_a_gpu_prefetching_changes_no_weight(tmp_path):
    states = []
    for number, prefetch in enumerate((False, True)):
        cfg = toy_config(tmp_path / str(number), max_iters=12, train_dataloader=dict(num_workers=2))
        cfg['train_cfg']['device_prefetch'] = prefetch
        runner = build(cfg)
        runner.train()
        assert isinstance(runner.train_loop._batches, PrefetchedBatches) is prefetch
        states.append(state_of(runner))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.gpu
def test_on_a_gpu_batches_arrive_whole_while_kernels_run():
    device = torch.device('cuda')
    host = [torch.full((64, 1 << 18), float(i)).pin_memory() for i in range(4)]
    batches = PrefetchedBatches(iter(host), lambda batch: batch.to(device, non_blocking=True), CudaStreams(device))
    square = torch.randn(4096, 4096, device=device)
    sums = []
    while (batch := batches.take()) is not None:
        for _ in range(20):
            square = (square @ square).clamp(-1, 1)
        sums.append(batch.sum())
        batches.advance()
    assert [value.item() for value in sums] == [float(i) * 64 * (1 << 18) for i in range(4)]


@pytest.mark.gpu
def test_on_a_gpu_the_next_batch_arrives_before_the_kernels_are_done_that_were_launched_before_it():
    device = torch.device('cuda')
    host = [torch.full((64, 1 << 18), float(i)).pin_memory() for i in range(2)]
    streams = CudaStreams(device)
    batches = PrefetchedBatches(iter(host), lambda batch: batch.to(device, non_blocking=True), streams)
    square = torch.randn(8192, 8192, device=device)
    square @ square  # makes the library's workspace
    batches.take()
    torch.cuda.synchronize()
    for _ in range(200):  # seconds, where 64 MiB take some milliseconds
        square = (square @ square).clamp(-1, 1)
    launched = torch.cuda.Event()
    launched.record()
    batches.advance()
    copied = batches._next[1]
    copied.synchronize()
    assert not launched.query()
    torch.cuda.synchronize()

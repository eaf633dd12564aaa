"""Hooks that watch memory, utilization and progress: what they log, and when they warn."""

import logging
import math
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from torch import nn

from mmopt.engine.hooks import LoggerHook, MemorySnapshotHook, PeakMemoryHook, PlateauHook, peak_memory_hook
from mmopt.engine.hooks.plateau_hook import Plateau
from mmopt.engine.hooks.resource_warnings import memory_warning, retry_warning, room_hint, waiting_warning
from mmopt.utils import core_utilization
from mmopt.utils.core_utilization import CoreUtilization
from mmopt.utils.memory import PeakMemory, workers_gib
from tests.engine.test_runner import build
from tests.engine.toy import toy_config


@pytest.fixture
def runner():
    return SimpleNamespace(
        iter=0,
        max_iters=100,
        model=nn.Linear(1, 1),
        message_hub=MessageHub.get_instance('watch'),
        logger=logging.getLogger('watch'),
        hooks=[LoggerHook(interval=2)],
        train_dataloader=SimpleNamespace(num_workers=3),
        train_loop=SimpleNamespace(unit='iter'),
    )


def logged(runner, name: str) -> list[float]:
    return runner.message_hub.get_scalar(name).data[0].tolist()


def run_iterations(hook, runner, count: int, **outputs) -> None:
    for runner.iter in range(count):
        hook.after_train_iter(runner, batch_idx=runner.iter, outputs=outputs)


@pytest.fixture
def fake_card(monkeypatch):
    """A card of 10 GiB whose peaks and utilization are given."""

    def _fake(peaks: list[PeakMemory], busy_percent: float | None = None) -> None:
        values = iter(peaks)
        monkeypatch.setattr(peak_memory_hook, 'read_peak_memory', lambda device: next(values))
        monkeypatch.setattr(peak_memory_hook, 'total_memory_gib', lambda device: 10.0)
        cores = SimpleNamespace(sample=lambda: None, read_percent=lambda: busy_percent)
        monkeypatch.setattr(peak_memory_hook, 'CoreUtilization', lambda device: cores)

    return _fake


def test_memory_and_utilization_are_logged_with_every_line(runner, fake_card):
    fake_card([PeakMemory(2.0, 5.0, 0), PeakMemory(3.0, 8.0, 1)], busy_percent=90.0)
    run_iterations(PeakMemoryHook(), runner, 4)
    assert logged(runner, 'train/mem_alloc_gib') == [2.0, 3.0]
    assert logged(runner, 'train/mem_reserv_gib') == [5.0, 8.0]
    assert logged(runner, 'train/mem_used') == [0.5, 0.8]
    assert logged(runner, 'train/mem_retries') == [0, 1]
    assert logged(runner, 'train/gpu_busy') == [90.0, 90.0]
    assert len(logged(runner, 'train/mem_host_gib')) == 2


def test_a_full_card_is_warned_of_once_and_each_new_retry_again(runner, fake_card, caplog):
    fake_card([PeakMemory(2.0, 9.6, 1), PeakMemory(2.0, 9.6, 1), PeakMemory(2.0, 9.6, 3)])
    run_iterations(PeakMemoryHook(), runner, 6)
    full = [record.message for record in caplog.records if '9.6 of 10.0 GiB are taken (96%)' in record.message]
    retries = [record.message for record in caplog.records if 'The allocator ran full' in record.message]
    assert len(full) == 1
    assert "optimize.micro_batch='auto'" in full[0]
    assert [text.split(' time')[0] for text in retries] == ['The allocator ran full 1', 'The allocator ran full 2']


def test_a_half_empty_card_is_told_of_once_when_the_peak_is_known(runner, fake_card, caplog):
    caplog.set_level('INFO')
    fake_card([PeakMemory(1.0, gib, 0) for gib in (9.0, 3.0, 4.0, 4.0)])
    run_iterations(PeakMemoryHook(), runner, 8)
    assert not [record for record in caplog.records if 'empty' in record.message]  # the first line had a peak of 9
    fake_card([PeakMemory(1.0, gib, 0) for gib in (2.0, 4.0, 3.0, 3.0)])
    run_iterations(PeakMemoryHook(), runner, 8)
    (record,) = [record for record in caplog.records if 'empty' in record.message]
    assert record.message.startswith('The card is 60% empty (peak 4.0 of 10.0 GiB): raise data.samples_per_gpu (now ')


@pytest.mark.parametrize(('reserved', 'says'), [(4.9, True), (5.0, False), (9.9, False)])
def test_the_hint_about_room_ends_at_half_of_the_card(reserved, says):
    assert (room_hint(reserved, 10.0, 4) is not None) == says


def test_an_idle_card_whose_loader_is_late_is_warned_of(runner, fake_card, caplog):
    fake_card([PeakMemory(1.0, 2.0, 0)] * 2, busy_percent=40.0)
    run_iterations(PeakMemoryHook(), runner, 4, data_time=0.3, time=1.0)
    (record,) = caplog.records
    assert '40 % busy and 30% of each iteration waits for data' in record.message
    assert 'data.workers_per_gpu (now 3)' in record.message


def test_on_a_cpu_only_host_memory_is_logged(runner):
    run_iterations(PeakMemoryHook(), runner, 2)
    assert set(runner.message_hub.log_scalars) <= {'train/mem_host_gib', 'train/mem_workers_gib'}
    assert logged(runner, 'train/mem_host_gib')[0] > 0.05


@pytest.mark.parametrize(('reserved', 'warns'), [(9.39, False), (9.41, True), (10.0, True), (0.0, False)])
def test_the_memory_warning_begins_above_94_per_cent(reserved, warns):
    assert (memory_warning(reserved, 10.0) is not None) == warns


def test_no_retry_no_warning():
    assert retry_warning(0, 5.0) is None


@pytest.mark.parametrize(
    ('busy', 'wait_s', 'iter_s', 'warns'),
    [(79, 0.2, 1, True), (80, 0.2, 1, False), (10, 0.05, 1, False), (None, 0.9, 1, False), (10, 0.0, 0.0, False)],
)
def test_the_waiting_warning_needs_an_idle_card_and_a_late_loader(busy, wait_s, iter_s, warns):
    assert (waiting_warning(busy, wait_s, iter_s, 2) is not None) == warns


def test_workers_count_with_pages_that_they_share_divided():
    assert workers_gib() is None or workers_gib() >= 0
    hungry = 'import sys; block = bytearray(64 << 20); print("up", flush=True); sys.stdin.read()'
    child = subprocess.Popen([sys.executable, '-c', hungry], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        assert workers_gib() > 60 / 1024
    finally:
        child.communicate()


def test_the_cores_are_looked_at_once_per_second_and_averaged(monkeypatch):
    now, seen = [0.0], iter([10, 30, 80])
    monkeypatch.setattr(torch.cuda, 'utilization', lambda device: next(seen))
    cores = CoreUtilization(torch.device('cuda'), clock=lambda: now[0])
    for now[0] in (0.0, 0.2, 0.9, 1.1):
        cores.sample()
    assert cores.read_percent() == 20
    assert cores.read_percent() is None
    now[0] = 5.0
    cores.sample()
    assert cores.read_percent() == 80


@pytest.mark.parametrize('error', [ModuleNotFoundError('pynvml'), type('NVMLError_NotSupported', (Exception,), {})()])
def test_where_nvml_cannot_answer_it_is_asked_once(monkeypatch, error):
    asked = []

    def fail(device):
        asked.append(device)
        raise error

    monkeypatch.setattr(core_utilization.torch.cuda, 'utilization', fail)
    now = [0.0]
    cores = CoreUtilization(torch.device('cuda'), clock=lambda: now[0])
    for now[0] in (0.0, 2.0, 4.0):
        cores.sample()
    assert len(asked) == 1
    assert cores.read_percent() is None


# ---------------------------------------------------------------------------------------------------- plateaus
def test_a_plateau_is_told_once_and_an_improvement_ends_it():
    plateau = Plateau(3, 0.01, greater=False)
    values = [1.0, 0.5, 0.499, 0.6, math.nan, 0.5, 0.5, 0.4, 0.4, 0.4, 0.4]
    told = [at for at, value in enumerate(values) if plateau.update(value, at)]
    assert told == [4, 10]
    assert (plateau.best, plateau.best_at) == (0.4, 7)


def test_of_a_metric_more_may_be_better():
    plateau = Plateau(2, 0.0, greater=True)
    assert [plateau.update(value, at) for at, value in enumerate([0.1, 0.3, 0.2, 0.3, 0.4])] == [False] * 3 + [
        True,
        False,
    ]


def test_a_standing_loss_and_metric_are_warned_of(tmp_path):
    cfg = toy_config(
        tmp_path,
        max_iters=20,
        train_cfg=dict(val_interval=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
        default_hooks=dict(
            plateau=dict(type='PlateauHook', loss_patience=5, metric_patience=3, min_gain=0.5),
            checkpoint=dict(type='CheckpointHook', interval=20, by_epoch=False, save_best='error', rule='less'),
        ),
    )
    build(cfg).train()
    text = (tmp_path / 'latest.log').read_text()
    assert text.count('The loss has not improved since iteration') == 1
    assert text.count('error has not improved over 3 evaluations') == 1


def test_a_run_can_leave_the_watch_out(tmp_path):
    runner = build(toy_config(tmp_path, default_hooks=dict(plateau=None, memory=None)))
    assert not [hook for hook in runner.hooks if isinstance(hook, PlateauHook | PeakMemoryHook)]


def test_a_patience_of_nothing_is_refused():
    with pytest.raises(ValueError, match='a patience must be positive, got 0 and 5'):
        PlateauHook(loss_patience=0)


# ---------------------------------------------------------------------------------------------------- snapshots
def test_the_first_errors_leave_a_snapshot_in_the_work_dir(runner, monkeypatch, tmp_path, caplog):
    written, observers, recording = [], [], []
    monkeypatch.setattr(torch.cuda.memory, '_dump_snapshot', lambda path: written.append(os.path.basename(path)))
    monkeypatch.setattr(torch.cuda.memory, '_record_memory_history', lambda **options: recording.append(options))
    monkeypatch.setattr(torch._C, '_cuda_attach_out_of_memory_observer', observers.append, raising=False)
    card = SimpleNamespace(device=torch.device('cuda'))
    runner.model = SimpleNamespace(parameters=lambda: iter([card]), buffers=lambda: iter(()))
    runner.work_dir = tmp_path
    hook = MemorySnapshotHook(max_snapshots=2, max_entries=7)
    hook.before_train(runner)
    for _ in range(3):
        observers[0](0, 1, 2, 3)
    hook.after_train(runner)
    observers[0](0, 1, 2, 3)  # torch keeps it
    hook.before_train(runner)
    assert len(observers) == 1
    assert written == ['memory_rank0_1.pickle', 'memory_rank0_2.pickle']
    assert recording == [
        dict(max_entries=7, stacks='python'),
        dict(enabled=None),
        dict(max_entries=7, stacks='python'),
    ]
    assert 'open it at https://pytorch.org/memory_viz' in caplog.text


def test_on_a_cpu_the_snapshot_hook_says_that_it_has_no_effect(runner, caplog):
    MemorySnapshotHook().before_train(runner)
    assert 'MemorySnapshotHook has no effect' in caplog.text

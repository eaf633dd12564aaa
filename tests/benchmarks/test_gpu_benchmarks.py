"""Benchmarks that a GPU is waited for: what they do with rows that fail, hang or run out of memory."""

import argparse
import json
import subprocess
from types import SimpleNamespace

import pytest
import torch

from tests.conftest import load_script

CASE = dict(batch_size=2, precision='fp32', checkpointing='none')


@pytest.fixture
def memory_estimate():
    return load_script('benchmarks/memory_estimate.py')


def answering(monkeypatch, module, **answer):
    """Let the measuring process answer, or hang."""

    def run(command, **kwargs):
        if answer.get('hangs'):
            raise subprocess.TimeoutExpired(command, kwargs['timeout'])
        return SimpleNamespace(
            returncode=answer.get('code', 0), stdout=answer.get('out', ''), stderr=answer.get('err', '')
        )

    monkeypatch.setattr(module.subprocess, 'run', run)


def test_a_measurement_that_hangs_or_fails_is_a_row_with_its_reason(memory_estimate, monkeypatch):
    answering(monkeypatch, memory_estimate, hangs=True)
    assert memory_estimate.measure_in_process(CASE, 3) == dict(failed='not done after 3 s')
    # A warning that speaks of memory is no lack of it.
    answering(monkeypatch, memory_estimate, code=1, err='warning: out of memory is handled\nKeyError: x')
    assert memory_estimate.measure_in_process(CASE, 3)['failed'].endswith('KeyError: x')
    answering(monkeypatch, memory_estimate, out='{"out_of_memory": "Tried to allocate"}')
    assert 'out_of_memory' in memory_estimate.measure_in_process(CASE, 3)


def test_every_row_is_handed_out_at_once_and_the_table_names_each_kind(memory_estimate, monkeypatch):
    answers = iter([dict(reserved=100, outside=0), dict(out_of_memory='x'), dict(failed='not done after 3 s')])
    monkeypatch.setattr(memory_estimate, 'measure_in_process', lambda case, timeout: next(answers))
    cases = tuple(dict(CASE, batch_size=size, reserved=110) for size in (1, 2, 3))
    monkeypatch.setattr(memory_estimate, 'estimate_memory', lambda *args, **kwargs: SimpleNamespace(cases=cases))
    args = argparse.Namespace(
        configs=['configs/demo/tad_v7_mabe.py'],
        optimizers=['SGD'],
        num_batches=1,
        precisions=[],
        checkpointings=[],
        timeout=3,
    )
    written = []
    rows = memory_estimate.compare(args, lambda rows: written.append(len(rows)))
    assert written == [1, 2, 3]
    assert rows[0]['error'] == pytest.approx(0.1)
    table = memory_estimate.summarize(rows)
    assert '+10.0%' in table
    assert '| out of memory |' in table
    assert '| not done after 3 s |' in table


def test_a_step_of_bev_is_timed_where_it_is_told_to_be(monkeypatch, capsys):
    bev_step = load_script('benchmarks/bev_step.py')
    seen = []
    row = dict(gflop=1, gflop_per_s=1, floor_s=1, step_s=1, step_s_min=1, step_s_max=1, ratio=1)
    monkeypatch.setattr(bev_step, 'measure', lambda *args: seen.append(args[-1]) or row)
    monkeypatch.setattr(bev_step, 'describe_machine', lambda: dict(cpu='C', gpu='G', threads=1, torch='2'))
    before = torch.backends.cudnn.allow_tf32
    try:
        bev_step.main(['--device', 'cuda', '--precisions', 'fp32', '--batch-sizes', '1', '--default-malloc'])
        assert not torch.backends.cudnn.allow_tf32
        bev_step.main(['--precisions', 'fp32', '--batch-sizes', '1', '--default-malloc'])
    finally:
        torch.backends.cudnn.allow_tf32 = before
    assert [device.type for device in seen] == ['cuda', 'cpu']
    assert [line[0] for line in capsys.readouterr().out.splitlines() if ' threads' in line] == ['G', 'C']


def test_a_small_card_that_hangs_or_fails_leaves_the_other_rows(monkeypatch, tmp_path, capsys):
    benchmark = load_script('benchmarks/out_of_memory.py')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(benchmark, 'RESULTS', tmp_path)
    monkeypatch.setattr('sys.argv', ['out_of_memory.py', 'config.py', '--cards', '24', '8', '4', '--timeout', '7'])
    row = dict(card_gib=24.0, micro_batch=8, peak_reserved_gib=20.0, s_per_iter=0.5, gpu='H')

    def run(command, timeout, **kwargs):
        card = command[command.index('--cards') + 1]
        if card == '8.0':
            raise subprocess.TimeoutExpired(command, timeout)
        return SimpleNamespace(returncode=int(card == '4.0'), stdout=json.dumps(row), stderr='first\nlast')

    monkeypatch.setattr(benchmark.subprocess, 'run', run)
    assert benchmark.main() == 0
    said = capsys.readouterr()
    assert '8 GiB: not done after 7 s' in said.err
    assert '4 GiB: exit code 1\nfirst\nlast' in said.err
    assert '| 24 GiB | 8 | 20.00 GiB | 1.00 x |' in said.out

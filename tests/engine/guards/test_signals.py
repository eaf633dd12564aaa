"""Real signals to real processes: the iteration ends, everything is saved, and the run goes on as if nothing was."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
import torch

from mmopt.engine.guards.signals import EXIT_STOPPED, StopSignals
from tests.engine.children import Child, ranks_of
from tests.engine.test_runner import assert_same, build, state_of
from tests.engine.toy import toy_config


@pytest.fixture(autouse=True)
def one_thread():
    """As many threads here as in the children: sums of another order end in other bits."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


EMA = dict(type='EMAHook', ema_type='LinearWarmupEMA', momentum=0.1, warm_up=4)


def config(work_dir: Path, wait_at: str | None = None, **changes) -> dict:
    hooks = [EMA] if wait_at is None else [EMA, dict(type='ReportHook', wait_at=(wait_at,))]
    # Off the interval, so that what is resumed was saved because of the signal.
    hooks_by_default = dict(
        logger=dict(type='LoggerHook', interval=2, log_metric_by_epoch=False),
        checkpoint=dict(type='CheckpointHook', interval=100, by_epoch=False),
    )
    return toy_config(work_dir, custom_hooks=hooks, default_hooks=hooks_by_default, **changes)


def stopped_at(work_dir: Path, point: str, signum: int, **changes) -> Child:
    """Send a signal while the process is at a point, and wait for its end."""
    child = Child(work_dir / 'output.txt', config(work_dir, point, **changes))
    child.wait_for(point)
    child.signal(signum)
    child.go_on()
    assert child.finish() == EXIT_STOPPED, child.text
    return child


def assert_goes_on(work_dir: Path, whole_dir: Path, **changes) -> None:
    whole = build(config(whole_dir, **changes))
    whole.train()
    resumed = build(config(work_dir, resume=True, **changes))
    resumed.train()
    assert_same(state_of(whole), state_of(resumed))
    finals = [
        torch.load(next(folder.glob('*_8.pth' if 'by_epoch' not in changes else 'iter_12.pth')), weights_only=True)[
            'ema_state_dict'
        ]
        for folder in (work_dir, whole_dir)
    ]
    assert_same(*finals)


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGINT', 'SIGUSR1'])
def test_a_signal_saves_after_the_iteration_and_the_run_goes_on_bit_for_bit(tmp_path, name):
    changes = dict(train_dataloader=dict(num_workers=1)) if name == 'SIGINT' else {}
    child = stopped_at(tmp_path / 'run', 'train 3', getattr(signal, name), **changes)
    assert f'stopped by {name} after iteration 3; saved as {tmp_path}/run/iter_3.pth' in child.text
    assert 'Go on with: python tools/train.py configs/toy.py --auto-resume' in child.text
    assert 'Traceback' not in child.text
    assert_goes_on(tmp_path / 'run', tmp_path / 'whole')


@pytest.mark.parametrize('is_open', [True, False], ids=['its reader has gone', 'it is closed'])
def test_a_signal_counts_where_nobody_can_be_told_on_the_error_output(monkeypatch, is_open):
    # Ctrl-C also ends the `tee` of `train.py 2>&1 | tee log`: writing to it then fails.
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, 'w') as unread:
        monkeypatch.setattr(sys, '__stderr__', unread if is_open else None)
        with StopSignals() as signals:
            assert signals.poll() is None
            signal.raise_signal(signal.SIGTERM)
            assert signals.poll() == 'SIGTERM'


def test_a_second_signal_stops_at_once(tmp_path):
    child = Child(tmp_path / 'output.txt', config(tmp_path, 'train 3'))
    child.wait_for('train 3')
    child.signal(signal.SIGTERM)
    child.wait_for_text('a second signal stops at once')
    child.signal(signal.SIGINT)  # it waits inside the third iteration
    assert child.finish() == -signal.SIGINT
    assert not list(tmp_path.glob('*.pth'))


def test_a_signal_in_an_evaluation_abandons_it_and_the_resumed_run_does_it_first(tmp_path):
    stopped_at(tmp_path / 'run', 'val 4.0', signal.SIGTERM)
    assert sorted(path.name for path in (tmp_path / 'run').glob('*.pth')) == ['iter_4.pth']
    assert not any('error' in row for row in rows(tmp_path / 'run'))
    assert_goes_on(tmp_path / 'run', tmp_path / 'whole')
    errors = [
        [(row['step'], row['error']) for row in rows(folder) if 'error' in row]
        for folder in (tmp_path / 'run', tmp_path / 'whole')
    ]
    assert [step for step, _ in errors[0]] == [4, 8]
    assert errors[0] == errors[1]


def test_an_epoch_based_run_stops_inside_its_epoch(tmp_path):
    stopped_at(tmp_path / 'run', 'train 4', signal.SIGTERM, by_epoch=True)
    assert (tmp_path / 'run' / 'iter_4.pth').is_file()
    assert_goes_on(tmp_path / 'run', tmp_path / 'whole', by_epoch=True)


def test_all_ranks_stop_after_the_same_iteration_when_one_is_asked(tmp_path):
    cfg = config(tmp_path, 'train 3', launcher='pytorch', max_iters=40, train_dataloader=dict(batch_size=2))
    children = [
        Child(tmp_path / f'output{rank}.txt', cfg, environment=environment)
        for rank, environment in enumerate(ranks_of(2))
    ]
    for child in children:
        child.wait_for('train 3')
    children[1].signal(signal.SIGTERM)
    for child in children:
        child.go_on()
    assert [child.finish() for child in children] == [EXIT_STOPPED] * 2, [child.text for child in children]
    # Read one iteration after it was asked.
    assert 'stopped by SIGTERM after iteration 4' in children[0].text
    assert 'stopped by' not in children[1].text
    assert torch.load(tmp_path / 'iter_4.pth', weights_only=True)['meta']['iter'] == 4


def test_the_checkpoint_of_a_stop_goes_once_the_next_regular_one_is_there(tmp_path):
    changes = dict(type='CheckpointHook', interval=4, by_epoch=False, max_keep_ckpts=1)
    cfg = config(tmp_path, 'train 3')
    cfg['default_hooks']['checkpoint'] = changes
    child = Child(tmp_path / 'output.txt', cfg)
    child.wait_for('train 3')
    child.signal(signal.SIGTERM)
    child.go_on()
    assert child.finish() == EXIT_STOPPED
    assert [path.name for path in tmp_path.glob('*.pth')] == ['iter_3.pth']
    cfg = config(tmp_path, resume=True)
    cfg['default_hooks']['checkpoint'] = changes
    build(cfg).train()
    assert [path.name for path in tmp_path.glob('*.pth')] == ['iter_8.pth']


def rows(work_dir: Path) -> list[dict]:
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    return [json.loads(line) for path in files for line in path.read_text().splitlines()]

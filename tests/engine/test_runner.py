"""The whole engine on the toy task: training, evaluation points, files, exact resuming."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from mmopt.registry import HOOKS, RUNNERS
from tests.conftest import forget_mmengine_globals
from tests.engine.toy import ToyDataset, toy_config


class Killed(Exception):
    """What a test raises in the place of a SIGKILL."""


@HOOKS.register_module(force=True)
class KillHook(Hook):
    """Stop the run after an iteration, once its checkpoint is written."""

    priority = 'LOWEST'

    def __init__(self, after: int) -> None:
        self.after = after

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.after:
            raise Killed


def build(cfg: dict):
    forget_mmengine_globals()
    return RUNNERS.get(cfg['runner_type']).from_cfg(Config(cfg))


def state_of(runner) -> dict[str, torch.Tensor]:
    weights = {name: value.clone() for name, value in runner.model.state_dict().items()}
    for index, slots in runner.optim_wrapper.state_dict()['state'].items():
        weights |= {f'optim.{index}.{name}': value.clone() for name, value in slots.items()}
    return weights


def losses_of(work_dir: Path) -> dict[int, float]:
    """Read the logged loss of every step from all curves of a work dir; a later file wins."""
    rows = {}
    for path in sorted(work_dir.glob('*/vis_data/*.json')):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            if 'loss' in row:
                rows[row['step']] = row['loss']
    return rows


def assert_same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different


def test_a_run_learns_and_writes_what_users_look_for(tmp_path):
    cfg = toy_config(
        tmp_path,
        max_iters=150,
        model=dict(dropout=0.0),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.03)),
        train_cfg=dict(val_interval=75),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', interval=75, by_epoch=False, save_best='error', rule='less')
        ),
    )
    runner = build(cfg)
    runner.train()
    # A predictor of the mean alone is 0.49 off. Reached over seeds 0 to 2, float32 and bfloat16: 0.03 to 0.04.
    assert runner.val_loop.metrics['error'] < 0.2
    names = {path.name for path in tmp_path.iterdir()}
    assert {'iter_75.pth', 'iter_150.pth', 'best_error.pth', 'last_checkpoint', 'latest.log'} <= names
    assert 'Iter(train) [150/150]' in (tmp_path / 'latest.log').read_text()


def test_the_console_gets_progress_but_not_the_config_dump(tmp_path, capsys):
    build(toy_config(tmp_path)).train()
    console = capsys.readouterr().out
    assert '  8/8  loss ' in console
    assert 'System environment' not in console
    assert 'System environment' in (tmp_path / 'latest.log').read_text()


def test_the_last_iteration_is_logged_and_evaluated_whatever_the_intervals(tmp_path):
    cfg = toy_config(tmp_path, max_iters=3, train_cfg=dict(val_interval=100))
    cfg['default_hooks']['logger']['interval'] = 50
    runner = build(cfg)
    runner.train()
    assert losses_of(tmp_path).keys() == {3}
    assert runner.val_loop.metrics['count'] == 6


def test_val_at_end_false_gives_only_mmcv_points(tmp_path):
    runner = build(toy_config(tmp_path, max_iters=3, train_cfg=dict(val_interval=100, val_at_end=False)))
    runner.train()
    assert runner.val_loop.metrics == {}


def test_a_logged_loss_is_the_mean_over_the_interval(tmp_path):
    every, window = toy_config(tmp_path / 'a'), toy_config(tmp_path / 'b')
    every['default_hooks']['logger']['interval'] = every['log_processor']['window_size'] = 1
    window['default_hooks']['logger']['interval'] = window['log_processor']['window_size'] = 4
    for cfg in (every, window):
        build(cfg).train()
    single, mean = losses_of(tmp_path / 'a'), losses_of(tmp_path / 'b')
    for step in (4, 8):
        assert mean[step] == pytest.approx(sum(single[step - k] for k in range(4)) / 4, rel=1e-5)


RESUME_CASES = {
    'plain': dict(),
    'workers': dict(train_dataloader=dict(num_workers=2, persistent_workers=True)),
    'accumulation': dict(optim_wrapper=dict(accumulative_counts=3)),
    'fp16': dict(
        optim_wrapper=dict(
            type='AmpOptimWrapper', dtype='float16', loss_scale=dict(init_scale=2.0**15, growth_interval=2)
        )
    ),
    'bf16': dict(optim_wrapper=dict(type='AmpOptimWrapper', dtype='bfloat16')),
    'epochs': dict(by_epoch=True, train_cfg=dict(max_epochs=2)),
    'auto': dict(optim_wrapper=dict(type='AmpOptimWrapper', dtype='auto')),
}
EMULATED_CASES = {
    f'emulated {name}': dict(
        optim_wrapper=dict(type='AmpOptimWrapper', dtype=dtype, accumulative_counts=3, clip_grad=dict(max_norm=1.0))
    )
    for name, dtype in (('bf16', 'bfloat16'), ('fp16', 'float16'))
}


@pytest.mark.parametrize('changes', EMULATED_CASES.values(), ids=EMULATED_CASES)
@pytest.mark.parametrize('stop', [4, 5])
def test_a_killed_run_in_an_emulated_precision_continues_bit_for_bit(tmp_path, changes, stop, no_half_arithmetic):
    check_resuming(tmp_path, changes, stop)


@pytest.mark.parametrize('changes', RESUME_CASES.values(), ids=RESUME_CASES)
@pytest.mark.parametrize('stop', [4, 5])
def test_a_killed_run_continues_bit_for_bit(tmp_path, changes, stop):
    check_resuming(tmp_path, changes, stop)


def check_resuming(tmp_path, changes, stop):
    """The stop at 5 loses an iteration after the checkpoint at 4 and must repeat it alike."""
    whole = build(toy_config(tmp_path / 'whole', **changes))
    whole.train()
    killed = build(toy_config(tmp_path / 'killed', custom_hooks=[dict(type='KillHook', after=stop)], **changes))
    with pytest.raises(Killed):
        killed.train()
    resumed = build(toy_config(tmp_path / 'killed', resume=True, **changes))
    resumed.train()
    assert_same(state_of(whole), state_of(resumed))
    late = {step: loss for step, loss in losses_of(tmp_path / 'whole').items() if step > 4}
    assert late
    assert {step: losses_of(tmp_path / 'killed')[step] for step in late} == late


def test_resuming_reads_no_sample_twice(tmp_path, monkeypatch):
    killed = build(toy_config(tmp_path, custom_hooks=[dict(type='KillHook', after=6)]))
    with pytest.raises(Killed):
        killed.train()
    reads = []
    original = ToyDataset.prepare_data
    monkeypatch.setattr(ToyDataset, 'prepare_data', lambda self, idx: reads.append(int(idx)) or original(self, idx))
    resumed = build(toy_config(tmp_path, resume=True, val_dataloader=None, val_evaluator=None, val_cfg=None))
    resumed.train()
    assert len(reads) == 2 * 4


def test_another_number_of_workers_gives_the_same_run(tmp_path):
    runs = []
    for workers in (0, 2):
        runner = build(toy_config(tmp_path / str(workers), train_dataloader=dict(num_workers=workers)))
        runner.train()
        runs.append(state_of(runner))
    assert_same(*runs)


def test_evaluating_more_often_does_not_change_the_training(tmp_path):
    runs = []
    for interval in (1, 100):
        runner = build(toy_config(tmp_path / str(interval), train_cfg=dict(val_interval=interval)))
        runner.train()
        runs.append(state_of(runner))
    assert_same(*runs)


def test_resuming_an_empty_work_dir_starts_from_the_beginning(tmp_path):
    build(toy_config(tmp_path, resume=True)).train()
    assert 'No checkpoint in' in (tmp_path / 'latest.log').read_text()


def test_load_from_takes_weights_and_nothing_else(tmp_path):
    first = build(toy_config(tmp_path / 'a'))
    first.train()
    second = build(
        toy_config(tmp_path / 'b', load_from=str(tmp_path / 'a' / 'iter_8.pth'), train_cfg=dict(max_iters=1))
    )
    second.train()
    assert second.train_loop.iters_done == 1
    for name, value in second.model.state_dict().items():
        torch.testing.assert_close(value, first.model.state_dict()[name], atol=0.05, rtol=0.5)


def test_a_native_config_without_loop_types_runs(tmp_path):
    cfg = toy_config(tmp_path, train_cfg=None, val_cfg=dict())
    cfg['train_cfg'] = dict(by_epoch=False, max_iters=4, val_interval=2)
    runner = build(cfg)
    runner.train()
    assert runner.train_loop.iters_done == 4


@pytest.mark.parametrize('randomness', [None, dict(deterministic=False)])
def test_a_native_config_without_a_seed_draws_one(tmp_path, randomness):
    cfg = toy_config(tmp_path, max_iters=1)
    del cfg['randomness']
    if randomness is not None:
        cfg['randomness'] = randomness
    runner = build(cfg)
    runner.train()
    assert isinstance(runner.seed, int)


def test_nothing_is_read_from_the_device_between_log_lines(tmp_path, monkeypatch):
    """On a GPU each read waits for the device; here the reads are counted."""
    reads = []
    for name in ('item', 'tolist', '__float__', '__bool__', '__int__'):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda self, original=original, name=name: reads.append(name) or original(self)
        )
    cfg = toy_config(tmp_path, max_iters=12, val_dataloader=None, val_evaluator=None, val_cfg=None)
    # SGD: Adam's step counts are tensors on the host, which it reads at every step on purpose.
    cfg['optim_wrapper'] = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01), clip_grad=dict(max_norm=1.0))
    cfg['default_hooks']['logger']['interval'] = cfg['default_hooks']['checkpoint']['interval'] = 6
    marks = []

    class Mark(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            marks.append(len(reads))

    runner = build(cfg)
    runner.register_hook(Mark())
    runner.train()
    # From the first to the sixth iteration's beginning lies no log line; the seventh begins after one.
    assert marks[0] == marks[5]
    assert marks[6] > marks[5]


def test_a_hook_that_overrides_only_the_common_stage_is_called(tmp_path):
    seen = []

    class Counter(Hook):
        def _after_iter(self, runner, batch_idx, data_batch=None, outputs=None, mode='train'):
            seen.append(mode)

    runner = build(toy_config(tmp_path, max_iters=4))
    runner.register_hook(Counter())
    runner.train()
    assert seen == ['train'] * 4 + ['val'] * 2

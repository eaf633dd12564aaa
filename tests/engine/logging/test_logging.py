"""Log lines as mmcv 1.x writes them: when, what is averaged, and after which hooks."""

from types import SimpleNamespace

import pytest
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer, MessageHub

from mmopt.config import lower
from mmopt.engine.hooks import LoggerHook
from mmopt.engine.logging.log_processor import LogProcessor
from mmopt.registry import HOOKS, LOG_PROCESSORS
from tests.config.samples import make_config, make_epoch_config
from tests.engine.dialect import ITER_BASED, build

calls: list[str] = []


@HOOKS.register_module(force=True)
class ProbeHook(Hook):
    def __init__(self, name: str) -> None:
        self.name = name

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 2:
            calls.append(self.name)


def runner_with(since: int, **histories: list[float]) -> SimpleNamespace:
    hub = MessageHub.get_instance('log')
    for name, values in histories.items():
        hub.log_scalars[f'train/{name}'] = HistoryBuffer(values, [1] * len(values))
    loop = SimpleNamespace(iters_since_break=since)
    return SimpleNamespace(message_hub=hub, train_loop=loop, _train_loop=loop, iter=5, max_iters=9)


def test_everything_measured_is_averaged_and_states_are_not():
    runner = runner_with(9, loss=[1.0, 3.0], top1_acc=[0.2, 0.4], lr=[1.0, 2.0], mem_host_gib=[1.0, 2.0])
    tag, _ = LogProcessor(window_size=2, by_epoch=False).get_log_after_iter(runner, 5, 'train')
    assert tag['loss'] == 2.0
    assert tag['top1_acc'] == pytest.approx(0.3)
    assert (tag['lr'], tag['mem_host_gib']) == (2.0, 2.0)


def test_no_average_reaches_across_an_epochs_end_or_an_evaluation():
    processor = LogProcessor(window_size=4, by_epoch=False)
    tag, _ = processor.get_log_after_iter(runner_with(2, loss=[8.0, 8.0, 1.0, 3.0]), 5, 'train')
    assert tag['loss'] == 2.0
    assert processor.window_size == 4


def test_a_pattern_of_ones_own_decides_what_is_averaged():
    runner = runner_with(9, loss=[1.0, 3.0], top1_acc=[0.2, 0.4])
    processor = LogProcessor(window_size=2, by_epoch=False, mean_pattern='acc')
    tag, _ = processor.get_log_after_iter(runner, 5, 'train')
    assert (tag['loss'], tag['top1_acc']) == (3.0, pytest.approx(0.3))


def test_it_is_what_a_lowered_config_builds():
    cfg = lower(make_config())['log_processor']
    assert type(LOG_PROCESSORS.build(cfg)) is LogProcessor


@pytest.mark.parametrize('ours', [True, False])
@pytest.mark.parametrize(
    ('hook', 'expected'),
    [
        (dict(), [3, 8, 13]),
        (dict(ignore_last=False), [3, 5, 8, 10, 13]),
        (dict(interval=50), [5, 10]),  # mmcv would log the last one alone
        # Counted over the run, whatever the epochs.
        (dict(by_epoch=False), [3, 6, 9, 12]),
    ],
)
def test_an_epoch_based_run_logs_at_mmcvs_iterations(hook, expected, ours):
    """Three epochs of five iterations, interval 3; the last iteration of the run gets its line in any case."""
    hooks = [dict(type='TextLoggerHook', **hook)]
    lowered = lower(make_epoch_config(log_config=dict(interval=3, hooks=hooks)))
    logger = LoggerHook(**{key: value for key, value in lowered['default_hooks']['logger'].items() if key != 'type'})
    points = []
    for i in range(15):
        # A loop of a library does not say what it counts.
        loop = SimpleNamespace(unit='epoch') if ours else SimpleNamespace()
        runner = SimpleNamespace(iter=i, max_iters=15, train_loop=loop, train_dataloader=range(5))
        if logger.is_due(runner, i % 5):
            points.append(i + 1)
    assert points == [*expected, 15]


def test_custom_hooks_run_by_mmcvs_priorities_and_before_the_log_line(tmp_path, monkeypatch):
    calls.clear()
    original = LoggerHook.after_train_iter

    def after_train_iter(self, runner, *args, **kwargs):
        calls.extend(['log'] if runner.iter == 2 else [])
        original(self, runner, *args, **kwargs)

    monkeypatch.setattr(LoggerHook, 'after_train_iter', after_train_iter)
    priorities = dict(last='LOWEST', low='LOW', usual=None, first='VERY_HIGH', early=49, second=None)
    hooks = [
        dict(type='ProbeHook', name=name) | ({} if priority is None else dict(priority=priority))
        for name, priority in priorities.items()
    ]
    short = dict(runner=dict(type='IterBasedRunner', max_iters=3), checkpoint_config=None)
    build(tmp_path, ITER_BASED | short | dict(custom_hooks=hooks)).train()
    assert calls == ['first', 'early', 'usual', 'second', 'low', 'log', 'last']

"""Early stopping counts evaluations, also across interruptions."""

import logging
from types import SimpleNamespace

import pytest
from mmengine.logging import MessageHub

from mmopt.engine.hooks import EarlyStoppingHook
from mmopt.registry import METRICS
from mmopt.utils.errors import ConfigWarning, UserError
from tests.engine.test_runner import build
from tests.engine.toy import ToyError, toy_config


class FakeRunner:
    def __init__(self, hub: MessageHub | None = None) -> None:
        self.message_hub = hub or MessageHub(f'hub{id(self)}')
        self.train_loop = SimpleNamespace(stop_training=False)
        self.logger = logging.getLogger('early_stopping')


def evaluations_until_stop(scores: list[float], runner: FakeRunner | None = None, **options) -> int | None:
    hook, runner = EarlyStoppingHook(**(dict(monitor='mIoU', min_delta=0.0) | options)), runner or FakeRunner()
    hook.before_train(runner)
    for number, score in enumerate(scores, start=1):
        if runner.train_loop.stop_training:
            return number - 1
        hook.after_val_epoch(runner, {hook.monitor: score})
    return len(scores) if runner.train_loop.stop_training else None


@pytest.mark.parametrize(
    ('scores', 'options', 'stop'),
    [
        ([0.1, 0.2, 0.2, 0.2, 0.2], dict(patience=3), 5),
        ([0.1, 0.2, 0.2, 0.3, 0.2], dict(patience=3), None),
        ([0.1, 0.15, 0.19, 0.2], dict(patience=2, min_delta=0.1), 3),  # each small gain is none
        ([3.0, 2.0, 2.5, 2.1], dict(monitor='loss', patience=2), 4),
        ([0.1, float('nan'), 0.2], dict(), 2),
        ([0.1, float('nan'), 0.2], dict(check_finite=False), None),
        ([0.1, 0.6, 0.7], dict(stopping_threshold=0.5), 2),
        ([0.1, 0.2, 0.2], dict(patience=0), 3),
    ],
)
def test_it_stops_after_its_patience(scores, options, stop):
    assert evaluations_until_stop(scores, **options) == stop


@pytest.mark.parametrize('cut', [1, 2, 3, 4])
def test_a_resumed_run_stops_where_the_uninterrupted_one_does(cut):
    scores = [0.1, 0.3, 0.3, 0.2, 0.3, 0.3]
    whole = evaluations_until_stop(scores, patience=3)
    first = FakeRunner()
    evaluations_until_stop(scores[:cut], first, patience=3)
    second = FakeRunner(first.message_hub)
    assert cut + evaluations_until_stop(scores[cut:], second, patience=3) == whole == 5


def test_a_run_that_had_stopped_stays_stopped_and_a_larger_patience_goes_on():
    first = FakeRunner()
    evaluations_until_stop([0.3, 0.2, 0.2], first, patience=2)
    again = FakeRunner(first.message_hub)
    EarlyStoppingHook('mIoU', patience=2).before_train(again)
    assert again.train_loop.stop_training
    longer = FakeRunner(first.message_hub)
    EarlyStoppingHook('mIoU', patience=5).before_train(longer)
    assert not longer.train_loop.stop_training


@METRICS.register_module(force=True)
class WorseningError(ToyError):
    """Each evaluation of a process is worse than the one before."""

    def compute_metrics(self, results):
        self.count = getattr(self, 'count', 0) + 1
        return dict(error=float(self.count))


def test_the_count_is_in_the_checkpoint_of_a_real_run(tmp_path):
    """Evaluations at 2, 4, 6, ...: the first is the best, patience 3 ends the run at 8, in one go or in two."""
    stop = dict(custom_hooks=[dict(type='EarlyStoppingHook', monitor='error', patience=3)])
    evaluator = dict(val_evaluator=dict(type='Evaluator', metrics=[dict(type='WorseningError')]))
    loop = dict(train_cfg=dict(val_interval=2))
    runner = build(toy_config(tmp_path / 'whole', max_iters=20, **stop, **evaluator, **loop))
    runner.train()
    assert runner.iter == 8
    build(toy_config(tmp_path / 'parts', max_iters=4, **stop, **evaluator, **loop)).train()
    cfg = toy_config(tmp_path / 'parts', max_iters=20, **stop, **evaluator, **loop)
    resumed = build(cfg | dict(resume=True))
    resumed.train()
    # The metric starts at 1 again, no better than the best: evaluations at 4 (owed), 6 and 8.
    assert resumed.iter == 8


def test_what_is_wrong_is_said():
    with pytest.raises(UserError, match="more or less of 'score' is better cannot be told; write rule="):
        EarlyStoppingHook('score')
    with pytest.raises(UserError, match='patience and min_delta must be at least 0'):
        EarlyStoppingHook('mIoU', patience=-1)
    hook, runner = EarlyStoppingHook('mIoU', strict=True), FakeRunner()
    hook.before_train(runner)
    with pytest.raises(UserError, match="monitor='mIoU' is not among the metrics of the evaluation: aAcc"):
        hook.after_val_epoch(runner, dict(aAcc=0.5))
    with pytest.warns(ConfigWarning, match="monitor='mIoU' is not among.*It does not count"):
        EarlyStoppingHook('mIoU').after_val_epoch(FakeRunner(), dict(aAcc=0.5))


def test_it_is_read_and_caught_as_mmengines_is():
    hook, runner = EarlyStoppingHook('loss', strict=True, patience=4), FakeRunner()
    assert (hook.rule, hook.best_score, hook.wait_count) == ('less', float('inf'), 0)
    for score in (2.0, 1.0, 3.0):
        hook.after_val_epoch(runner, dict(loss=score))
    assert (hook.best_score, hook.wait_count) == (1.0, 1)
    with pytest.raises(RuntimeError, match='is not among the metrics'):
        hook.after_val_epoch(runner, {})
    with pytest.raises(ValueError, match='cannot be told'):
        EarlyStoppingHook('score')
    with pytest.raises(AssertionError, match='object has no attribute stop_training'):
        hook.before_run(SimpleNamespace(train_loop=object()))


def test_an_evaluation_alone_builds_no_training(tmp_path):
    runner = build(toy_config(tmp_path, custom_hooks=[dict(type='EarlyStoppingHook', monitor='error')]))
    runner.val()
    assert isinstance(runner._train_loop, dict)

"""Stop a training whose metric does not get better any more, also across interruptions."""

import math
import warnings
from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmopt.engine.loops.measure import score_of
from mmopt.registry import HOOKS
from mmopt.utils.errors import ConfigWarning, UserError
from mmopt.utils.score_rule import score_rule

__all__ = ['EarlyStoppingHook']

_STATE = 'early_stopping'


class _RuleError(UserError, ValueError):
    pass


class _MetricError(UserError, RuntimeError):
    pass


class _LoopError(UserError, AssertionError):
    pass


@HOOKS.register_module()
class EarlyStoppingHook(Hook):
    """Stop after ``patience`` evaluations in a row without a better score.

    MMEngine's hook of this name forgets its count when a run is resumed: a run that is stopped and continued daily
    never ends by it. Here count and best score travel in the checkpoint. They are the attributes ``wait_count`` and
    ``best_score``, and errors are of the kinds that MMEngine's are.

    Args:
        monitor: Name of the metric.
        rule: ``'greater'`` or ``'less'``; by default told from the name.
        min_delta: Least gain over the best score so far that counts; no gain never counts.
        strict: Fail when an evaluation does not have the metric, and not only warn.
        check_finite: End the run when the score is infinite or no number.
        patience: Evaluations without a better score after which the run ends; 0 means the same as 1.
        stopping_threshold: The run ends as soon as a score is better than this; None for never.

    Raises:
        UserError: If the rule cannot be told, or patience or min_delta is out of range.
    """

    # Before the checkpoint hook: what it saves as the best must know of this evaluation.
    priority = 'LOW'

    def __init__(
        self,
        monitor: str,
        rule: str | None = None,
        min_delta: float = 0.1,
        strict: bool = False,
        check_finite: bool = True,
        patience: int = 5,
        stopping_threshold: float | None = None,
    ) -> None:
        rule = rule or score_rule(monitor)
        if rule not in ('greater', 'less'):
            raise _RuleError(
                f'EarlyStoppingHook: whether more or less of {monitor!r} is better cannot be told; write '
                f"rule='greater' or rule='less' (got {rule!r})."
            )
        if patience < 0 or min_delta < 0:
            raise _RuleError(
                f'EarlyStoppingHook: patience and min_delta must be at least 0, got {patience}, {min_delta}.'
            )
        self.monitor = monitor
        self.rule = rule
        self.sign = 1.0 if rule == 'greater' else -1.0
        self.min_delta = min_delta
        self.strict = strict
        self.patience = patience
        self.stopping_threshold = stopping_threshold
        self.check_finite = check_finite
        self.wait_count = 0
        self.best_score: Any = -self.sign * math.inf

    def before_run(self, runner: Runner) -> None:
        """Look whether the loop can be stopped."""
        loop = _train_loop(runner)
        if loop is not None and not hasattr(loop, 'stop_training'):
            raise _LoopError(
                f'EarlyStoppingHook: {type(loop).__name__} has no attribute stop_training, so nothing would end it.'
            )

    def before_train(self, runner: Runner) -> None:
        """Take up the count of a resumed run; one that had stopped stays stopped."""
        state = runner.message_hub.get_info(_STATE)
        if state is None or state['monitor'] != self.monitor:
            return
        self.wait_count = state['waited']
        if state['best'] is not None:
            self.best_score = state['best']
        if self._has_waited():
            runner.train_loop.stop_training = True
            runner.logger.info(
                f'{self.monitor} had not got better in {self.wait_count} evaluations when this checkpoint was '
                'written: nothing more to train. A larger patience of EarlyStoppingHook goes on.'
            )

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, Any] | None = None) -> None:
        """Compare the score with the best one."""
        loop = _train_loop(runner)
        if loop is None:
            return
        metrics = metrics or {}
        if self.monitor not in metrics:
            text = (
                f'EarlyStoppingHook: monitor={self.monitor!r} is not among the metrics of the evaluation: '
                f'{", ".join(metrics) or "none"}.'
            )
            if self.strict:
                raise _MetricError(text)
            warnings.warn(f'{text} It does not count.', ConfigWarning, stacklevel=2)
            return
        score = score_of(metrics, self.monitor, f'EarlyStoppingHook: monitor={self.monitor!r}')
        if math.isfinite(score) and self._is_better(score, float(self.best_score)):
            self.best_score, self.wait_count = metrics[self.monitor], 0
        else:
            self.wait_count += 1
        best = float(self.best_score)
        known = best if math.isfinite(best) else None
        runner.message_hub.update_info(_STATE, dict(monitor=self.monitor, best=known, waited=self.wait_count))
        reason = self._reason(score, known)
        if reason:
            loop.stop_training = True
            runner.logger.info(f'Stopping early: {reason}.')

    def _has_waited(self) -> bool:
        return self.wait_count >= max(self.patience, 1)

    def _is_better(self, score: float, best: float) -> bool:
        # MMEngine's very comparison: 0.3 - 0.2 is less than 0.1, and 0.2 + 0.1 more than 0.3.
        return self.sign * (score - (best + self.sign * self.min_delta)) >= 0 and score != best

    def _reason(self, score: float, best: float | None) -> str | None:
        if self.check_finite and not math.isfinite(score):
            return f'{self.monitor} is {score}'
        if self.stopping_threshold is not None and self.sign * (score - self.stopping_threshold) > 0:
            return f'{self.monitor} {score:.4f} has passed the threshold {self.stopping_threshold}'
        if self._has_waited():
            seen = 'was never a number' if best is None else f'has not passed {best:.4f}'
            return f'{self.monitor} {seen} in the last {self.wait_count} evaluations'
        return None


def _train_loop(runner: Runner) -> Any:
    """Return the training's loop; None in a run that only evaluates, which has not built one."""
    planned = getattr(runner, '_train_loop', runner)  # a stand-in for a runner has the loop alone
    return None if planned is None or isinstance(planned, Mapping) else runner.train_loop

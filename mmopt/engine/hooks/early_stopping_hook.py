"""Stop a training whose metric does not get better any more, also across interruptions."""

import math
from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmopt.engine.loops.measure import score_of
from mmopt.registry import HOOKS
from mmopt.utils.errors import UserError
from mmopt.utils.score_rule import score_rule

__all__ = ['EarlyStoppingHook']

_STATE = 'early_stopping'


@HOOKS.register_module()
class EarlyStoppingHook(Hook):
    """Stop after ``patience`` evaluations in a row without a better score.

    MMEngine's hook of this name forgets its count when a run is resumed: a run that is stopped and continued daily
    never ends by it. Here count and best score travel in the checkpoint.

    Args:
        monitor: Name of the metric.
        rule: ``'greater'`` or ``'less'``; by default told from the name.
        min_delta: Least gain over the best score so far that counts; no gain never counts.
        strict: Fail when an evaluation does not have the metric, and not only warn.
        check_finite: End the run when the score is infinite or no number.
        patience: Evaluations without a better score after which the run ends.
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
            raise UserError(
                f'EarlyStoppingHook: whether more or less of {monitor!r} is better cannot be told; write '
                f"rule='greater' or rule='less' (got {rule!r})."
            )
        if patience < 1 or min_delta < 0:
            raise UserError(
                f'EarlyStoppingHook: patience must be at least 1 and min_delta at least 0, got {patience}, {min_delta}.'
            )
        self.monitor = monitor
        self.sign = 1.0 if rule == 'greater' else -1.0
        self.min_delta = min_delta
        self.strict = strict
        self.patience = patience
        self.stopping_threshold = stopping_threshold
        self.check_finite = check_finite
        self._training = False

    def before_train(self, runner: Runner) -> None:
        """Take up the count of a resumed run; one that had stopped stays stopped."""
        self._training = True
        state = runner.message_hub.get_info(_STATE)
        if state is not None and state['monitor'] == self.monitor and state['waited'] >= self.patience:
            runner.train_loop.stop_training = True
            runner.logger.info(
                f'{self.monitor} had not got better in {state["waited"]} evaluations when this checkpoint was written: '
                'nothing more to train. A larger patience of EarlyStoppingHook goes on.'
            )

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, Any] | None = None) -> None:
        """Compare the score with the best one."""
        if not self._training:
            return
        metrics = metrics or {}
        if self.monitor not in metrics:
            text = (
                f'EarlyStoppingHook: monitor={self.monitor!r} is not among the metrics of the evaluation: '
                f'{", ".join(metrics) or "none"}.'
            )
            if self.strict:
                raise UserError(text)
            runner.logger.warning(f'{text} It does not count.')
            return
        score = score_of(metrics, self.monitor, f'EarlyStoppingHook: monitor={self.monitor!r}')
        state = runner.message_hub.get_info(_STATE)
        best, waited = None, 0
        if state is not None and state['monitor'] == self.monitor:
            best, waited = state['best'], state['waited']
        if math.isfinite(score) and (best is None or self._is_better(score, best)):
            best, waited = score, 0
        else:
            waited += 1
        runner.message_hub.update_info(_STATE, dict(monitor=self.monitor, best=best, waited=waited))
        reason = self._reason(score, best, waited)
        if reason:
            runner.train_loop.stop_training = True
            runner.logger.info(f'Stopping early: {reason}.')

    def _is_better(self, score: float, best: float) -> bool:
        # MMEngine's very comparison: 0.3 - 0.2 is less than 0.1, and 0.2 + 0.1 more than 0.3.
        return self.sign * (score - (best + self.sign * self.min_delta)) >= 0 and score != best

    def _reason(self, score: float, best: float | None, waited: int) -> str | None:
        if self.check_finite and not math.isfinite(score):
            return f'{self.monitor} is {score}'
        if self.stopping_threshold is not None and self.sign * (score - self.stopping_threshold) > 0:
            return f'{self.monitor} {score:.4f} has passed the threshold {self.stopping_threshold}'
        if waited >= self.patience:
            seen = 'was never a number' if best is None else f'has not passed {best:.4f}'
            return f'{self.monitor} {seen} in the last {waited} evaluations'
        return None

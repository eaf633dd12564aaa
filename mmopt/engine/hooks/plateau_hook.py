"""Warn when a run no longer gets better: the loss, or the metric that chooses the best checkpoint."""

import math
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmopt.engine.hooks.checkpoint_hook import CheckpointHook
from mmopt.engine.hooks.logger_hook import logs_now
from mmopt.registry import HOOKS

__all__ = ['Plateau', 'PlateauHook']


class Plateau:
    """Tell when a quantity has not improved for a while; once per plateau.

    Args:
        patience: Values without an improvement.
        min_gain: Least relative improvement that counts, against noise.
        greater: Whether more is better.
    """

    def __init__(self, patience: int, min_gain: float, *, greater: bool) -> None:
        self.patience = patience
        self.min_gain = min_gain
        self.sign = 1 if greater else -1
        self.best: float | None = None
        self.best_at = 0
        self._num_since = 0

    def update(self, value: float, at: int) -> bool:
        """Take the next value.

        Args:
            value: The value; what is not finite counts as no improvement.
            at: Where it was measured.

        Returns:
            True at the one value that makes it a plateau.
        """
        gain = math.inf if self.best is None else self.sign * (value - self.best)
        if math.isfinite(value) and (self.best is None or gain > self.min_gain * abs(self.best)):
            self.best, self.best_at, self._num_since = value, at, 0
            return False
        self._num_since += 1
        return self._num_since == self.patience


@HOOKS.register_module()
class PlateauHook(Hook):
    """Warn when the loss or the best metric stands still.

    The loss is the mean since the last log line. The metric is the one that chooses the best checkpoint
    (``evaluation.save_best``); without one only the loss is watched.

    Args:
        loss_patience: Log lines without a new best loss.
        metric_patience: Evaluations without a new best metric.
        min_gain: Least relative improvement of the loss that counts.

    Raises:
        ValueError: If a patience is not positive.
    """

    # After RuntimeInfoHook, which brings the losses to the message hub.
    priority = 'NORMAL'

    def __init__(self, loss_patience: int = 50, metric_patience: int = 5, min_gain: float = 1e-3) -> None:
        if loss_patience < 1 or metric_patience < 1:
            raise ValueError(f'PlateauHook: a patience must be positive, got {loss_patience} and {metric_patience}.')
        self._loss = Plateau(loss_patience, min_gain, greater=False)
        self._metric: Plateau | None = None
        self.metric_patience = metric_patience
        self._last_line = 0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Judge the loss when a log line is due."""
        if not logs_now(runner, batch_idx) or 'train/loss' not in runner.message_hub.log_scalars:
            return
        done = runner.iter + 1
        mean = float(runner.message_hub.get_scalar('train/loss').mean(max(done - self._last_line, 1)))
        self._last_line = done
        if self._loss.update(mean, done):
            runner.logger.warning(
                f'The loss has not improved since iteration {self._loss.best_at} ({self._loss.best:.4g}, now '
                f'{mean:.4g}, {self._loss.patience} log lines): lower the learning rate, or stop here.'
            )

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Judge the metric."""
        metrics = metrics or {}
        watched = _watched(runner, metrics)
        if watched is None:
            return
        name, rule = watched
        if self._metric is None:
            self._metric = Plateau(self.metric_patience, 0.0, greater=rule == 'greater')
        if self._metric.update(float(metrics[name]), runner.iter):
            runner.logger.warning(
                f'{name} has not improved over {self.metric_patience} evaluations (best {self._metric.best:.4g} at '
                f'iteration {self._metric.best_at}): the best checkpoint has it; stopping early saves the rest.'
            )


def _watched(runner: Runner, metrics: dict[str, float]) -> tuple[str, str] | None:
    """Return the metric that chooses the best checkpoint, and whether more or less of it is better."""
    for hook in runner.hooks:
        for name, rule in zip(hook.key_indicators, hook.rules, strict=True) if isinstance(hook, CheckpointHook) else ():
            for key in metrics:
                # MMEngine's prefix: coco/bbox_mAP
                if rule is not None and (key == name or key.rsplit('/', 1)[-1] == name):
                    return key, rule
    return None

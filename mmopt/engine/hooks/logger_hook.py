"""When a log line is written: mmcv's points, and the run's last iteration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.hooks import LoggerHook as _LoggerHook
from mmengine.runner import Runner

from mmopt.config.evaluation import main_metric
from mmopt.config.spelling import spelled
from mmopt.engine.logging.console import evaluation_line, loss_of, training_line
from mmopt.registry import HOOKS
from mmopt.utils.numbers import is_number
from mmopt.utils.score_rule import score_rule

__all__ = ['LoggerHook', 'logs_now']


@HOOKS.register_module()
class LoggerHook(_LoggerHook):
    """Write a line every ``interval`` iterations (inside each epoch in epoch-based runs) and at the run's end.

    Epochs that are shorter than the interval get a line each, at their end.

    It comes after the other hooks of an iteration, as in mmcv: what they log is in the line of that iteration.

    Args:
        interval: Iterations between two lines.
        ignore_last: Epoch-based runs: no extra line for the epoch's rest.
        interval_exp_name: Iterations between two lines with the name of the run.
        by_epoch: Epoch-based runs: count the interval inside each epoch; False counts it over the run.
        **kwargs: Passed on to :class:`mmengine.hooks.LoggerHook`.

    Raises:
        ValueError: If ``interval`` is not positive.
    """

    priority = 'VERY_LOW'

    def __init__(
        self,
        interval: int = 10,
        ignore_last: bool = True,
        interval_exp_name: int = 1000,
        *,
        by_epoch: bool = True,
        **kwargs,
    ) -> None:
        if isinstance(interval, int) and interval < 1:  # MMEngine refuses what is no whole number
            raise ValueError(f'{spelled("default_hooks.logger.interval")} must be at least 1, got {interval}.')
        super().__init__(interval, ignore_last, interval_exp_name, **kwargs)
        self.by_epoch = by_epoch
        self._loss: float | None = None
        self._best: float | None = None

    def is_due(self, runner: Runner, batch_idx: int) -> bool:
        """Tell whether this iteration gets a line."""
        iters = runner.iter + 1
        if iters == runner.max_iters:
            return True
        # In an iteration-based run batch_idx is the global iteration.
        count = batch_idx + 1 if self.by_epoch else iters
        if count % self.interval == 0:
            return True
        # A loop of a library does not say what it counts; MMEngine logs where an epoch would end in any.
        if getattr(runner.train_loop, 'unit', 'epoch') == 'iter':
            return False
        # mmcv logs nothing of an epoch that is shorter than its interval, so nothing at all until the run's end.
        loader = runner.train_dataloader
        fits = not self.by_epoch or self.interval <= len(loader)
        return not (self.ignore_last and fits) and self.end_of_epoch(loader, batch_idx)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Write the line when it is due."""
        if self.every_n_train_iters(runner, self.interval_exp_name):
            runner.logger.info(f'Exp name: {runner.experiment_name}')
        if not self.is_due(runner, batch_idx):
            return
        tag, line = runner.log_processor.get_log_after_iter(runner, batch_idx, 'train')
        runner.logger.info(line, extra=self._short_training(runner, tag))
        runner.visualizer.add_scalars(tag, step=runner.iter + 1, file_path=self.json_log_path)

    def _short_training(self, runner: Runner, scalars: Mapping[str, Any]) -> dict[str, str]:
        """Return the record's text for the terminal."""
        place = f'{runner.iter + 1}/{runner.max_iters}'
        if getattr(runner.train_loop, 'unit', 'iter') == 'epoch':
            place = f'epoch {runner.epoch + 1}  {place}'
        previous, self._loss = self._loss, loss_of(scalars)
        left_s = runner.message_hub.runtime_info.get('eta')
        return dict(short=training_line(place, scalars, previous, left_s if is_number(left_s) else None))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the metrics; the terminal shows the one that chooses the best checkpoint, and a few beside it."""
        tag, line = runner.log_processor.get_log_after_epoch(runner, len(runner.val_dataloader), 'val')
        runner.logger.info(line, extra=self._short_evaluation(runner, metrics or {}))
        has_loop = not (isinstance(runner._train_loop, dict) or runner._train_loop is None)  # asking would build it
        step = (runner.epoch if self.log_metric_by_epoch else runner.iter) if has_loop else 0
        runner.visualizer.add_scalars(tag, step=step, file_path=self.json_log_path)

    def _short_evaluation(self, runner: Runner, metrics: Mapping[str, Any]) -> dict[str, str]:
        numbers = {key: float(value) for key, value in metrics.items() if is_number(value)}
        main = main_metric(runner.cfg, numbers)
        rule = ((runner.cfg.get('default_hooks') or {}).get('checkpoint') or {}).get('rule')
        if main is None:
            return {}
        rule = rule or score_rule(main) or 'greater'
        value, best = numbers[main], self._best
        if best is None:  # of the part before, in a resumed run
            best = runner.message_hub.runtime_info.get('best_score')
        self._best = value if best is None else min(value, best) if rule == 'less' else max(value, best)
        has_loop = not (isinstance(runner._train_loop, dict) or runner._train_loop is None)
        place = f'at {runner.iter}' if has_loop else ''
        return dict(short=evaluation_line(place, numbers, main, best, rule=rule))

    def after_run(self, runner: Runner) -> None:
        """Copy the files of the run to ``out_dir``, the log among them: it does not lie where MMEngine has it."""
        super().after_run(runner)
        log = Path(runner.work_dir, f'{runner.timestamp}.log')
        suffixes = (self.out_suffix,) if isinstance(self.out_suffix, str) else tuple(self.out_suffix)
        if self.out_dir is None or not log.is_file() or not log.name.endswith(suffixes):
            return
        text = log.read_text(encoding='utf-8')
        self.file_backend.put_text(text, self.file_backend.join_path(self.out_dir, log.name))
        if not self.keep_local:
            log.unlink()


def logs_now(runner: Runner, batch_idx: int) -> bool:
    """Tell whether any logger of the run writes a line after this iteration; several hooks ask in each."""
    asked = (runner.iter, len(runner.hooks))  # a hook may be registered late
    known = getattr(runner, '_log_due', None)
    if known is None or known[0] != asked:
        due = any(hook.is_due(runner, batch_idx) for hook in runner.hooks if isinstance(hook, LoggerHook))
        known = runner._log_due = (asked, due)
    return known[1]

"""What a user sees while waiting: when the run will end, and a bar over a test."""

import time
from datetime import datetime, timedelta
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from tqdm import tqdm

from mmopt.utils.terminal import number, seconds

__all__ = ['ProgressBar', 'ProjectedEnd']


class ProjectedEnd(Hook):
    """Log once, from the first measured iterations, when the training will end (evaluations not counted).

    Args:
        warmup: Iterations that are not measured: they compile, autotune and fill caches.
        measured: Iterations that are.
    """

    # After LoggerHook, so that the line stands below that of its iteration.
    priority = 'VERY_LOW'

    def __init__(self, warmup: int = 3, measured: int = 7) -> None:
        self.warmup = warmup
        self.measured = measured
        self._seen = 0
        self._since = 0.0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Measure, and say it."""
        if self._seen > self.warmup + self.measured:
            return
        self._seen += 1
        if self._seen == self.warmup:
            self._since = time.perf_counter()
        if self._seen != self.warmup + self.measured:
            return
        per_iter_s = (time.perf_counter() - self._since) / self.measured
        left_s = (runner.max_iters - runner.iter - 1) * per_iter_s
        end = datetime.now() + timedelta(seconds=left_s)
        when = f'{end:%H:%M}' if left_s < 12 * 3600 else f'{end:%Y-%m-%d %H:%M}'
        runner.logger.info(
            f'{number(per_iter_s, 3)} s per iteration: {seconds(left_s)} to go, until about {when}, evaluations apart.'
        )


class ProgressBar(Hook):
    """A bar over the test loop; silent where standard error is no terminal."""

    def before_test_epoch(self, runner: Runner) -> None:
        """Open it."""
        self._bar = tqdm(total=len(runner.test_dataloader), desc='test', unit='batch', disable=None, leave=False)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Move it on."""
        self._bar.update()

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Close it."""
        self._bar.close()

"""What a training log line averages over: as in mmcv 1.x every quantity, never across an epoch's end or an evaluation.

MMEngine averages only what is named like a loss, a time or a gradient norm, over a window that knows no epochs.
"""

import re

from mmengine.runner import LogProcessor as _LogProcessor
from mmengine.runner import Runner

from mmopt.registry import LOG_PROCESSORS

__all__ = ['LogProcessor']

_MMENGINE_PATTERN = r'.*(loss|time|data_time|grad_norm).*'
# States, not measurements: the line shows their latest value.
_TRAIN_PATTERN = r'^(?!(.*/)?(lr|base_lr|momentum|memory|mem_\w+|gpu_busy|micro_batch|loss_scale|num_skipped_steps)$)'


@LOG_PROCESSORS.register_module()
class LogProcessor(_LogProcessor):
    """MMEngine's, with mmcv's averages in training.

    Args:
        window_size: Iterations to average over: the log interval.
        by_epoch: Whether lines are numbered by epoch.
        custom_cfg: Other ways to average a quantity, and over how long; MMEngine's.
        num_digits: Digits after the point.
        log_with_hierarchy: Write ``train/loss``, not ``loss``.
        mean_pattern: Names of the quantities to average, a regular expression; None: in training all that are
            measured, in evaluations MMEngine's.
    """

    window_size: int
    mean_pattern: re.Pattern

    def __init__(
        self,
        window_size: int = 10,
        by_epoch: bool = True,
        custom_cfg: list[dict] | None = None,
        num_digits: int = 4,
        log_with_hierarchy: bool = False,
        mean_pattern: str | None = None,
    ) -> None:
        super().__init__(
            window_size, by_epoch, custom_cfg, num_digits, log_with_hierarchy, mean_pattern or _MMENGINE_PATTERN
        )
        self._train_pattern = re.compile(mean_pattern or _TRAIN_PATTERN)

    def get_log_after_iter(self, runner: Runner, batch_idx: int, mode: str) -> tuple[dict, str]:
        """Return the scalars and the text of one line."""
        if mode != 'train':
            return super().get_log_after_iter(runner, batch_idx, mode)
        usual = self.window_size, self.mean_pattern
        # mmcv empties its buffer there. Loops of other libraries do not count.
        since = getattr(runner.train_loop, 'iters_since_break', None)
        window = max(min(self.window_size, since), 1) if isinstance(since, int) else self.window_size
        self.window_size, self.mean_pattern = window, self._train_pattern
        try:
            return super().get_log_after_iter(runner, batch_idx, mode)
        finally:
            self.window_size, self.mean_pattern = usual

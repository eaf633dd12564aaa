"""Pictures that metrics draw of an evaluation: confusion matrices and the like."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import cv2
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmopt.registry import HOOKS
from mmopt.utils.optional import run_optional

__all__ = ['MetricPicturesHook']

_warn = partial(print_log, logger='current', level=logging.WARNING)


@HOOKS.register_module()
class MetricPicturesHook(Hook):
    """Write what the metrics draw: ``<work_dir>/<name>.png`` after a validation, ``<name>_test.png`` after a test.

    A metric draws if it has a method ``draw() -> dict[str, uint8 RGB picture]``. One that fails is logged: no training
    ends for a picture.
    """

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        """Write the pictures of the validation."""
        self._write(runner, runner.val_loop.evaluator.metrics, '')

    def after_test_epoch(self, runner, metrics: dict | None = None) -> None:
        """Write the pictures of the test."""
        self._write(runner, runner.test_loop.evaluator.metrics, '_test')

    def _write(self, runner: Runner, metrics: list, suffix: str) -> None:
        if not is_main_process():
            return
        for metric in metrics:
            if hasattr(metric, 'draw'):
                what = f'pictures of {type(metric).__name__}'
                run_optional(what, _warn, self._draw, metric, Path(runner.work_dir), suffix)

    @staticmethod
    def _draw(metric: Any, folder: Path, suffix: str) -> None:
        for name, picture in metric.draw().items():
            if not cv2.imwrite(str(folder / f'{name}{suffix}.png'), picture[..., ::-1]):
                raise OSError(f'{folder / f"{name}{suffix}.png"} cannot be written')

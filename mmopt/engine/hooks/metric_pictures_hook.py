"""Pictures that metrics draw of an evaluation: confusion matrices and the like."""

from pathlib import Path

import cv2
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from mmopt.registry import HOOKS

__all__ = ['MetricPicturesHook']


@HOOKS.register_module()
class MetricPicturesHook(Hook):
    """Write what the metrics draw: ``<work_dir>/<name>.png`` after a validation, ``<name>_test.png`` after a test.

    A metric draws if it has a method ``draw() -> dict[str, uint8 RGB picture]``.
    """

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        """Write the pictures of the validation."""
        self._write(runner.val_loop.evaluator.metrics, Path(runner.work_dir), '')

    def after_test_epoch(self, runner, metrics: dict | None = None) -> None:
        """Write the pictures of the test."""
        self._write(runner.test_loop.evaluator.metrics, Path(runner.work_dir), '_test')

    def _write(self, metrics: list, folder: Path, suffix: str) -> None:
        if not is_main_process():
            return
        for metric in metrics:
            for name, picture in metric.draw().items() if hasattr(metric, 'draw') else ():
                cv2.imwrite(str(folder / f'{name}{suffix}.png'), picture[..., ::-1])

"""Pictures that a run ends with: files in its work dir, and images in the loggers of its config."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend, MLflowVisBackend
from mmengine.visualization.vis_backend import BaseVisBackend

from mmopt.apis.pictures.save import can_draw, save_pictures
from mmopt.engine import IterBasedRunner
from mmopt.utils.optional import run_optional

__all__ = ['RunPictures']


class RunPictures(Hook):
    """Draw samples of the validation set when the training is over, and hand them to the loggers.

    All checkpoints are written by then. A picture or a logger that fails is logged and ends no run.

    Args:
        count: Pictures; 0 for none.
        before: Called first: saves what must not be lost to a picture.

    Attributes:
        folder: Where the pictures lie; None as long as there are none.
    """

    # Before LoggerHook, whose after_run closes the loggers.
    priority = 'LOW'

    def __init__(self, count: int, before: Callable[[], object]) -> None:
        self.count = count
        self.before = before
        self.folder: Path | None = None

    def after_run(self, runner: Runner) -> None:
        """Draw and hand on; only where a training has ended."""
        self.before()
        files = run_optional('pictures', runner.logger.warning, self._draw, runner)
        if files:
            self.folder = files[0].parent
            _log_pictures(runner, files)

    def _draw(self, runner: Runner) -> list[Path]:
        if runner.val_loop is None or not self.count or not is_main_process():
            return []
        loader = runner.val_dataloader
        if not isinstance(runner, IterBasedRunner) or not can_draw(loader.dataset, runner.cfg):
            return []
        return save_pictures(
            runner, loader.dataset, loader.collate_fn, Path(runner.cfg.work_dir, 'pictures'), self.count
        )


def _log_pictures(runner: Runner, files: list[Path]) -> None:
    for backend in runner.visualizer._vis_backends.values():
        if isinstance(backend, LocalVisBackend):  # it would write the same files into another folder
            continue
        what = f'pictures of {type(backend).__name__}'
        run_optional(what, runner.logger.warning, _hand_on, backend, files, runner.iter)


def _hand_on(backend: BaseVisBackend, files: list[Path], step: int) -> None:
    # MLflow stores an image as a file, whose format it takes from the name.
    suffix = '.png' if isinstance(backend, MLflowVisBackend) else ''
    for file in files:
        picture: Any = cv2.imread(str(file))
        backend.add_image(f'pictures/{file.stem}{suffix}', cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), step)

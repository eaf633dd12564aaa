"""Metrics and pictures of a checkpoint: what ``tools/test.py`` calls."""

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process

from mmopt.apis.pictures.save import NUM_PICTURES, save_pictures
from mmopt.apis.run.progress import ProgressBar
from mmopt.apis.run.start import build_runner, check_there
from mmopt.config.spelling import spelled
from mmopt.utils.errors import UserError

__all__ = ['evaluate', 'scalars']


def scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Keep what is one number."""
    # Tensors and NumPy's scalars have item(); lists and arrays are for the log only.
    plain = {key: value.item() if getattr(value, 'shape', None) == () else value for key, value in metrics.items()}
    return {key: value for key, value in plain.items() if isinstance(value, int | float)}


def evaluate(
    cfg: Config, checkpoint: str, *, show_dir: str | None = None, num_pictures: int = NUM_PICTURES
) -> dict[str, float]:
    """Compute the metrics of a checkpoint, and draw pictures.

    Args:
        cfg: A lowered config.
        show_dir: Where pictures go; None for none.
        num_pictures: Pictures, spread over the test set.

    Returns:
        The scalar metrics.

    Raises:
        UserError: If the checkpoint is missing or the config tests nothing.
    """
    if not cfg.get('test_dataloader') or not cfg.get('test_evaluator'):
        raise UserError(
            f'{cfg.filename}: the config has no {spelled("test_dataloader.dataset")} or no '
            f'{spelled("test_evaluator")}, so there is nothing to test.'
        )
    check_there(checkpoint)
    cfg.load_from, cfg.resume = checkpoint, False
    cfg.pop('auto_resume', None)
    runner = build_runner(cfg)
    runner.register_hook(ProgressBar())
    metrics = scalars(runner.test())
    if show_dir is not None and is_main_process():
        loader = runner.test_dataloader
        save_pictures(runner, loader.dataset, loader.collate_fn, show_dir, num_pictures)
    return metrics

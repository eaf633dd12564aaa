"""Metrics and pictures of a checkpoint: what ``tools/test.py`` calls."""

from collections.abc import Callable, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process

from mmopt.apis.pictures.save import NUM_PICTURES, save_pictures
from mmopt.apis.run.progress import ProgressBar
from mmopt.apis.run.start import build_runner, check_there
from mmopt.config.spelling import spelled
from mmopt.registry import METRICS
from mmopt.utils.errors import UserError
from mmopt.utils.numbers import is_number
from mmopt.utils.optional import run_optional, warn

__all__ = ['evaluate', 'scalars', 'table_notes']


def scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Keep what is one number; lists and arrays are for the log only."""
    return {str(key): value for key, value in metrics.items() if is_number(value) or isinstance(value, bool)}


def table_notes(evaluator: Any) -> dict[str, str]:
    """Collect what the metrics of a config say about their tables, in their attribute ``TABLE_NOTES``.

    Args:
        evaluator: ``val_evaluator`` or ``test_evaluator`` of a lowered config.

    Returns:
        Notes by name of the table, e.g. ``F1`` for ``F1.attack``, ``F1.rear``.
    """
    entries = evaluator.get('metrics', [evaluator]) if isinstance(evaluator, Mapping) else evaluator or []
    notes: dict[str, str] = {}
    for entry in [entries] if isinstance(entries, Mapping) else entries:
        kind, prefix = (entry.get(key) for key in ('type', 'prefix')) if isinstance(entry, Mapping) else (entry, None)
        kind = METRICS.get(kind) if isinstance(kind, str) else kind
        own = getattr(kind, 'TABLE_NOTES', {})
        notes |= {f'{prefix}/{name}' if prefix else name: text for name, text in own.items()}
    return notes


def evaluate(
    cfg: Config,
    checkpoint: str,
    *,
    show_dir: str | None = None,
    num_pictures: int = NUM_PICTURES,
    report: Callable[[dict[str, float]], None] = lambda metrics: None,
) -> dict[str, float]:
    """Compute the metrics of a checkpoint, and then draw pictures: without them, if that fails.

    Args:
        cfg: A lowered config.
        show_dir: Where pictures go; None for none.
        num_pictures: Pictures, spread over the test set.
        report: Called with the metrics before a picture is drawn.

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
    cfg.pop('load_from_sha256', None)  # of the weights that the training began with
    runner = build_runner(cfg)
    runner.register_hook(ProgressBar())
    metrics = scalars(runner.test())
    report(metrics)
    if show_dir is not None and is_main_process():
        loader = runner.test_dataloader
        run_optional('pictures', warn, save_pictures, runner, loader.dataset, loader.collate_fn, show_dir, num_pictures)
    return metrics

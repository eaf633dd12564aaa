"""The model that is exported, and what a user of its graph has to know."""

from logging import WARNING
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmopt.apis.run.facts import model_config
from mmopt.engine import checkpoint_io
from mmopt.registry import DATASETS, MODELS
from mmopt.utils.host import limit_threads

__all__ = ['input_facts', 'load_model']


def load_model(cfg: Config, checkpoint: str | Path | None, *, allow_pickle: bool = False) -> nn.Module:
    """Build a model for evaluation on the CPU.

    Args:
        cfg: A lowered config; its ``allow_partial`` and ``strip_prefix`` say how weights may fit.
        checkpoint: The weights; None leaves those that the model is built with.
        allow_pickle: See :func:`mmopt.engine.checkpoint_io.load`.

    Returns:
        The model.

    Raises:
        UserError: If the weights cannot be read or do not fit.
    """
    limit_threads()  # it is timed, too
    init_default_scope(cfg.get('default_scope', 'mmopt'))
    model = MODELS.build(model_config(cfg)).eval()
    if checkpoint is not None:
        report = checkpoint_io.load_weights(
            model,
            checkpoint,
            strict=not cfg.get('allow_partial', False),
            allow_pickle=allow_pickle,
            strip_prefix=cfg.get('strip_prefix'),
        )
        if not report.complete:
            print_log(f'{checkpoint}: what does not fit the model was left out:\n{report.table()}', 'current', WARNING)
    return model


def input_facts(cfg: Config, model: nn.Module) -> dict[str, Any]:
    """Return how the inputs of a bare network are normalized, and the classes."""
    preprocessor: Any = getattr(model, 'data_preprocessor', None)
    facts: dict[str, Any] = dict(config=Path(cfg.filename).name if cfg.filename else '')
    if hasattr(preprocessor, 'mean_C11') and hasattr(preprocessor, 'scale_C11'):
        facts |= dict(
            mean=preprocessor.mean_C11.flatten().tolist(), std=(1 / preprocessor.scale_C11).flatten().tolist()
        )
    elif isinstance(getattr(preprocessor, 'mean', None), Tensor) and isinstance(preprocessor.std, Tensor):
        # MMEngine's; what it is given are the channels as the pipeline decodes them.
        facts |= dict(mean=preprocessor.mean.flatten().tolist(), std=preprocessor.std.flatten().tolist())
        facts |= dict(channel_conversion=bool(getattr(preprocessor, '_channel_conversion', False)))
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    classes = (dataset.get('metainfo') or {}).get('classes')
    if classes is None and isinstance(dataset.get('type'), str):
        classes = getattr(DATASETS.get(dataset['type']), 'METAINFO', {}).get('classes')
    return facts | (dict(classes=list(classes)) if classes else {})

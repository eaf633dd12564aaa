"""What an exported file says of itself, so that it is used without the config and the checkpoint."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

import mmopt
from mmopt.apis.export.example import loads_truth
from mmopt.engine import checkpoint_io
from mmopt.engine.resume.saved_config import plain

__all__ = ['file_facts', 'trained_on']


def trained_on(checkpoint: str | Path | None, *, allow_pickle: bool = False) -> dict[str, Any]:
    """Return the metainfo of the data that a checkpoint was trained on; empty where it does not say."""
    if checkpoint is None:
        return {}
    return dict(checkpoint_io.load(checkpoint, allow_pickle=allow_pickle)['meta'].get('dataset_meta') or {})


def file_facts(
    cfg: Config,
    checkpoint: str | Path | None,
    model: nn.Module,
    section: Mapping[str, Any],
    trained: Mapping[str, Any],
    classes: Sequence[str],
) -> dict[str, Any]:
    """Return what a user of the file has to know beside its inputs and outputs.

    Args:
        cfg: A lowered config.
        checkpoint: The weights.
        model: Whose class names the graph.
        section: The test data set with the pipeline in front of the graph.
        trained: See :func:`trained_on`.
        classes: Names, by class number.

    Returns:
        Values that JSON takes.
    """
    loader = dict(cfg.get('test_dataloader') or {})
    loader = dict(batch_size=loader.get('batch_size', 1), collate_fn=loader.get('collate_fn'))
    predict = dict(
        default_scope=cfg.get('default_scope', 'mmopt'),
        test_dataloader=dict(loader, dataset=_without_place(section)),
        test_evaluator=cfg.get('test_evaluator') or cfg.get('val_evaluator'),
        custom_imports=cfg.get('custom_imports'),
        dataset_meta=dict(trained),
    )
    deciding = plain([cfg.get('model'), cfg.get('data_preprocessor'), section])
    return dict(
        format=1,
        mmopt=mmopt.__version__,
        torch=torch.__version__,
        model=type(model).__name__,
        config=Path(cfg.filename).name if cfg.filename else '',
        config_sha256=hashlib.sha256(repr(deciding).encode()).hexdigest(),
        checkpoint=None if checkpoint is None else Path(checkpoint).name,
        classes=list(classes),
        color_order='RGB',
        pre_step=_as_json([step for step in section.get('pipeline') or [] if not loads_truth(step)]),
        predict=_as_json(predict),
    )


def _without_place(section: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out where the data lies: it is of no use elsewhere, and may be nobody's business."""
    return dict(section, data_root='') if 'data_root' in section else dict(section)


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(plain(value), default=str))

"""Test-time augmentation: a config whose model also looks at mirror images and other sizes.

A model class takes part with ``tta_options``, arguments of its constructor, or says in ``tta_reason`` why not. Models
of OpenMMLab's libraries bring ``tta_model`` and ``tta_pipeline`` in their configs.
"""

import copy
from collections.abc import Mapping
from logging import WARNING
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import init_default_scope

from mmopt.registry import MODELS
from mmopt.utils.errors import UserError

__all__ = ['apply_tta']


def apply_tta(cfg: Config) -> Config:
    """Return a config with test-time augmentation.

    What the config itself says of an option holds: ``model.eval_scales=(0.75, 1.0)`` chooses the sizes.

    Args:
        cfg: A lowered config; it is not changed.

    Returns:
        A copy.

    Raises:
        UserError: If the model has none.
    """
    cfg = copy.deepcopy(cfg)
    if cfg.get('tta_model') and cfg.get('tta_pipeline'):
        return _as_openmmlab(cfg)
    init_default_scope(cfg.get('default_scope', 'mmopt'))
    kind: Any = cfg.model.get('type')
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    options: Mapping[str, Any] = getattr(kind, 'tta_options', {})
    if not options:
        name = getattr(kind, '__name__', cfg.model.get('type'))
        reason = getattr(kind, 'tta_reason', 'its config has no tta_model and tta_pipeline')
        raise UserError(f'--tta: {name} has no test-time augmentation: {reason}.')
    if not set(options) - set(cfg.model):
        said = ', '.join(f'{key}={cfg.model[key]}' for key in options)
        print_log(f'--tta changes nothing: the config says {said} of the model.', 'current', WARNING)
    for key, value in options.items():
        cfg.model.setdefault(key, value)
    return cfg


def _as_openmmlab(cfg: Config) -> Config:
    cfg.model = dict(cfg.tta_model, module=cfg.model)
    section = cfg.test_dataloader.dataset
    while 'pipeline' not in section and 'dataset' in section:
        section = section['dataset']
    section.pipeline = cfg.tta_pipeline
    return cfg

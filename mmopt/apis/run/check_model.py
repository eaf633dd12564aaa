"""What a look at the model tells before a run: classes that do not fit the data, frozen weights that nobody filled."""

import copy
import random
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from mmopt.engine import checkpoint_io
from mmopt.engine.guards.classes import check_classes
from mmopt.engine.guards.frozen import frozen_entries, never_filled
from mmopt.engine.loops.phases import parse_phases
from mmopt.registry import MODELS

__all__ = ['check_model', 'outline']


def check_model(cfg: Config, dataset: Any) -> tuple[str, ...]:
    """Build the model without memory for its weights, where it can be, and compare it with the data.

    Args:
        cfg: A lowered config, with its start chosen.
        dataset: What it trains on.

    Returns:
        Warnings for the preflight block.

    Raises:
        UserError: If the data has classes that the model has no outputs for.
    """
    if not isinstance(cfg.get('model'), dict):
        return ()
    model = outline(cfg)
    check_classes(model, dataset)
    loop = cfg.get('train_cfg') or {}
    phase = parse_phases(loop.get('phases'), int(loop.get('max_epochs') or 1))[0]
    frozen = frozen_entries(model, phase.freeze)
    parts = never_filled(frozen, model, _filled(cfg, model), lambda: _build(cfg)) if frozen else {}
    if not parts:
        return ()
    listed = ', '.join(f'{part} ({count} entries)' for part, count in parts.items())
    until = f' until epoch {phase.until_epoch}' if phase.freeze else ''
    thaw = 'drop phases.0.freeze' if phase.freeze else 'let it train (frozen_stages=-1, norm_eval=False or the like)'
    return (
        f'{listed}: frozen{until}, and no checkpoint fills it, so it keeps random weights: give load_from=... (or '
        f"init_cfg=dict(type='Pretrained', checkpoint=...) of the module), or {thaw}.",
    )


def _build(cfg: Config) -> nn.Module:
    init_default_scope(cfg.get('default_scope', 'mmopt'))
    return MODELS.build(copy.deepcopy(cfg.model))


def outline(cfg: Config) -> nn.Module:
    """Build a model's modules, without weights where that is possible; draws no random numbers.

    Args:
        cfg: A lowered config.

    Returns:
        The model, on the device ``meta`` or on the CPU.
    """
    with _undisturbed():
        try:
            with torch.device('meta'):
                return _build(cfg)
        except Exception:  # it computes while it is built; what is really wrong with it is raised again
            return _build(cfg)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Leave the random generators as they are: the run builds its model again."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        yield
    random.setstate(python)
    np.random.set_state(numpy)


def _filled(cfg: Config, model: nn.Module) -> Collection[str]:
    """Name the entries of the model that the checkpoint of the start fills."""
    if not cfg.get('load_from'):
        return ()
    path = cfg.load_from if '://' in cfg.load_from else Path(cfg.load_from)
    state = checkpoint_io.load(path, allow_pickle=cfg.get('allow_pickle', False))['state_dict']
    state = {name.removeprefix('module.'): value for name, value in state.items()}
    state, _ = checkpoint_io.fit_names(model, state, str(path), cfg.get('strip_prefix'))
    wanted = model.state_dict()
    return {name for name, value in state.items() if name in wanted and wanted[name].shape == value.shape}

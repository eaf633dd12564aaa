"""What a look at the model tells before a run: misfits of classes and of a checkpoint, frozen weights nobody filled."""

import copy
import random
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn
from torch.nn.parameter import UninitializedParameter

from mmopt.apis.config import missing_file
from mmopt.engine import IterBasedRunner, checkpoint_io
from mmopt.engine.guards.classes import check_classes
from mmopt.engine.guards.frozen import frozen_entries, never_filled, pretrained
from mmopt.engine.loops.phases import parse_phases
from mmopt.engine.resume.optimizer_settings import LEFT_OUT
from mmopt.registry import HOOKS, MODELS, RUNNERS
from mmopt.utils.errors import UserError

__all__ = ['ModelFacts', 'check_model', 'outline']

_KNOWN_EDITS = (Hook.after_load_checkpoint, EMAHook.after_load_checkpoint)
"""What hooks do to a loaded checkpoint that leaves the names and shapes of its weights as they are."""


@dataclass(frozen=True)
class ModelFacts:
    """What a look at a model tells.

    Attributes:
        notes: Warnings for the preflight block.
        name: What its class is called; empty where a config builds none.
        num_params: Parameters; None where they are not known before a first batch.
        num_frozen: Those that the first phase does not train.
    """

    notes: tuple[str, ...] = ()
    name: str = ''
    num_params: int | None = None
    num_frozen: int = 0


def check_model(cfg: Config, dataset: Any) -> ModelFacts:
    """Build the model without memory for its weights, where it can be, and compare it with the data.

    Args:
        cfg: A lowered config, with its start chosen.
        dataset: What it trains on.

    Returns:
        Warnings and sizes for the preflight block.

    Raises:
        UserError: If the data has classes that the model has no outputs for, if the checkpoint that the run starts with
            does not fit the model, or if one of ``init_cfg`` is not there.
    """
    if not isinstance(cfg.get('model'), dict):
        return ModelFacts()
    model = outline(cfg)
    check_classes(model, dataset)
    _check_weights(cfg, model)
    for module, checkpoint in pretrained(model):
        if '://' not in checkpoint and not Path(checkpoint).is_file():
            raise missing_file(checkpoint, f"{module or 'model'}: init_cfg's checkpoint", suffix='.pth')
    loop = cfg.get('train_cfg') or {}
    phase = parse_phases(loop.get('phases'), int(loop.get('max_epochs') or 1))[0]
    frozen = frozen_entries(model, phase.freeze)
    sizes = _sizes(model, frozen)
    parts = never_filled(frozen, model, _filled(cfg, model), lambda: _build(cfg)) if frozen else {}
    if not parts:
        return ModelFacts((), type(model).__name__, *sizes)
    listed = ', '.join(f'{part} ({count} entries)' for part, count in parts.items())
    until = f' until epoch {phase.until_epoch}' if phase.freeze else ''
    thaw = 'drop phases.0.freeze' if phase.freeze else 'let it train (frozen_stages=-1, norm_eval=False or the like)'
    note = (
        f'{listed}: frozen{until}, and no checkpoint fills it, so it keeps random weights: give load_from=... (or '
        f"init_cfg=dict(type='Pretrained', checkpoint=...) of the module), or {thaw}."
    )
    return ModelFacts((note,), type(model).__name__, *sizes)


def _sizes(model: nn.Module, frozen: Collection[str]) -> tuple[int | None, int]:
    """Count parameters, and those among some entries of the state."""
    params = dict(model.named_parameters())
    if any(isinstance(param, UninitializedParameter) for param in params.values()):
        return None, 0
    return sum(param.numel() for param in params.values()), sum(
        params[name].numel() for name in frozen if name in params
    )


def _check_weights(cfg: Config, model: nn.Module) -> None:
    """Refuse a checkpoint as the run would, where nothing but the run changes what it holds."""
    if not cfg.get('load_from') or '://' in cfg.load_from or _edits_checkpoints(cfg):
        return
    path = Path(cfg.load_from)
    state = checkpoint_io.load(path, allow_pickle=cfg.get('allow_pickle', False))['state_dict']
    resumes = bool(cfg.get('resume'))
    with _undisturbed(), warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='.*copying from a non-meta parameter')
        report = checkpoint_io.load_weights(
            model,
            state,
            strict=resumes and not cfg.get('allow_partial', False),
            source=str(path),
            strip_prefix=cfg.get('strip_prefix'),
        )
    if resumes and not report.complete and cfg.get('resume_optimizer', True):
        raise UserError(f'{path}: {LEFT_OUT}')


def _edits_checkpoints(cfg: Config) -> bool:
    """Tell whether the run's own code may change a checkpoint before it is loaded: a hook, or a runner of its own."""
    init_default_scope(cfg.get('default_scope', 'mmopt'))
    runner = cfg.get('runner_type')
    runner_class = RUNNERS.get(runner) if isinstance(runner, str) else runner
    if runner_class not in (None, Runner) and runner_class.load_checkpoint is not IterBasedRunner.load_checkpoint:
        return True
    for hook in [*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or ())]:
        kind = hook.get('type') if isinstance(hook, Mapping) else type(hook)
        found = HOOKS.get(kind) if isinstance(kind, str) else kind
        if getattr(found, 'after_load_checkpoint', Hook.after_load_checkpoint) not in _KNOWN_EDITS:
            return True
    return False


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

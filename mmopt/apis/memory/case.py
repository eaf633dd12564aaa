"""One setting whose memory is estimated or measured: what is built, and a batch of its shapes."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import nn

from mmopt.apis.config import load_config, set_precision
from mmopt.apis.memory.samples import SampleSource, batch_maker
from mmopt.apis.run.facts import model_config
from mmopt.config.precision import AUTO, precision_of, resolve_precision
from mmopt.engine.loops.phases import Freezer, Phase, parse_phases
from mmopt.engine.micro_batch import CheckpointBudget
from mmopt.engine.optim import OptimWrapper
from mmopt.engine.switches import apply_to_model, apply_to_optimizer
from mmopt.engine.switches.checkpointing import budget_bytes
from mmopt.registry import MODELS, OPTIM_WRAPPERS
from mmopt.utils.errors import UserError
from mmopt.utils.memory import SIMULATED_DEVICE
from mmopt.utils.placement import device_of
from mmopt.utils.precision import cuda_device, this_device

__all__ = ['MemoryCase', 'load_case', 'phases_of']

_OPTIMIZERS = dict(SGD=dict(type='SGD', lr=1e-3, momentum=0.9), AdamW=dict(type='AdamW', lr=1e-4))


@dataclass(frozen=True)
class MemoryCase:
    """A config with one batch size, precision and checkpointing.

    Attributes:
        cfg: The lowered config.
        batch_size: Samples per iteration.
        optimize: Its `optimize` section.
        max_items: Labels per sample; None: the data set's worst case.
        scan: Take samples from disk.
        freeze: Modules that the phase does not train.
        phase: What the phase is called; empty where the config has none.
        source: What was read of the data for another case of the same config.
    """

    cfg: Config
    batch_size: int
    optimize: Mapping[str, Any]
    max_items: int | None = None
    scan: bool = False
    freeze: tuple[str, ...] = ()
    phase: str = ''
    source: SampleSource | None = None

    def build_model(self) -> nn.Module:
        """Build the model in host memory."""
        return MODELS.build(model_config(self.cfg))

    def change_model(self, model: nn.Module) -> list[str]:
        """Apply the `optimize` section to the model on its device and freeze; returns a line per switch."""
        # A compiled region is no sequence of operators; what it saves by fusing is not foreseen.
        switches = {name: value for name, value in self.optimize.items() if name != 'compile'}
        effects = apply_to_model(model, switches)
        Freezer(model, self.freeze).set_modes()
        return [f'{name}: {effect.text}' for name, effect in effects.items()]

    def before_first(self, effects: list[str]) -> Callable[..., None] | None:
        """Return what the run decides with its first batch: which blocks a checkpointing budget takes.

        Args:
            effects: Gets a line about the choice.

        Returns:
            See :attr:`mmopt.engine.loops.step.TrainStep.before_first`; None where there is nothing to decide.
        """
        value = self.optimize.get('checkpointing')
        if budget_bytes(value) is None:
            return None
        return lambda *args: effects.append(f'checkpointing: {CheckpointBudget(value).choose(*args).text}')

    def build_optim_wrapper(self, model: nn.Module) -> Any:
        """Build the optimizer wrapper."""
        kind = device_of(model).type
        # What a run on a GPU would build: the oldest whose precisions all count.
        device = cuda_device((8, 0)) if kind == SIMULATED_DEVICE else this_device(kind)
        wrapper, _ = apply_to_optimizer(copy.deepcopy(self.cfg.optim_wrapper.to_dict()), self.cfg, 1, device)
        if 'optimizer' in wrapper:  # several optimizers are the business of a constructor
            wrapper = OPTIM_WRAPPERS.resolve({'type': OptimWrapper, **wrapper})
        return build_optim_wrapper(model, wrapper)

    def batch_maker(self) -> Callable[[], Any]:
        """Return what makes a batch; see :func:`mmopt.apis.memory.samples.batch_maker`."""
        return batch_maker(self.cfg, self.batch_size, self.max_items, self.scan, self.source)

    @property
    def micro_batch(self) -> int | None:
        """Samples per forward pass; None runs the batch as it is."""
        given = self.optimize.get('micro_batch') or (self.cfg.get('train_cfg') or {}).get('micro_batch')
        return given if isinstance(given, int) else None

    @property
    def num_averaged(self) -> int:
        """Copies of the weights that hooks keep."""
        hooks = self.cfg.get('custom_hooks') or []
        return sum('EMA' in str(hook.get('type')) for hook in hooks if isinstance(hook, Mapping))

    @property
    def prefetches(self) -> bool:
        """Whether a GPU gets the next batch while it computes."""
        loop = self.cfg.get('train_cfg') or {}
        return bool(self.cfg.train_dataloader.get('num_workers')) and loop.get('device_prefetch', True)

    @property
    def precision(self) -> str:
        """``fp32``, ``fp16`` or ``bf16``."""
        return precision_of(self.cfg.optim_wrapper)


def load_case(
    config: str | Path,
    options: Sequence[str] = (),
    *,
    batch_size: int | None = None,
    precision: str | None = None,
    checkpointing: str | None = None,
    optimizer: str | None = None,
    max_items: int | None = None,
    scan: bool = False,
    phase: int | None = None,
    source: SampleSource | None = None,
) -> MemoryCase:
    """Read a config and change what a case changes.

    Args:
        options: ``key.subkey=value`` texts.
        batch_size: Samples per iteration; None: the config's.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``auto``; None: the config's. ``auto`` is what this machine's GPU
            computes itself, without one what those from Ampere on do.
        checkpointing: ``none``, or what ``optimize.checkpointing`` takes; None and ``config``: the config's.
        optimizer: ``SGD`` or ``AdamW`` with plain settings in place of the config's.
        max_items: Labels per sample.
        scan: Take samples from disk.
        phase: Number of a phase of the config: its batch size and frozen modules; None: everything is trained.
        source: What was read of the data for another case of the same config.

    Returns:
        The case.

    Raises:
        UserError: If the config trains nothing.
    """
    cfg = load_config(config, options=options, precision=precision)
    if not cfg.get('train_dataloader') or not cfg.get('optim_wrapper'):
        raise UserError(f'{cfg.filename}: the config trains nothing, so there is no step to estimate.')
    if precision_of(cfg.optim_wrapper) == AUTO:
        gpu = this_device('cuda') if torch.cuda.is_available() else cuda_device((8, 0))
        set_precision(cfg, resolve_precision(cfg.optim_wrapper, gpu))
    init_default_scope(cfg.get('default_scope', 'mmopt'))
    if optimizer is not None:
        cfg.optim_wrapper['optimizer'] = dict(_OPTIMIZERS[optimizer])
        cfg.optim_wrapper.pop('paramwise_cfg', None)
    optimize = dict(cfg.get('optimize') or {})
    if checkpointing == 'none':
        optimize.pop('checkpointing', None)
    elif checkpointing not in (None, 'config'):
        optimize['checkpointing'] = checkpointing
    size = batch_size or cfg.train_dataloader.get('batch_size', 1)
    case = MemoryCase(cfg, size, optimize, max_items, scan, source=source)
    if phase is None:
        return case
    chosen = phases_of(cfg)[phase]
    name = f'to epoch {chosen.until_epoch}' + (f', {", ".join(chosen.freeze)} frozen' if chosen.freeze else '')
    return replace(case, batch_size=chosen.batch_size or case.batch_size, freeze=chosen.freeze, phase=name)


def phases_of(cfg: Config) -> tuple[Phase, ...]:
    """Return the phases of a config that it names; empty if all epochs are alike."""
    loop = cfg.get('train_cfg') or {}
    return parse_phases(loop['phases'], loop['max_epochs']) if loop.get('phases') else ()

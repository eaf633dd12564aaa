"""Phases of a training: parts of the model frozen for some epochs, a batch size of each phase's own.

Frozen modules get no gradients, hence no optimizer state, until they thaw, and run in evaluation mode: BatchNorm
neither measures nor moves, dropout is off. The base learning rate scales linearly with the batch; the schedule's
position goes on over all epochs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import nn
from torch.utils.data import DataLoader

from mmopt.config.spelling import spelled
from mmopt.engine.schedules.schedulers import ClosedFormLR
from mmopt.engine.schedules.timetable import Span, Timetable
from mmopt.structures import samples_per_batch
from mmopt.utils.errors import UserError
from mmopt.utils.numbers import is_whole
from mmopt.utils.terminal import nearest

__all__ = ['Freezer', 'Phase', 'check_schedulers', 'make_loaders', 'make_timetable', 'parse_phases']

_KEYS = ('until_epoch', 'freeze', 'batch_size')


@dataclass(frozen=True)
class Phase:
    """Epochs that are trained alike.

    Attributes:
        until_epoch: First epoch, from 0, that belongs to the next phase.
        freeze: Names of modules; ``*`` and ``?`` stand for any text and any letter.
        batch_size: Samples per iteration and process; None: the loader's.
    """

    until_epoch: int
    freeze: tuple[str, ...] = ()
    batch_size: int | None = None


def parse_phases(phases: Sequence[Mapping[str, Any]] | None, max_epochs: int) -> tuple[Phase, ...]:
    """Check the phases of a config.

    Args:
        phases: Dicts with the keys of :class:`Phase`; the last may leave ``until_epoch`` out.
        max_epochs: Epochs of the run. Phases that begin later are left out: a shorter run ends earlier.

    Returns:
        The phases that the run reaches, the last one to its end; one of everything where a config has none.

    Raises:
        UserError: If a key is unknown, epochs do not rise, or they end before the run.
    """
    parsed: list[Phase] = []
    start = 0
    for number, given in enumerate(phases or ()):
        name = f'phases.{number}'
        if unknown := sorted(set(given) - set(_KEYS)):
            hint = nearest(unknown[0], _KEYS)
            raise UserError(
                f'{name}.{unknown[0]} is unknown; {f"did you mean {hint[0]}?" if hint else ", ".join(_KEYS)}'
            )
        is_last = number == len(phases or ()) - 1
        until = given.get('until_epoch', max_epochs if is_last else None)
        if not is_whole(until) or until <= start:
            raise UserError(
                f'{name}.until_epoch must be a whole number above {start}, where the phase begins, got {until!r}.'
            )
        if is_last and until < max_epochs:
            raise UserError(
                f'{name}.until_epoch={until} ends before the run of {max_epochs} epochs: leave it out in the last '
                f'phase, or give {spelled("train_cfg.max_epochs")} the same number.'
            )
        freeze = given.get('freeze') or ()
        if isinstance(freeze, str) or not all(isinstance(item, str) for item in freeze):
            raise UserError(f'{name}.freeze must be a list of module names, got {freeze!r}.')
        batch = given.get('batch_size')
        if batch is not None and (not is_whole(batch) or batch < 1):
            raise UserError(f'{name}: the batch must be a positive whole number, got {batch!r}.')
        if start < max_epochs:
            parsed.append(Phase(min(until, max_epochs), tuple(freeze), batch))
        start = until
    return tuple(parsed) or (Phase(max_epochs),)


def make_loaders(phases: Sequence[Phase], first: DataLoader, cfg: DataLoader | dict, runner: Any) -> list[DataLoader]:
    """Return a loader per phase; all read the one data set, and phases of one batch share theirs.

    Args:
        first: The loader as the config has it.
        cfg: What it was built from.
        runner: Builds loaders.

    Returns:
        The loaders.

    Raises:
        UserError: If another batch is wanted of a loader that was handed in ready-made.
    """
    by_batch = {first.batch_size: first}
    loaders = []
    for phase in phases:
        batch = phase.batch_size or first.batch_size
        if batch not in by_batch:
            if isinstance(cfg, DataLoader):
                raise UserError('phases change the batch: give the training loader as a config, not ready-made.')
            own = dict(cfg, dataset=first.dataset, batch_size=batch)
            by_batch[batch] = runner.build_dataloader(own, seed=runner.seed)
        loaders.append(by_batch[batch])
    return loaders


def make_timetable(phases: Sequence[Phase], loaders: Sequence[DataLoader], base_batch: int) -> Timetable:
    """Return which epoch has how many iterations, and the factor of its learning rate.

    Args:
        loaders: One per phase.
        base_batch: Batch that the optimizer's rate is written for: that of the training loader's config.

    Returns:
        The timetable.
    """
    return Timetable(
        tuple(
            Span(phase.until_epoch, len(loader), samples_per_batch(loader) / base_batch)
            for phase, loader in zip(phases, loaders, strict=True)
        )
    )


def check_schedulers(timetable: Timetable | None, schedulers: Sequence | Mapping[str, Sequence] | None) -> None:
    """Refuse phases of unequal batch whose learning rate nobody scales.

    Args:
        timetable: Of the run; None where all epochs are alike.
        schedulers: What the run has; by optimizer where it has several.

    Raises:
        UserError: If none of them is a closed-form schedule of the learning rate.
    """
    scales = set() if timetable is None else {span.lr_scale for span in timetable.spans}
    parts = schedulers.values() if isinstance(schedulers, Mapping) else [schedulers or ()]
    items = [item for part in parts for item in part]
    if scales <= {1.0} or any(isinstance(item, ClosedFormLR) for item in items):
        return
    closed_form = '' if spelled('param_scheduler') != 'param_scheduler' else "type='ClosedFormLR', "
    raise UserError(
        'phases change the batch, and nothing changes the learning rate with it: write '
        f"{spelled('param_scheduler')}=dict({closed_form}policy='Fixed') or another policy of mmopt."
    )


class Freezer:
    """Keeps modules of a model from training until :meth:`thaw`.

    Args:
        model: The model, without a distributed wrapper.
        patterns: Names of modules; see :class:`Phase`.

    Raises:
        UserError: If a name matches no module, or nothing is left to train.
    """

    def __init__(self, model: nn.Module, patterns: Sequence[str]) -> None:
        modules = {name: module for name, module in model.named_modules() if name}
        self.modules: list[nn.Module] = []
        for pattern in patterns:
            found = [module for name, module in modules.items() if fnmatchcase(name, pattern)]
            if not found:
                near = nearest(pattern, list(modules)) or [name for name in modules if '.' not in name]
                raise UserError(f'phases: freeze={pattern!r} matches no module of the model; near: {", ".join(near)}.')
            self.modules += found
        # What was not trained before stays so when the phase ends.
        self.params = list(dict.fromkeys(p for module in self.modules for p in module.parameters() if p.requires_grad))
        for param in self.params:
            param.requires_grad_(False)
            param.grad = None
        if patterns and not any(param.requires_grad for param in model.parameters()):
            self.thaw()
            raise UserError(f'phases: freeze={list(patterns)} leaves no parameter to train.')

    def set_modes(self) -> None:
        """Put the frozen modules into evaluation mode; called after ``model.train()``."""
        for module in self.modules:
            module.eval()

    def thaw(self) -> None:
        """Let the parameters train again."""
        for param in self.params:
            param.requires_grad_(True)

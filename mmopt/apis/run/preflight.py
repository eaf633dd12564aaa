"""One short block before the first iteration: what will run, and what looks wrong about it.

:func:`describe_run` is a pure function of the lowered config and of :class:`mmopt.apis.run.facts.Facts`.
"""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mmopt.apis.run.check_model import ModelFacts
from mmopt.apis.run.facts import Facts
from mmopt.config.precision import AUTO, allowed_precisions, precision_of
from mmopt.config.spelling import spelled
from mmopt.engine.loops.phases import Phase, parse_phases
from mmopt.engine.switches import lr_factor
from mmopt.utils.precision import Choice, choose_precision
from mmopt.utils.terminal import number, paint, rows

__all__ = ['Preflight', 'describe_run']


@dataclass(frozen=True)
class Preflight:
    """What will run.

    Attributes:
        entries: Labels and values.
        warnings: Each names what is odd and what to do about it.
    """

    title: str
    entries: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        lines = [paint(self.title, 'bold'), rows(self.entries)]
        lines += [f'  {paint("!", "yellow")} {text}' for text in self.warnings]
        return '\n'.join(lines)


@dataclass(frozen=True)
class _Length:
    """How long a run is: iterations, epochs, and in which of the two its intervals count.

    With phases of unequal batch ``iters_per_epoch`` is of the first and ``max_epochs`` is set.
    """

    max_iters: int
    iters_per_epoch: int
    by_epoch: bool
    max_epochs: int | None = None

    @property
    def epochs(self) -> float:
        return self.max_epochs or self.max_iters / self.iters_per_epoch

    @property
    def units(self) -> int:
        return math.ceil(self.epochs) if self.by_epoch else self.max_iters

    @property
    def unit(self) -> str:
        return 'epochs' if self.by_epoch else 'iterations'


def describe_run(cfg: Mapping, facts: Facts, name: str | None = None) -> Preflight:
    """Describe a training run.

    Args:
        cfg: A lowered config.
        facts: What the machine and the data look like.
        name: Shown in the first line; the config's file unless given.

    Returns:
        The block; print it.
    """
    length = _length(cfg, facts)
    entries = [
        ('device', _device(facts)),
        ('precision', _precision(cfg, facts)),
        *([('model', _model(facts.model))] if facts.model.name else []),
        ('batch', _batch(cfg, facts)),
        ('learning rate', _learning_rate(cfg, facts)),
        ('samples', f'{number(facts.num_train)} train' + (f', {number(facts.num_val)} val' if facts.num_val else '')),
        ('length', _length_text(length)),
        ('evaluation', _evaluation(cfg, length, facts)),
    ]
    if cfg.get('load_from') or facts.start is not None:
        entries.append(('start', _start(cfg, facts, length)))
    entries += [('data', _folders(facts.folders)), ('work dir', str(cfg.get('work_dir')))]
    title = name or getattr(cfg, 'filename', None) or 'run'
    return Preflight(str(title), tuple(entries), tuple(_warnings(cfg, facts, length)))


# -------------------------------------------------------------------------------------------------- entries
def _device(facts: Facts) -> str:
    processes = f'{facts.world_size} processes, ' if facts.world_size > 1 else ''
    return f'{facts.device} ({processes}{facts.num_cores} cores, torch {facts.torch_version})'


def _choice(cfg: Mapping, facts: Facts) -> Choice | None:
    """Return what ``auto`` comes to; None where the config names a precision."""
    section = cfg.get('optim_wrapper')
    if precision_of(section) != AUTO:
        return None
    if facts.start is not None and facts.start.precision is not None:
        return Choice(facts.start.precision, 'as the run was begun')
    return choose_precision(facts.compute, allowed_precisions(section))


def _precision(cfg: Mapping, facts: Facts) -> str:
    section, choice = cfg.get('optim_wrapper') or {}, _choice(cfg, facts)
    name = choice.precision if choice else precision_of(section)
    text = str(choice or name)
    if name != 'fp16':
        return text
    scale = section.get('loss_scale', 'dynamic')
    kind = f'static loss scale {number(scale)}' if isinstance(scale, int | float) else 'dynamic loss scale'
    return f'{text}, {kind}'


def _model(model: ModelFacts) -> str:
    if model.num_params is None:
        return f'{model.name}, its parameters are counted with the first batch'
    frozen = f', {number(model.num_frozen)} of them frozen' if model.num_frozen else ''
    size = model.num_params * 4 / 1024**2
    return f'{model.name}, {number(model.num_params)} parameters{frozen} ({number(size, 3)} MiB in fp32)'


def _counts(cfg: Mapping, facts: Facts) -> tuple[int, int, int]:
    wrapper = cfg.get('optim_wrapper') or {}
    return cfg['train_dataloader'].get('batch_size', 1), wrapper.get('accumulative_counts') or 1, facts.world_size


def _batch(cfg: Mapping, facts: Facts) -> str:
    batch, accumulation, processes = _counts(cfg, facts)
    factors = [f'{batch} per iteration']
    if accumulation > 1:
        factors.append(f'{accumulation} accumulated')
    if processes > 1:
        factors.append(f'{processes} processes')
    effective = batch * accumulation * processes
    if phases := _phases(cfg):
        return '; '.join(_phase_text(phase, start) for phase, start in phases)
    text = f'{" x ".join(factors)} = {effective} per step' if len(factors) > 1 else f'{batch} per step'
    size = (cfg.get('optimize') or {}).get('micro_batch')
    if size == 'auto':
        return f'{text}, in the largest parts that fit'
    return f'{text}, in parts of {size}' if size and size < batch else text


def _phases(cfg: Mapping) -> list[tuple[Phase, int]]:
    """Return the phases that the run reaches, with their first epochs; nothing where all epochs are alike."""
    given = cfg['train_cfg'].get('phases')
    phases = parse_phases(given, int(cfg['train_cfg']['max_epochs'])) if given else ()
    return list(zip(phases, [0, *(phase.until_epoch for phase in phases)], strict=False))


def _phase_text(phase: Phase, start: int) -> str:
    batch = f'{phase.batch_size} per iteration' if phase.batch_size else 'the same'
    frozen = f', {", ".join(phase.freeze)} frozen' if phase.freeze else ''
    return f'epochs {start + 1} to {phase.until_epoch}: {batch}{frozen}'


def _schedulers(cfg: Mapping) -> list[Mapping]:
    schedulers = cfg.get('param_scheduler') or []
    if isinstance(schedulers, Mapping):
        # One scheduler, or a list of them for each of several optimizers.
        schedulers = [schedulers] if 'type' in schedulers else sum(schedulers.values(), [])
    return list(schedulers)


def _learning_rate(cfg: Mapping, facts: Facts) -> str:
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    lr = optimizer.get('lr', 'default')
    factor, reason = lr_factor(cfg, facts.world_size)
    if reason and isinstance(lr, int | float):
        lr = f'{lr * factor:.4g}, {reason}'
    parts = [f'{lr} ({optimizer.get("type", "?")})']
    for item in _schedulers(cfg):
        if 'Momentum' in str(item.get('type')):
            continue
        parts.append(str(item.get('policy') or item.get('type')))
        warmup = item.get('warmup')
        if warmup:
            unit = 'epochs' if item.get('warmup_by_epoch') else 'iterations'
            parts.append(f'{warmup} warm-up over {item.get("warmup_iters")} {unit}')
    return ', '.join(parts)


def _length(cfg: Mapping, facts: Facts) -> _Length:
    batch, _, processes = _counts(cfg, facts)
    loop = cfg['train_cfg']
    whole = cfg['train_dataloader'].get('drop_last', False)
    per_rank = math.ceil(facts.num_train / processes)

    def iters_of(batch: int) -> int:
        return max(1, per_rank // batch if whole else math.ceil(per_rank / batch))

    iters_per_epoch = iters_of(batch)
    if loop.get('max_iters'):
        return _Length(int(loop['max_iters']), iters_per_epoch, by_epoch=False)
    max_epochs = int(loop.get('max_epochs') or 1)
    if phases := _phases(cfg):
        lengths = [(phase.until_epoch - start, iters_of(phase.batch_size or batch)) for phase, start in phases]
        total = sum(epochs * iters for epochs, iters in lengths)
        return _Length(total, lengths[0][1], by_epoch=True, max_epochs=max_epochs)
    return _Length(max_epochs * iters_per_epoch, iters_per_epoch, by_epoch=True)


def _length_text(length: _Length) -> str:
    epochs = length.epochs
    text = f'{epochs:,.0f}' if epochs >= 100 else number(epochs, 3)
    return f'{number(length.max_iters)} iterations ({text} epoch{"" if text == "1" else "s"})'


def _evaluation(cfg: Mapping, length: _Length, facts: Facts) -> str:
    if cfg.get('val_cfg') is None or not facts.num_val:
        return 'none'
    interval = cfg['train_cfg'].get('val_interval', 1)
    at_end = cfg['train_cfg'].get('val_at_end', True)
    if interval > length.units:
        return 'at the end' if at_end else 'never'
    unit = length.unit if interval > 1 else length.unit.rstrip('s')
    every = f'every {number(interval)} {unit}' if interval > 1 else f'every {unit}'
    return every + (' and at the end' if at_end and length.units % interval else '')


def _start(cfg: Mapping, facts: Facts, length: _Length) -> str:
    if facts.start is None:
        return f'weights of {cfg["load_from"]}'
    left = length.max_iters - facts.start.iter
    changes = f'\nchanged since: {facts.start.changes}' if facts.start.changes else ''
    return f'after iteration {number(facts.start.iter)}, {number(max(left, 0))} to go: {cfg.get("load_from")}{changes}'


def _folders(folders: Mapping[str, bool]) -> str:
    if not folders:
        return 'not checked (the data set names no folders)'
    root = os.path.commonpath(folders) if len(folders) > 1 else next(iter(folders))
    absent = [path for path, there in folders.items() if not there]
    if absent:
        return '\n'.join(f'MISSING {path}' for path in absent)
    names = ', '.join(os.path.relpath(path, root) for path in folders)
    return f'{root}: {names} found' if len(folders) > 1 else f'{root} found'


# -------------------------------------------------------------------------------------------------- warnings
def _warnings(cfg: Mapping, facts: Facts, length: _Length) -> Iterator[str]:
    yield from _device_warnings(cfg, facts)
    yield from _batch_warnings(cfg, facts, length)
    yield from _schedule_warnings(cfg, facts, length)
    yield from facts.model.notes


def _device_warnings(cfg: Mapping, facts: Facts) -> Iterator[str]:
    if not facts.on_gpu and facts.gpu_driver:
        if not facts.torch_has_cuda:
            yield (
                f'this machine has a GPU, but torch {facts.torch_version} is a CPU build: '
                'install the CUDA build (pytorch.org/get-started) to use it.'
            )
        else:
            yield 'this machine has a GPU driver, but torch sees no GPU: check nvidia-smi and CUDA_VISIBLE_DEVICES.'
    yield from _precision_warnings(cfg, facts)
    counts = [(cfg.get(key) or {}).get('num_workers', 0) for key in ('train_dataloader', 'val_dataloader')]
    workers = max(0 if count == 'auto' else count for count in counts)
    if workers * facts.world_size > facts.num_cores:
        each = f' x {facts.world_size} processes' if facts.world_size > 1 else ''
        yield (
            f'{workers} workers{each} on {facts.num_cores} cores: they only take turns '
            f'(--options {spelled("train_dataloader.num_workers")}={max(facts.num_cores // facts.world_size - 1, 0)}).'
        )


def _precision_warnings(cfg: Mapping, facts: Facts) -> Iterator[str]:
    choice = _choice(cfg, facts)
    name = choice.precision if choice else precision_of(cfg.get('optim_wrapper'))
    support = facts.compute.support(name)
    if support.is_native:
        return
    faster = f'--precision {facts.compute.native_half or "fp32"} is faster'
    if support.level == 'missing':
        yield f'{name} cannot be computed here: {support.reason} (--precision {facts.compute.native_half or "fp32"}).'
    elif facts.emulation_cost is None:
        yield f'{name} saves memory here, but no time: {support.reason}; {faster}.'
    else:
        yield (
            f'{name} is emulated: {support.reason}. Products and convolutions take {facts.emulation_cost:.1f} times '
            f'as long as in fp32 (just measured); {faster}.'
        )


def _scales_lr(cfg: Mapping) -> bool:
    return bool((cfg.get('auto_scale_lr') or {}).get('enable') or (cfg.get('optimize') or {}).get('scale_lr'))


def _batch_warnings(cfg: Mapping, facts: Facts, length: _Length) -> Iterator[str]:
    batch, accumulation, processes = _counts(cfg, facts)
    effective = batch * accumulation * processes
    scaling = cfg.get('auto_scale_lr') or {}
    base = scaling.get('base_batch_size') or (cfg.get('optimize') or {}).get('base_batch')
    lr = ((cfg.get('optim_wrapper') or {}).get('optimizer') or {}).get('lr')
    if base and base != effective and not _scales_lr(cfg) and isinstance(lr, int | float):
        yield (
            f'lr {lr:g} was written for {base} samples per step, not {effective}: '
            f'linear scaling gives {lr * effective / base:.3g} (--options {spelled("optim_wrapper.optimizer.lr")}='
            f'{lr * effective / base:.3g}).'
        )
    if batch * processes > facts.num_train:
        yield (
            f'an iteration takes {batch * processes} samples and the data set has {facts.num_train}: '
            f'lower {spelled("train_dataloader.batch_size")}.'
        )
    rest = length.max_iters % accumulation
    if rest:
        yield (
            f'{number(length.max_iters)} iterations are no multiple of {accumulation} accumulated: the last step '
            f'averages {rest}.'
        )


def _schedule_warnings(cfg: Mapping, facts: Facts, length: _Length) -> Iterator[str]:
    loop = cfg['train_cfg']
    if cfg.get('val_cfg') is not None and loop.get('val_interval', 1) > length.units:
        then = 'evaluates only at the end' if loop.get('val_at_end', True) else 'never evaluates'
        run = f'the run ({length.units} {length.unit})'
        yield f'{spelled("train_cfg.val_interval")}={loop["val_interval"]} is longer than {run}: it {then}.'
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if checkpoint.get('interval', 1) > length.units and not checkpoint.get('save_last', True):
        interval = spelled('default_hooks.checkpoint.interval')
        yield f'{interval}={checkpoint["interval"]} is longer than the run: it saves no checkpoint.'
    for index, item in enumerate(_schedulers(cfg)):
        if not item.get('warmup'):
            continue
        warmup = (item.get('warmup_iters') or 0) * (length.iters_per_epoch if item.get('warmup_by_epoch') else 1)
        if warmup >= length.max_iters:
            # MMEngine's schedules are a list, in which --options takes an index.
            key = spelled('param_scheduler.warmup_iters').replace('param_scheduler', f'param_scheduler.{index}')
            yield (
                f'warm-up takes {number(warmup)} iterations, the run {number(length.max_iters)}: it never reaches the '
                f'full rate (--options {key}={max(length.max_iters // 10, 1)}).'
            )
            break
    if facts.start is not None and facts.start.iter >= length.max_iters:
        yield (
            f'the checkpoint is at iteration {number(facts.start.iter)}, the run ends at {number(length.max_iters)}: '
            'nothing is left to train.'
        )

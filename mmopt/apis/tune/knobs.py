"""The knobs of a config on a machine: which values are worth a trial, and what people find that they do."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from mmengine.config import Config
from torch import nn

from mmopt.apis.doctor.machine import Machine
from mmopt.config.keys import SECTIONS
from mmopt.config.precision import resolve_precision
from mmopt.engine.tuner import Knob, Space
from mmopt.utils.errors import UserError
from mmopt.utils.precision import PRECISIONS
from mmopt.utils.terminal import nearest

__all__ = ['KNOBS', 'Situation', 'make_space']

KNOBS = (
    'batch', 'precision', 'channels_last', 'checkpointing', 'compile', 'fused_optimizer', 'tf32', 'workers', 'prefetch',
)  # fmt: skip
_SWITCHES = ('channels_last', 'checkpointing', 'compile', 'fused_optimizer', 'tf32')
# Value True of a switch -> factor on the time per sample, and how far off that may be.
_EXPECTED = dict(
    channels_last=(0.95, 0.2),  # +47 % on a ResNet-50, -34 % on a RegNet
    checkpointing=(1.25, 0.1),  # what is forgotten is computed again
    compile=(0.88, 0.15),
    fused_optimizer=(0.98, 0.03),
    tf32=(0.8, 0.15),
)
# Triton, which compiles for GPUs, begins there.
_VOLTA = (7, 0)
# A share of the iteration below which waiting for data is no reason for more workers.
_WAITS = 0.03
_MAX_BATCHES = 5


@dataclass(frozen=True)
class Situation:
    """What the knobs depend on.

    Attributes:
        machine: What there is.
        effective_batch: Samples per step of the tuned config.
        data_share: Share of an iteration of the config as it is that waits for data.
    """

    machine: Machine
    num_train: int
    effective_batch: int
    data_share: float

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU trains."""
        return bool(self.machine.gpus)


def make_space(
    cfg: Config, model: nn.Module, situation: Situation, names: Sequence[str] | None = None, frozen: Sequence[str] = ()
) -> Space:
    """Choose the knobs.

    Args:
        cfg: The lowered config.
        model: Its model, built or on the meta device: what has no convolution has no channels.
        situation: Machine and data.
        names: Knobs to turn; None for all that can do something here.
        frozen: Knobs to leave alone, whatever ``names`` says.

    Returns:
        The space. Its base is the config as it is, but for a batch that does not divide ``effective_batch``.

    Raises:
        UserError: If a name is no knob.
    """
    for name in names or ():
        if name not in KNOBS:
            raise UserError(
                f'--knobs {name}: there is no such knob; did you mean {(nearest(name, KNOBS) or KNOBS)[0]}?'
            )
    batch = _batch(cfg, situation)
    made: dict[str, Knob | None] = {
        'batch': batch,
        'precision': _precision(cfg, situation),
        **{switch: _switch(cfg, switch) for switch in _SWITCHES if switch in SECTIONS['optimize'].keys},
        'workers': _workers(cfg, situation),
        'prefetch': _prefetch(cfg),
    }
    useful = set(names) if names else _useful(cfg, model, situation)
    # The batch is part of every setting; whether it is turned is a matter of its values.
    if 'batch' not in useful or 'batch' in frozen:
        made['batch'] = Knob('batch', batch.base, (batch.base,), is_ordered=True, memory={batch.base: batch.base})
    knobs = [
        knob
        for name, knob in made.items()
        if knob is not None and (name == 'batch' or (name in useful and name not in frozen and len(knob.values) > 1))
    ]
    return Space(tuple(knobs))


def _useful(cfg: Config, model: nn.Module, situation: Situation) -> set[str]:
    useful = {'batch', 'precision', 'checkpointing', 'fused_optimizer'}
    if any(isinstance(module, nn.Conv2d | nn.Conv3d) for module in model.modules()):
        useful.add('channels_last')
    oldest = min((capability for _, capability, *_ in situation.machine.gpus), default=(0, 0))
    if situation.machine.compute.support('tf32').is_native:
        useful.add('tf32')
    # On a CPU a compilation takes minutes and gains little: --knobs compile asks for it.
    if oldest >= _VOLTA and shutil.which('cc') is not None:
        useful.add('compile')
    if situation.data_share > _WAITS:
        useful |= {'workers', 'prefetch'}
    return useful


def _batch(cfg: Config, situation: Situation) -> Knob:
    now, effective = cfg.train_dataloader.get('batch_size', 1), situation.effective_batch
    divisors = [size for size in range(1, effective + 1) if effective % size == 0 and size <= situation.num_train]
    base = max((size for size in divisors if size <= now), default=1)
    # The largest ones, and not below a quarter of what there is now: smaller ones cost speed and save little more.
    values = [size for size in divisors if size >= max(base // 4, 1)][-_MAX_BATCHES:]
    values = sorted({base, *values})
    expected = {size: 0.97 ** math.log2(size / base) for size in values}
    memory = {size: size for size in values}
    return Knob('batch', base, tuple(values), expected, doubt=0.08, is_ordered=True, memory=memory)


def _precision(cfg: Config, situation: Situation) -> Knob:
    device = situation.machine.compute
    base = resolve_precision(cfg['optim_wrapper'], device)
    values = tuple(name for name in PRECISIONS if name == base or device.support(name).is_native)
    times = dict(fp32=1.0, fp16=0.6, bf16=0.6)
    expected = {name: times[name] / times[base] for name in values}
    memory = dict(fp32=1, fp16=0, bf16=0)
    return Knob('precision', base, values, expected, doubt=0.25, memory=memory)


def _switch(cfg: Config, name: str) -> Knob | None:
    base = (cfg.get('optimize') or {}).get(name)
    base = False if base is None else base
    if not isinstance(base, bool):  # patterns, a mode: somebody has chosen
        return None
    factor, doubt = _EXPECTED[name]
    memory = {False: 1, True: 0} if name == 'checkpointing' else {}
    expected = {not base: 1 / factor if base else factor}
    return Knob(name, base, (False, True), expected, doubt, memory=memory)


def _workers(cfg: Config, situation: Situation) -> Knob | None:
    base, cores = cfg.train_dataloader.get('num_workers', 0), situation.machine.num_cores
    if not isinstance(base, int):
        return None
    values = sorted({base, *(count for count in (1, 2, 4, 8, 12, 16) if count <= cores)})
    # What waits for data waits half as long for twice the workers.
    share = situation.data_share
    expected = {count: 1 - share + share * (base + 1) / (count + 1) for count in values}
    return Knob('workers', base, tuple(values), expected, doubt=0.05, is_ordered=True)


def _prefetch(cfg: Config) -> Knob | None:
    base = cfg.train_dataloader.get('prefetch_factor') or 2
    if not isinstance(base, int) or not cfg.train_dataloader.get('num_workers', 0):
        return None
    return Knob('prefetch', base, tuple(sorted({base, 2, 4})), doubt=0.03, is_ordered=True)

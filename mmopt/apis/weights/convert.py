"""Fit a published checkpoint into a model: rename, resize, inflate, and say what fits and what does not."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmopt.apis.run.check_model import outline
from mmopt.apis.weights.rules import ORIGINS, Origin, origin_of
from mmopt.engine import checkpoint_io
from mmopt.utils.errors import UserError
from mmopt.utils.terminal import number, rows

__all__ = ['Converted', 'convert_weights', 'fit_weights']

_PREFIXES = ('module.', 'model.')
_TABLE = 'relative_position_bias_table'
_NUM_SHOWN = 6


@dataclass(frozen=True)
class Converted:
    """What became of a checkpoint.

    Attributes:
        origin: Who published it.
        state: Entries of the model that it fills.
        changed: What was done to values, by kind, with the number of entries.
        left_out: Entries of the file without a place in the model, and why.
        missing: Entries of the model that nothing fills.
        num_filled: Parameters of the model that are filled.
        num_params: Parameters of the model.
        sha256: Of the file that was read.
    """

    origin: Origin
    state: Mapping[str, Tensor]
    changed: Mapping[str, int]
    left_out: Mapping[str, str]
    missing: tuple[str, ...]
    num_filled: int
    num_params: int
    sha256: str = ''

    def __str__(self) -> str:
        share = self.num_filled / self.num_params if self.num_params else 0.0
        entries = [
            ('origin', self.origin.name),
            ('filled', f'{number(self.num_filled)} of {number(self.num_params)} parameters ({share:.1%})'),
            *((kind, f'{count} entries') for kind, count in self.changed.items()),
            ('left out', _listed([f'{name} ({why})' for name, why in self.left_out.items()])),
            ('not in the file', _listed(self.missing)),
        ]
        if self.sha256:
            entries.append(('sha256', self.sha256))
        return rows(entries)


def _listed(names: Any) -> str:
    names = list(names)
    if not names:
        return 'nothing'
    more = f'\nand {len(names) - _NUM_SHOWN} more' if len(names) > _NUM_SHOWN else ''
    return '\n'.join(names[:_NUM_SHOWN]) + more


def convert_weights(path: str | Path, cfg: Config, *, sha256: str | None = None) -> Converted:
    """Read a published file and fit it into the model of a config.

    The file is read as tensors and plain values: code in it is never run.

    Args:
        path: A checkpoint, ``.pth``, ``.pt`` or ``.safetensors``.
        cfg: A lowered config.
        sha256: What the publisher says of the file.

    Returns:
        What fits; ``state`` is loaded by ``load_from``.

    Raises:
        UserError: If the file is another than the publisher's, nobody we know made it, or the model has nothing of it.
    """
    path = Path(path)
    checkpoint_io.check_sha256(path, sha256)
    state = checkpoint_io.load(path)['state_dict']
    converted = fit_weights(
        {name: value for name, value in state.items() if isinstance(value, Tensor)}, outline(cfg), str(path)
    )
    return Converted(**{**vars(converted), 'sha256': checkpoint_io.sha256_of(path)})


def fit_weights(state: Mapping[str, Tensor], model: nn.Module, source: str) -> Converted:
    """Fit the tensors of a published file into a model.

    Args:
        state: By their names in the file.
        model: On any device, also without memory.
        source: Names the file in errors.

    Returns:
        What fits.

    Raises:
        UserError: If nobody we know made it, or the model has nothing of it.
    """
    state = _without_prefixes(state)
    network = {name.removeprefix('backbone.'): value for name, value in state.items()}
    origin = origin_of(network)
    if origin is None:
        known = ', '.join(origin.name for origin in ORIGINS)
        raise UserError(f'{source}: its names (as {next(iter(network), "none")}) are of no layout we know: {known}.')
    wanted = model.state_dict()
    places = [name.removesuffix(origin.probe) for name in wanted if name.endswith(origin.probe)]
    if not places:
        raise UserError(f'{source} holds {origin.name}, and the model has no {origin.network}.')
    filled: dict[str, Tensor] = {}
    changed: dict[str, int] = {}
    published = network if origin.convert is None else state
    left_out = {name: 'not of the network' for name in published if origin.rename(name) is None}
    kept: Mapping[str, Tensor] = {name: value for name, value in published.items() if name not in left_out}
    if origin.convert is not None:
        kept = origin.convert(kept)
    for name, value in kept.items():
        ours = str(origin.rename(name))
        for place in places:
            target = wanted.get(f'{place}{ours}')
            if target is None:
                left_out[name] = 'the model has none'
                continue
            fitted, kind = _fit(_reordered(ours, value, origin), target, ours)
            if fitted is None:
                left_out[name] = f'{tuple(value.shape)} in the file, {tuple(target.shape)} in the model'
                continue
            filled[f'{place}{ours}'] = fitted
            if kind:
                changed[kind] = changed.get(kind, 0) + 1
    params = {name: param.numel() for name, param in model.named_parameters()}
    return Converted(
        origin=origin,
        state=filled,
        changed=changed,
        left_out=left_out,
        missing=tuple(name for name in wanted if name not in filled and not name.endswith('num_batches_tracked')),
        num_filled=sum(size for name, size in params.items() if name in filled),
        num_params=sum(params.values()),
    )


def _without_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take off what training code puts before all names."""
    names = {name: name for name in state}
    for prefix in _PREFIXES * 2:
        if names and all(short.startswith(prefix) for short in names.values()):
            names = {name: short.removeprefix(prefix) for name, short in names.items()}
    return {short: state[name] for name, short in names.items()}


def _reordered(name: str, value: Tensor, origin: Origin) -> Tensor:
    """Put the four neighbors of a patch merging in the official order: OpenMMLab's unfold has channels outermost."""
    if not origin.name.startswith('OpenMMLab') or '.downsample.' not in name:
        return value
    quarters = value.reshape(*value.shape[:-1], -1, 4)[..., [0, 2, 1, 3]]
    return quarters.transpose(-1, -2).reshape(value.shape)


def _fit(value: Tensor, target: Tensor, name: str) -> tuple[Tensor | None, str]:
    """Return a value in the target's shape, and what was done to it; None where it does not fit."""
    if value.shape == target.shape:
        return value, ''
    if name.endswith(_TABLE) and value.dim() == 2 and value.shape[1:] == target.shape[1:]:
        return _resized(value, len(target)), 'position tables resized'
    if value.dim() == 4 and target.dim() == 5 and value.shape == (*target.shape[:2], *target.shape[3:]):
        depth = target.shape[2]
        return value.unsqueeze(2).expand(target.shape).contiguous() / depth, 'kernels inflated over time'
    return None, ''


def _resized(table_PS: Tensor, num_positions: int) -> Tensor:
    """Resize a table of relative positions, a square of them per head, to another window."""
    side, new = math.isqrt(len(table_PS)), math.isqrt(num_positions)
    square_1SHW = table_PS.float().T.reshape(1, -1, side, side)
    resized = torch.nn.functional.interpolate(square_1SHW, (new, new), mode='bicubic', align_corners=True)
    return resized.reshape(-1, new * new).T.contiguous().to(table_PS.dtype)

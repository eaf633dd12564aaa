"""How far predictions of a graph are from those of its model, where a near tie may go either way."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mmopt.utils.errors import UserError

__all__ = ['TOLERANCE', 'largest_deviation']

TOLERANCE = 1e-3
"""Largest deviation of a number, relative to the largest of its field, in float32: kernels sum in other orders."""
_TIES = 0.02
"""Share of rows that may be missing on either side: scores next to a threshold, and boxes that overlap just so."""
_PIXELS = 1e-3
"""Share of class numbers that may differ: the two best classes of a pixel may be next to equal."""


def largest_deviation(got: Mapping[str, Tensor], want: Mapping[str, Tensor], counts: Mapping[str, str]) -> float:
    """Compare the predictions of one sample.

    Rows that belong together (boxes with their scores and labels) are compared with the nearest one of the other side,
    in whatever order they come.

    Args:
        got: Fields of the graph.
        want: Fields of the model.
        counts: See :class:`mmopt.structures.complete_graph.CompleteGraph`.

    Returns:
        The largest deviation, relative to the largest value of the field.

    Raises:
        UserError: If a field deviates by more than is allowed.
    """
    worst = 0.0
    groups: dict[str, list[str]] = {}
    for name in want:
        if name in counts:
            groups.setdefault(counts[name], []).append(name)
        else:
            worst = max(worst, _values(name, got[name], want[name]))
    for names in groups.values():
        worst = max(worst, _rows(names, got, want))
    return worst


def _values(name: str, got: Tensor, want: Tensor) -> float:
    if got.shape != want.shape:
        raise UserError(f'The graph gives {name} of shape {tuple(got.shape)}, the model {tuple(want.shape)}.')
    if not want.is_floating_point():
        share = float((got.long() != want.long()).double().mean()) if want.numel() else 0.0
        if share > _PIXELS:
            raise _deviates(f'{name} in {share:.2%} of its places, {_PIXELS:.1%} are')
        return 0.0
    deviation = float((got.double() - want.double()).abs().max() / want.double().abs().max().clamp(min=1e-12))
    if not deviation <= TOLERANCE:
        raise _deviates(f'{name} by {deviation:.2g} of its largest value, {TOLERANCE:g} is')
    return deviation


def _rows(names: list[str], got: Mapping[str, Tensor], want: Mapping[str, Tensor]) -> float:
    lengths = [len(side[names[0]]) for side in (got, want)]
    allowed = int(_TIES * max(lengths))
    if not min(lengths):
        if max(lengths) > allowed:
            raise _deviates(f'{names[0]} has {lengths[0]} rows, the model gives {lengths[1]}; as many are')
        return 0.0
    columns = []
    for name in names:
        one, other = (side[name].double().reshape(len(side[name]), -1) for side in (got, want))
        scale = 1.0 if not want[name].is_floating_point() else float(other.abs().max().clamp(min=1e-12))
        columns.append((one / scale, other / scale))
    first, second = (torch.cat(parts, dim=1) for parts in zip(*columns, strict=True))
    distance = (first[:, None] - second[None]).abs().amax(dim=2)
    found = [distance.amin(dim=axis) for axis in (0, 1)]
    missed = max(int((~(nearest <= TOLERANCE)).sum()) for nearest in found)
    if missed > allowed:
        raise _deviates(f'{", ".join(names)}: {missed} of {max(lengths)} rows have no counterpart, {allowed} are')
    return max(map(_largest, found))


def _largest(nearest: Tensor) -> float:
    close = nearest[nearest <= TOLERANCE]
    return float(close.max()) if len(close) else 0.0


def _deviates(what: str) -> UserError:
    return UserError(f'The graph deviates from the model: {what} allowed. Do not use it.')

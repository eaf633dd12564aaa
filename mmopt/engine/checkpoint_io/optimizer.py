"""Optimizer states of mmcv 1.x, MMEngine or another config of ours, put into the parameter groups of this run.

mmcv 1.x and MMEngine make one group per parameter under ``paramwise_cfg``, frozen ones included, in the order of
``model.named_parameters()``, and one group for all of them otherwise. Ours hold equal settings in one group and say
whose they are: ``param_names``, and ``param_positions`` in mmcv's order.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mmopt.utils.errors import UserError

__all__ = ['remap_optimizer_state']

_KEPT = ('params', 'param_names', 'param_positions', 'foreach', 'fused', 'capturable', 'differentiable')
"""Entries of a group that describe this run's optimizer and not the state of the old one."""
_ADDED = ('initial_lr', 'initial_momentum', 'initial_betas')
"""Entries that schedulers add to a group."""
_REMEDY = 'Go on with a fresh optimizer (--options resume_optimizer=False), or load the weights alone with --load-from.'


def remap_optimizer_state(
    old_state: Mapping[str, Any], optimizer: Optimizer, group_members: Sequence[Sequence[str]] | None = None
) -> dict:
    """Return an optimizer state for ``optimizer.load_state_dict``, whatever groups the old state has.

    Old parameters are found by name where the old groups carry ``param_names``; else by their position, for which the
    optimizer's groups need ``param_positions`` (without them: their order in the groups).

    Args:
        old_state: The old ``state_dict()``; entries beside state and groups (``loss_scaler``) are passed through.
        optimizer: The optimizer to continue with.
        group_members: Parameter names of each of its groups; None: the groups' ``param_names``.

    Returns:
        The state in the new groups. Learning rates and the like come from the old groups where all members of a new
        group agree on them, else from ``optimizer``.

    Raises:
        UserError: If parameters are missing or their shapes differ.
    """
    names = [name for group in _member_names(optimizer, group_members) for name in group]
    old_indices = _old_indices(old_state, optimizer, names)
    old_groups = {index: group for group in old_state['param_groups'] for index in group['params']}
    new = optimizer.state_dict()
    state: dict[int, dict] = {}
    place = 0
    for group, live_group in zip(new['param_groups'], optimizer.param_groups, strict=True):
        members = old_indices[place : place + len(group['params'])]
        for new_index, old_index, parameter in zip(group['params'], members, live_group['params'], strict=True):
            if old_index in old_state['state']:
                state[new_index] = _checked(old_state['state'][old_index], names[place], parameter)
            place += 1
        _adopt(group, [old_groups[index] for index in members])
    replaced = ('state', 'param_groups', 'base_param_settings')
    extra = {key: value for key, value in old_state.items() if key not in replaced}
    return dict(state=state, param_groups=new['param_groups']) | extra


def _member_names(optimizer: Optimizer, given: Sequence[Sequence[str]] | None) -> Sequence[Sequence[str]]:
    groups = optimizer.param_groups
    sizes = [len(group['params']) for group in groups]
    unnamed = [[f'parameter {place}' for place in range(size)] for size in sizes]
    members = given or [group.get('param_names', names) for group, names in zip(groups, unnamed, strict=True)]
    if [len(names) for names in members] != sizes:
        raise ValueError(f'group_members has {[len(names) for names in members]} names, the groups have {sizes}.')
    return members


def _old_indices(old_state: Mapping, optimizer: Optimizer, names: Sequence[str]) -> list[Any]:
    """Return the old index of each parameter, in the order of the new groups."""
    groups = old_state['param_groups']
    flat = [index for group in groups for index in group['params']]
    if all(len(group.get('param_names', ())) == len(group['params']) for group in groups):
        by_name = dict(zip((name for group in groups for name in group['param_names']), flat, strict=True))
        absent = [name for name in names if name not in by_name]
        if absent:
            raise UserError(
                f'optimizer state: {len(absent)} parameters are not in the checkpoint, among them {absent[0]}. '
                f'{_REMEDY}'
            )
        return [by_name[name] for name in names]
    positions = [position for group in optimizer.param_groups for position in group.get('param_positions', ())]
    if len(positions) != len(names):
        positions = list(range(len(names)))
    if len(flat) == len(names):  # the old optimizer left out what is frozen, so only the order counts
        rank = {position: place for place, position in enumerate(sorted(positions))}
        positions = [rank[position] for position in positions]
    if positions and max(positions) >= len(flat):
        raise UserError(
            f'optimizer state: the checkpoint has {len(flat)} parameters, the model at least {max(positions) + 1}: was '
            f'something added or frozen since? {_REMEDY}'
        )
    return [flat[position] for position in positions]


def _checked(old: Mapping, name: str, parameter: Tensor) -> dict:
    for key, value in old.items():
        if isinstance(value, Tensor) and value.dim() and value.shape != parameter.shape:
            raise UserError(
                f'optimizer state: {key} of {name} has shape {tuple(value.shape)}, the parameter '
                f'{tuple(parameter.shape)}: the parameters are not in the same order. {_REMEDY}'
            )
    # torch below 1.12 kept the step as an int; fused and capturable optimizers need a tensor.
    return {
        key: torch.tensor(float(value)) if key == 'step' and not isinstance(value, Tensor) else value
        for key, value in old.items()
    }


def _adopt(group: dict, members: Sequence[Mapping]) -> None:
    """Take a new group's settings from its members' old groups where these agree."""
    for key in members[0] if members else ():
        if key in _KEPT or (key not in group and key not in _ADDED):
            continue
        value = members[0][key]
        if all(member.get(key) == value for member in members):
            group[key] = tuple(value) if isinstance(group.get(key), tuple) else value

"""Optimizer states of mmcv 1.x and MMEngine, put into our merged parameter groups.

Both make one group per parameter under ``paramwise_cfg``, frozen ones included, in the order of
``model.named_parameters()``, and one group for all of them otherwise. Ours hold trainable parameters only, and equal
groups are one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mmopt.utils.errors import UserError

__all__ = ['remap_optimizer_state']

_KEPT = ('params', 'param_names', 'foreach', 'fused', 'capturable', 'differentiable')
"""Entries of a group that describe this run's optimizer and not the state of the old one."""


def remap_optimizer_state(
    old_state: Mapping[str, Any],
    optimizer: Optimizer,
    group_members: Sequence[Sequence[str]],
    parameter_names: Sequence[str] | None = None,
) -> dict:
    """Return an optimizer state for ``optimizer.load_state_dict``, whatever groups the old state has.

    Args:
        old_state: The old ``state_dict()``; a ``loss_scaler`` beside the state is passed through.
        optimizer: The optimizer to continue with.
        group_members: Parameter names of each of its groups, in the group's order.
        parameter_names: All names in the order of ``model.named_parameters()``. Not needed if the old groups carry
            ``param_names``, or if nothing is frozen and ``group_members`` is one group in that order.

    Returns:
        The state in the new groups. Learning rates and the like come from the old groups where all members of a new
        group agree on them, else from ``optimizer``.

    Raises:
        UserError: If the numbers of parameters or the shapes do not fit.
    """
    sizes = [len(group['params']) for group in optimizer.param_groups]
    if sizes != [len(names) for names in group_members]:
        raise ValueError(f'group_members has {[len(names) for names in group_members]} names, the groups have {sizes}.')
    index_of, old_groups = _indices_of(old_state, group_members, parameter_names)
    new = optimizer.state_dict()
    state: dict[int, dict] = {}
    for group, names, tensors in zip(new['param_groups'], group_members, optimizer.param_groups, strict=True):
        for index, name, tensor in zip(group['params'], names, tensors['params'], strict=True):
            if name not in index_of:
                raise UserError(f'optimizer state: parameter {name} is not in the checkpoint: is it another model?')
            if index_of[name] in old_state['state']:
                state[index] = _checked(old_state['state'][index_of[name]], name, tensor)
        _adopt(group, [old_groups[index_of[name]] for name in names])
    replaced = ('state', 'param_groups', 'base_param_settings')
    extra = {key: value for key, value in old_state.items() if key not in replaced}
    return dict(state=state, param_groups=new['param_groups']) | extra


def _indices_of(
    old_state: Mapping, group_members: Sequence[Sequence[str]], parameter_names: Sequence[str] | None
) -> tuple[dict[str, Any], dict[Any, Mapping]]:
    """Return the old index of every name, and the old group of every index."""
    groups = old_state['param_groups']
    indices = [index for group in groups for index in group['params']]
    old_groups = {index: group for group in groups for index in group['params']}
    if all(len(group.get('param_names', ())) == len(group['params']) for group in groups):
        names = [name for group in groups for name in group['param_names']]
    else:
        trainable = [name for members in group_members for name in members]
        names = list(parameter_names or trainable)
        if len(names) != len(indices):
            names = [name for name in names if name in set(trainable)]
    if len(names) != len(indices):
        raise UserError(
            f'optimizer state: the checkpoint has {len(indices)} parameters, the model {len(names)}: was something '
            'frozen or added since? Load the weights alone with --load-from.'
        )
    return dict(zip(names, indices, strict=True)), old_groups


def _checked(old: Mapping, name: str, parameter: Tensor) -> dict:
    for key, value in old.items():
        if isinstance(value, Tensor) and value.dim() and value.shape != parameter.shape:
            raise UserError(
                f'optimizer state: {key} of {name} has shape {tuple(value.shape)}, the parameter '
                f'{tuple(parameter.shape)}: the order of the parameters differs, so the checkpoint is of another model.'
            )
    # torch below 1.12 kept the step as an int; fused and capturable optimizers need a tensor.
    return {
        key: torch.tensor(float(value)) if key == 'step' and not isinstance(value, Tensor) else value
        for key, value in old.items()
    }


def _adopt(group: dict, members: Sequence[Mapping]) -> None:
    """Take a new group's settings from its members' old groups where these agree."""
    for key in members[0] if members else ():
        if key in _KEPT or (key not in group and key != 'initial_lr' and key != 'initial_momentum'):
            continue
        value = members[0][key]
        if all(member.get(key) == value for member in members):
            group[key] = tuple(value) if isinstance(group.get(key), tuple) else value

"""An optimizer's state of a checkpoint, put under the settings of this run.

What the checkpoint keeps is the state: moments, step counts, and rates as far as the run has moved them. What the
config says is the settings: a changed one takes effect, and a change that the state cannot follow is refused.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mmopt.config.spelling import spelled
from mmopt.engine.resume.saved_config import plain
from mmopt.utils.errors import UserError

__all__ = ['AFRESH', 'LEFT_OUT', 'check_sections', 'fit_groups', 'fit_tensors', 'like_param']

AFRESH = (
    'Go back to it, or go on with the weights, the iteration and the schedule and begin the optimizer afresh: '
    '--options resume_optimizer=False.'
)
"""How to go on where the optimizer's state cannot."""
LEFT_OUT = f'a part of the weights was left out, and its optimizer state fits them alone. {AFRESH}'
"""Why a run cannot go on from weights that ``allow_partial`` accepted."""

_OF_THE_KERNEL = ('fused', 'foreach', 'capturable', 'differentiable')
"""Settings that say how a step is computed and not what."""
_OF_THE_KIND = ('betas', 'momentum', 'alpha', 'rho', 'lambd', 'etas', 'decoupled_weight_decay')
"""Settings by which optimizers are told from each other where no config says what they were."""
_ITS_MEMBERS = ('params', 'param_names', 'param_positions')
_NEEDS = dict(amsgrad='max_exp_avg_sq', centered='grad_avg')
"""Setting that is switched on -> the state that it needs from the first step on."""


def check_sections(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Refuse what no state can follow: another optimizer, other parameter groups.

    Args:
        old: From :func:`mmopt.engine.resume.saved_config.optimizer_section`, of the checkpoint.
        new: The same of the run.

    Raises:
        UserError: If the type of the optimizer or ``paramwise_cfg`` is another.
    """
    kinds = [_name((section.get('optimizer') or {}).get('type')) for section in (old, new)]
    if all(kinds) and kinds[0] != kinds[1]:
        raise UserError(
            f'{spelled("optim_wrapper.optimizer.type")}: the checkpoint was trained with {kinds[0]}, the config says '
            f'{kinds[1]}. {AFRESH}'
        )
    groups = [plain(section.get('paramwise_cfg') or {}) for section in (old, new)]
    if groups[0] != groups[1]:
        raise UserError(
            f'{spelled("optim_wrapper.paramwise_cfg")}: the checkpoint was trained with {groups[0] or "none"}, the '
            'config says '
            f'{groups[1] or "none"}, which makes other parameter groups. {AFRESH}'
        )


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind or '').rpartition('.')[2]


def unscheduled(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return a group's settings as they were before any schedule moved them."""
    values = {key: value for key, value in group.items() if key not in _ITS_MEMBERS}
    for key in list(values):
        if key in group and f'initial_{key}' in group:
            values[key] = group[f'initial_{key}']
    if 'betas' in group and 'initial_momentum' in group:
        values['betas'] = (group['initial_momentum'], group['betas'][1])
    return values


def changed_settings(saved: Mapping[str, Any], fresh: Mapping[str, Any]) -> set[str]:
    """Name the settings in which an unscheduled group differs from that of a fresh run."""
    return {
        key
        for key in saved.keys() & fresh.keys()
        if not key.startswith(('initial_', 'max_', 'min_')) and _plain(saved[key]) != _plain(fresh[key])
    } - {*_OF_THE_KERNEL}


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Tensor) else list(value) if isinstance(value, list | tuple) else value


def fit_groups(
    state: Mapping[str, Any],
    optimizer: Optimizer,
    fresh: Sequence[Mapping[str, Any]],
    *,
    apply: Collection[str] | None,
    new_schedule: bool,
) -> tuple[dict[str, Any], list[str]]:
    """Put the settings of this run into the parameter groups of a state.

    Args:
        state: In the groups of ``optimizer``.
        optimizer: What is to load it.
        fresh: The groups as a fresh run begins with them.
        apply: Settings that the config has changed since; None where the checkpoint's config is unknown: all that
            differ, except rates that a schedule may have moved.
        new_schedule: Whether the schedule has changed: rates then begin at what a fresh run begins with.

    Returns:
        The state to load, and the changes (``'lr 0.1 -> 0.2'``).

    Raises:
        UserError: If the groups or the optimizer are others, or a changed setting needs a state that is not there.
    """
    groups: list[dict] = []
    notes: dict[str, None] = {}
    _check_groups(state['param_groups'], optimizer)
    for saved, live, start in zip(state['param_groups'], optimizer.param_groups, fresh, strict=True):
        group = dict(saved)
        before, now = unscheduled(saved), unscheduled(start)
        changed = changed_settings(before, now)
        if apply is None:
            changed -= {'lr'} if 'initial_lr' in start and 'initial_lr' not in saved else set()
        else:
            changed &= {*apply, *(('lr', 'momentum', 'betas') if new_schedule else ())}
        for key in sorted(changed):
            notes[f'{key} {_plain(before[key])} -> {_plain(now[key])}'] = None
            group[key] = now[key]
        if new_schedule or changed & {'lr', 'momentum', 'betas'}:
            # Where schedules begin, as the schedulers of this run have noted it.
            group |= {key: value for key, value in start.items() if key.startswith(('initial_', 'max_', 'min_'))}
        group |= {key: value for key, value in start.items() if key not in group}
        for key in _OF_THE_KERNEL:
            if key in live:
                if key == 'fused' and bool(saved.get(key)) != bool(live[key]):
                    notes[f'fused {bool(saved.get(key))} -> {bool(live[key])}'] = None
                group[key] = live[key]
        groups.append(group)
    _check_state(state['state'], groups)
    return dict(state) | dict(param_groups=groups), list(notes)


def _check_groups(saved: Sequence[Mapping], optimizer: Optimizer) -> None:
    live = optimizer.param_groups
    sizes = [[len(group['params']) for group in groups] for groups in (saved, live)]
    names = [[group.get('param_names') for group in groups] for groups in (saved, live)]
    if sizes[0] != sizes[1] or (all(names[0]) and all(names[1]) and names[0] != names[1]):
        raise UserError(
            f'{spelled("optim_wrapper")}: the parameter groups have changed: {_sizes(sizes[0])} in the checkpoint, '
            f'{_sizes(sizes[1])} '
            f'now (paramwise_cfg, or what of the model is trained). {AFRESH}'
        )
    kinds = [{key for key in _OF_THE_KIND if key in groups[0]} for groups in (saved, live)]
    shared = kinds[0] & kinds[1] & {'decoupled_weight_decay'}
    old_torch = kinds[0] ^ kinds[1] <= {'decoupled_weight_decay'}
    if not old_torch or any(saved[0][key] != live[0][key] for key in shared):
        raise UserError(
            f'{spelled("optim_wrapper.optimizer.type")}: the checkpoint holds the state of another optimizer than '
            f'{type(optimizer).__name__}. '
            f'{AFRESH}'
        )


def _sizes(sizes: Sequence[int]) -> str:
    return f'{len(sizes)} of {sum(sizes)} parameters'


def _check_state(slots: Mapping[Any, Mapping], groups: Sequence[Mapping]) -> None:
    for group in groups:
        needs = _NEEDS | (dict(momentum='momentum_buffer') if 'centered' in group else {})
        for number in group['params']:
            slot = slots.get(number) or {}
            for setting, key in needs.items():
                if slot and group.get(setting) and key not in slot:
                    raise UserError(
                        f'optimizer.{setting}={group[setting]} needs {key} of each parameter, which the checkpoint, '
                        f'trained without it, does not have. {AFRESH}'
                    )


@torch.no_grad()
def fit_tensors(optimizer: Optimizer) -> int:
    """Lay the loaded state out as this run's kernels read it: moments as their parameters, step counts where asked for.

    Fused and foreach kernels walk through weights and moments side by side, as they lie in memory: moments that kept
    another memory format would be added to the wrong weights.

    Args:
        optimizer: What has loaded a state.

    Returns:
        Tensors whose layout was another.
    """
    count = 0
    for group in optimizer.param_groups:
        on_device = bool(group.get('fused') or group.get('capturable'))
        is_torchs = 'fused' in group or 'capturable' in group
        for param in group['params']:
            slot = optimizer.state.get(param) or {}
            for key, value in slot.items():
                if not isinstance(value, Tensor):
                    continue
                if key == 'step' and not value.dim() and is_torchs:
                    # On the GPU only where a kernel reads it there: else every step would wait for it.
                    slot[key] = value.to(param.device, torch.float32) if on_device else value.cpu()
                elif (laid := like_param(value, param)) is not value:
                    slot[key] = laid
                    count += 1
    return count


def like_param(value: Tensor, param: Tensor) -> Tensor:
    """Return a tensor of a parameter's shape with the strides of the parameter, too."""
    if value.shape != param.shape or value.stride() == param.stride() or hasattr(value, 'full_tensor'):
        return value
    return torch.empty_like(param, dtype=value.dtype, memory_format=torch.preserve_format).copy_(value)

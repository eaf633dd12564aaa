"""Optimizers of a run that goes on: their states, under the settings of this run."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from mmopt.engine.checkpoint_io.optimizer import remap_optimizer_state
from mmopt.engine.parallel.fsdp import scatter_optimizer_state
from mmopt.engine.resume.changes import Changes
from mmopt.engine.resume.optimizer_settings import fit_groups, fit_tensors

__all__ = ['forget_state', 'fresh_groups', 'restore_optimizers']


def fresh_groups(optim_wrapper: Any) -> dict[str, list[dict[str, Any]]]:
    """Note the settings of all parameter groups before anything is loaded or stepped.

    Args:
        optim_wrapper: One wrapper or several.

    Returns:
        The groups without their parameters, by optimizer.
    """
    return {
        name: [
            {key: copy.copy(value) for key, value in group.items() if key != 'params'}
            for group in wrapper.optimizer.param_groups
        ]
        for name, wrapper in _named(optim_wrapper).items()
    }


def forget_state(optim_wrapper: Any) -> None:
    """Drop moments and step counts.

    Args:
        optim_wrapper: One wrapper or several.
    """
    for wrapper in _named(optim_wrapper).values():
        wrapper.optimizer.state.clear()


def _named(optim_wrapper: Any) -> dict[str, Any]:
    return dict(optim_wrapper.items()) if hasattr(optim_wrapper, 'optim_wrappers') else {'': optim_wrapper}


def restore_optimizers(
    optim_wrapper: Any, fresh: Mapping[str, Sequence[Mapping]], checkpoint: Mapping[str, Any], changes: Changes
) -> Changes:
    """Load the optimizers' states; settings that the config has changed since take effect.

    Args:
        optim_wrapper: One wrapper or several.
        fresh: From :func:`fresh_groups`.
        checkpoint: As :func:`mmopt.engine.checkpoint_io.load` gives it.
        changes: From :func:`mmopt.engine.resume.changes.changes_since`.

    Returns:
        The changes, with what the states themselves tell.

    Raises:
        UserError: If a state does not fit.
    """
    wrappers = _named(optim_wrapper)
    states = {}
    for name, wrapper in wrappers.items():
        saved = checkpoint['optimizer'][name] if name else checkpoint['optimizer']
        states[name], notes = _fit(wrapper, saved, fresh[name], changes, name, checkpoint['source_format'])
        changes = changes.with_notes(notes, moves_rates=any(not note.startswith('fused') for note in notes))
    optim_wrapper.load_state_dict(states.get('', states))
    for wrapper in wrappers.values():
        fit_tensors(wrapper.optimizer)
    return changes


def _fit(
    wrapper: Any, saved: Mapping, fresh: Sequence[Mapping], changes: Changes, name: str, source: str
) -> tuple[dict, list[str]]:
    optimizer: Optimizer = wrapper.optimizer
    if source != 'mmopt':  # a group per parameter there, merged ones here
        saved = remap_optimizer_state(saved, optimizer)
    state, notes = fit_groups(
        saved, optimizer, fresh, apply=changes.settings_of(name), new_schedule=changes.new_schedule
    )
    if notes or changes.new_schedule:
        state.pop('base_param_settings', None)  # the rates that the log shows: those of this run
    if any(hasattr(param, 'full_tensor') for group in optimizer.param_groups for param in group['params']):
        state = scatter_optimizer_state(state, optimizer)
    return state, notes

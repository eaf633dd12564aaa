"""Modules that are frozen, or whose BatchNorm is, although nothing has ever filled them: random weights for ever."""

from collections.abc import Callable, Collection, Iterator, Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmopt.engine.loops.phases import Freezer

__all__ = ['frozen_entries', 'never_filled', 'pretrained']


def frozen_entries(model: nn.Module, freeze: Sequence[str] = ()) -> set[str]:
    """Name the entries of a model's state that a training does not change.

    Args:
        model: It ends in training mode, with these modules thawed again.
        freeze: Patterns of modules that the first phase of a training freezes.

    Returns:
        Parameters without gradients, and the statistics of BatchNorm in evaluation mode.
    """
    freezer = Freezer(model, freeze)
    model.train()
    freezer.set_modes()
    names = {name for name, param in model.named_parameters() if not param.requires_grad}
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and not module.training and module.track_running_stats:
            names |= {f'{name}.{buffer}' for buffer in ('running_mean', 'running_var')}
    freezer.thaw()
    model.train()
    return names


def pretrained(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Find the modules that a checkpoint of their own fills.

    Args:
        model: One that is built, with weights or without.

    Yields:
        tuple: The module's name, and the ``checkpoint`` of its ``init_cfg``.
    """
    for name, module in model.named_modules():
        given = getattr(module, 'init_cfg', None)
        for item in [given] if isinstance(given, dict) else given or []:
            if isinstance(item, dict) and item.get('type') == 'Pretrained':
                yield name, str(item.get('checkpoint'))


def never_filled(
    frozen: Collection[str], model: nn.Module, filled: Collection[str], build: Callable[[], nn.Module]
) -> dict[str, int]:
    """Return which frozen entries hold random weights.

    What is the same whenever the model is built (a fixed kernel, a table of positions) is meant to be as it is.

    Args:
        frozen: From :func:`frozen_entries`.
        model: Whose modules may name a checkpoint in their ``init_cfg``.
        filled: Entries that a checkpoint fills.
        build: Builds the model once more, with real weights.

    Returns:
        Frozen entries by the module under the model's root, as many as there are in it; only modules of which at least
        one entry is random.
    """
    parts = [name for name, _ in pretrained(model)]
    left = {
        name
        for name in frozen
        if name not in filled and not any(not part or name.startswith(f'{part}.') for part in parts)
    }
    if not left:
        return {}
    states = []
    with torch.random.fork_rng(devices=[]):
        for seed in (0, 1):
            torch.manual_seed(seed)
            states.append(build().state_dict())
    random = {name for name in left if not torch.equal(states[0][name], states[1][name])}
    random |= {name for name in left if name.endswith(('.running_mean', '.running_var'))}
    counts: dict[str, int] = {}
    for name in sorted(left):
        counts[name.split('.')[0]] = counts.get(name.split('.')[0], 0) + 1
    return {part: count for part, count in counts.items() if any(name.split('.')[0] == part for name in random)}

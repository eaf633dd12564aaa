"""Weights that are NaN or infinite: no later iteration can be good, and no checkpoint is to keep them."""

import torch
from torch import nn

from mmopt.config.spelling import spelled

__all__ = ['bad_weights', 'describe_bad_weights']

_SHOWN = 3


@torch.no_grad()
def bad_weights(module: nn.Module) -> list[str]:
    """Name the trained parameters that are not finite, of a sharded model those of this process. Waits for the device.

    Args:
        module: The model. What it does not train may hold infinities on purpose.

    Returns:
        Their names.
    """
    named = [(name, param) for name, param in module.named_parameters() if param.requires_grad]
    if not named:
        return []
    locals_ = [param.to_local() if hasattr(param, 'to_local') else param for _, param in named]
    finite = torch.stack([torch.isfinite(value).all() for value in locals_]).tolist()
    return [name for (name, _), is_finite in zip(named, finite, strict=True) if not is_finite]


def describe_bad_weights(names: list[str], iters_done: int) -> str:
    """Return the message: what is broken, that it is not saved, and what would help.

    Args:
        names: From :func:`bad_weights`.
        iters_done: Finished iterations.

    Returns:
        One line.
    """
    more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
    return (
        f'The weights are not finite after iteration {iters_done}: {", ".join(names[:_SHOWN])}{more}. They are not '
        'saved: go on from the last checkpoint (--auto-resume) with a lower learning rate or clipped gradients '
        f'({spelled("optim_wrapper.clip_grad")}), or let a run do so itself: '
        f"{spelled('train_cfg.bad_numbers')}=dict(action='rollback')."
    )

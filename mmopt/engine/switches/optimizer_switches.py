"""The switches that change how the optimizer is built, in the order in which they are applied."""

from collections.abc import Callable, Mapping
from typing import Any

from mmopt.engine.switches.effect import Effect
from mmopt.engine.switches.eight_bit import eight_bit
from mmopt.engine.switches.fused_optimizer import fuse_for_loss_scale, fuse_optimizer
from mmopt.engine.switches.scale_lr import lr_factor, scale_optimizer
from mmopt.utils.precision import ComputeDevice, this_device

__all__ = ['OPTIMIZER_SWITCHES', 'apply_to_optimizer']

OPTIMIZER_SWITCHES: dict[str, Callable[[Mapping[str, Any], Any], tuple[dict[str, Any], Effect]]] = {
    'optimizer_8bit': eight_bit,
    'fused_optimizer': fuse_optimizer,
}
"""Key of the `optimize` section -> function of ``optim_wrapper`` and its value."""


def apply_to_optimizer(
    optim_wrapper: Mapping[str, Any], cfg: Mapping[str, Any], world_size: int, device: ComputeDevice | None = None
) -> tuple[dict[str, Any], dict[str, Effect]]:
    """Apply the switches of a config to its optimizer.

    Args:
        optim_wrapper: The section; is not changed.
        cfg: The whole lowered config.
        world_size: Processes of the run.
        device: What it computes on; None: this machine's GPU, else its CPU.

    Returns:
        The section to build, and what each switch did, by key; on a GPU also what fp16 needs by itself.
    """
    optimize = cfg.get('optimize') or {}
    wrapper, effects = dict(optim_wrapper), {}
    for name, switch in OPTIMIZER_SWITCHES.items():
        if optimize.get(name) is not None:
            wrapper, effects[name] = switch(wrapper, optimize[name])
    if optimize.get('fused_optimizer') is None:
        wrapper, effect = fuse_for_loss_scale(wrapper, device or this_device())
        if effect is not None:
            effects['fused_optimizer'] = effect
    factor, reason = lr_factor(cfg, world_size)
    if reason:
        wrapper, effects['scale_lr'] = scale_optimizer(wrapper, factor, reason)
    return wrapper, effects

"""Count the operations of one training iteration."""

from typing import Any

from torch import nn

from mmopt.engine.loops.step import TrainStep
from mmopt.utils.flops import flops_by_kind

__all__ = ['step_flops']


def step_flops(step: TrainStep, batch: Any) -> dict[str, int]:
    """Run one more iteration and count its matrix products, convolutions and attention, forward and backward.

    Args:
        step: The step of a training loop.
        batch: A batch of its loader.

    Returns:
        Operations by kind (:func:`mmopt.utils.flops.flops_by_kind`); what checkpointing computes again counts again.
    """
    recurrent = any(isinstance(module, nn.RNNBase) for module in step.module.modules())
    return flops_by_kind(lambda: step(batch), recurrent=recurrent)

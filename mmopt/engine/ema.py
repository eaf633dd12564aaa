"""Averaged models that follow MMCV's and MMDetection's EMA hooks; MMEngine's EMAHook evaluates and saves them.

MMEngine's own average copies the weights at its first update and has no such warm-up.
"""

import math

import torch
from mmengine.model import BaseAveragedModel
from torch import Tensor, nn

from mmopt.registry import MODELS
from mmopt.utils.transfer import copy_all

__all__ = ['ExpWarmupEMA', 'LinearWarmupEMA']


class _WarmupEMA(BaseAveragedModel):
    """``average = (1 - m) * average + m * weights`` from the first iteration on.

    Args:
        model: The model to average.
        momentum: Share m of the new weights once warm-up is over, in (0, 1).
        interval: Iterations between two updates.
        warm_up: Length of the warm-up, in iterations.
        first_update: Iteration of the first update: MMCV counts from 0, MMDetection from ``interval - 1``.
        device: Where the average lies.
        update_buffers: Average floating-point buffers (BatchNorm statistics) as well; otherwise they are copied.

    Raises:
        ValueError: If the momentum is not in (0, 1).
    """

    def __init__(
        self,
        model: nn.Module,
        momentum: float = 0.0002,
        interval: int = 1,
        warm_up: int = 100,
        first_update: int = 0,
        device: torch.device | None = None,
        update_buffers: bool = False,
    ) -> None:
        if not 0 < momentum < 1:
            raise ValueError(f'{type(self).__name__}: momentum must be in (0, 1), got {momentum}.')
        super().__init__(model, interval, device, update_buffers)
        self.momentum = momentum
        self.warm_up = warm_up
        self.first_update = first_update
        # Not as usual: the model would become a part of its average.
        object.__setattr__(self, '_model', None)
        self._param_pairs: list[tuple[Tensor, Tensor]] = []

    def current_momentum(self, i: int) -> float:
        """Return m at iteration ``i``."""
        raise AssertionError('a subclass says how the momentum warms up')

    def avg_func(self, averaged_param: Tensor, source_param: Tensor, steps: int) -> None:
        """Update one tensor in place."""
        averaged_param.lerp_(source_param, self.current_momentum(int(steps)))

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Update after an iteration: all tensors in a few calls, not in one each."""
        step = int(self.steps)
        self.steps += 1
        if (step - self.first_update) % self.interval == 0:
            # Parameters stay the same objects; collecting them from hundreds of modules costs as much as the update.
            if self._model is not model:
                object.__setattr__(self, '_model', model)
                self._param_pairs = list(zip(self.module.parameters(), model.parameters(), strict=True))
            pairs = list(self._param_pairs)
            if self.update_buffers:
                named = zip(self.module.named_buffers(), model.buffers(), strict=True)
                pairs += [(averaged, source) for (name, averaged), source in named if name in self.avg_parameters]
            pairs = [pair for pair in pairs if pair[0].dtype.is_floating_point]
            if pairs:
                averaged, fresh = zip(*pairs, strict=True)
                # Where the average lies elsewhere, or in another type, it is copied there first.
                sources = [source.to(target) for target, source in zip(averaged, fresh, strict=True)]
                torch._foreach_lerp_(list(averaged), sources, self.current_momentum(step))
        if not self.update_buffers:
            copy_all(self.module.buffers(), model.buffers())


@MODELS.register_module()
class LinearWarmupEMA(_WarmupEMA):
    """MMCV's ``EMAHook`` and MMDetection's ``LinearMomentumEMAHook``; arguments as in the base class."""

    def current_momentum(self, i: int) -> float:
        """Return the smaller of momentum ** interval, as MMCV has it, and a share that grows towards 1."""
        return min(self.momentum**self.interval, (1 + i) / (self.warm_up + i))


@MODELS.register_module()
class ExpWarmupEMA(_WarmupEMA):
    """MMDetection's ``ExpMomentumEMAHook``; its ``total_iter`` is ``warm_up`` here, other arguments as in the base."""

    def current_momentum(self, i: int) -> float:
        """Fall from 1 towards the momentum."""
        return (1 - self.momentum) * math.exp(-(1 + i) / self.warm_up) + self.momentum

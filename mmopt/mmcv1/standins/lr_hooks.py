"""Learning rates as mmcv 1.x's hooks set them, for classes of repositories that derive from these.

The policies that mmcv itself has, a config names with ``lr_config.policy``, and mmopt's own schedules run them.
"""

from math import cos, pi
from typing import Any

import torch

from mmopt.mmcv1.standins.hooks import HOOKS, Hook

__all__ = [
    'CosineAnnealingLrUpdaterHook',
    'CosineRestartLrUpdaterHook',
    'ExpLrUpdaterHook',
    'FixedLrUpdaterHook',
    'FlatCosineAnnealingLrUpdaterHook',
    'InvLrUpdaterHook',
    'LrUpdaterHook',
    'MomentumUpdaterHook',
    'PolyLrUpdaterHook',
    'StepLrUpdaterHook',
    'annealing_cos',
    'annealing_linear',
    'format_param',
]


def annealing_cos(start: float, end: float, factor: float, weight: float = 1) -> float:
    """Go from one value to another along half a cosine.

    Args:
        start: Value at ``factor`` 0.
        end: Value at 1.
        factor: Where between.
        weight: Of the way; 1 goes all of it.

    Returns:
        The value.
    """
    return end + 0.5 * weight * (start - end) * (cos(pi * factor) + 1)


def annealing_linear(start: float, end: float, factor: float) -> float:
    """Go from one value to another along a line; ``factor`` runs from 0 to 1."""
    return start + (end - start) * factor


def format_param(name: str, optimizer: torch.optim.Optimizer, param: Any) -> list:
    """Return one value per parameter group: a number for all, or a list of as many."""
    if isinstance(param, int | float):
        return [param] * len(optimizer.param_groups)
    if len(param) != len(optimizer.param_groups):
        raise ValueError(f'expected {len(optimizer.param_groups)} values for {name}, got {len(param)}')
    return list(param)


class LrUpdaterHook(Hook):
    """Set the learning rate of each group from its initial one.

    Args:
        by_epoch: Set it per epoch, else per iteration.
        warmup: ``'constant'``, ``'linear'``, ``'exp'`` or None.
        warmup_iters: Iterations, or epochs with ``warmup_by_epoch``, of the warm-up.
        warmup_ratio: Where it begins, as a part of the learning rate.
        warmup_by_epoch: Whether ``warmup_iters`` counts epochs.

    Raises:
        ValueError: If the warm-up is of no known kind.
    """

    def __init__(
        self,
        by_epoch: bool = True,
        warmup: str | None = None,
        warmup_iters: int = 0,
        warmup_ratio: float = 0.1,
        warmup_by_epoch: bool = False,
    ) -> None:
        if warmup not in (None, 'constant', 'linear', 'exp'):
            raise ValueError(f"warmup={warmup!r}: it must be 'constant', 'linear', 'exp' or None.")
        self.by_epoch = by_epoch
        self.warmup = warmup
        self.warmup_iters: Any = None if warmup_by_epoch else warmup_iters
        self.warmup_ratio = warmup_ratio
        self.warmup_by_epoch = warmup_by_epoch
        self.warmup_epochs: Any = warmup_iters if warmup_by_epoch else None
        self.base_lr: Any = []
        self.regular_lr: Any = []

    def _set_lr(self, runner: Any, lr_groups: Any) -> None:
        if isinstance(runner.optimizer, dict):
            for name, optimizer in runner.optimizer.items():
                for group, lr in zip(optimizer.param_groups, lr_groups[name], strict=False):
                    group['lr'] = lr
            return
        for group, lr in zip(runner.optimizer.param_groups, lr_groups, strict=False):
            group['lr'] = lr

    def get_lr(self, runner: Any, base_lr: float) -> float:
        """Return the learning rate of a group; the deriving class says it."""
        raise NotImplementedError

    def get_regular_lr(self, runner: Any) -> Any:
        """Return the learning rates of all groups, warm-up aside."""
        if isinstance(runner.optimizer, dict):
            return {name: [self.get_lr(runner, lr) for lr in self.base_lr[name]] for name in runner.optimizer}
        return [self.get_lr(runner, lr) for lr in self.base_lr]

    def get_warmup_lr(self, cur_iters: int) -> Any:
        """Return the learning rates of all groups in an iteration of the warm-up."""

        def warm(regular: list) -> list:
            if self.warmup == 'constant':
                return [lr * self.warmup_ratio for lr in regular]
            if self.warmup == 'linear':
                k = (1 - cur_iters / self.warmup_iters) * (1 - self.warmup_ratio)
                return [lr * (1 - k) for lr in regular]
            k = self.warmup_ratio ** (1 - cur_iters / self.warmup_iters)
            return [lr * k for lr in regular]

        if isinstance(self.regular_lr, dict):
            return {name: warm(regular) for name, regular in self.regular_lr.items()}
        return warm(self.regular_lr)

    def before_run(self, runner: Any) -> None:
        """Note the initial learning rates, which the optimizer keeps through a resume."""

        def initial(optimizer: torch.optim.Optimizer) -> list:
            for group in optimizer.param_groups:
                group.setdefault('initial_lr', group['lr'])
            return [group['initial_lr'] for group in optimizer.param_groups]

        if isinstance(runner.optimizer, dict):
            self.base_lr = {name: initial(optimizer) for name, optimizer in runner.optimizer.items()}
        else:
            self.base_lr = initial(runner.optimizer)

    def before_train_epoch(self, runner: Any) -> None:
        """Set the learning rate of an epoch."""
        if self.warmup_iters is None:
            self.warmup_iters = self.warmup_epochs * len(runner.data_loader)
        if not self.by_epoch:
            return
        self.regular_lr = self.get_regular_lr(runner)
        self._set_lr(runner, self.regular_lr)

    def before_train_iter(self, runner: Any) -> None:
        """Set the learning rate of an iteration."""
        cur_iter = runner.iter
        warms = self.warmup is not None and cur_iter < self.warmup_iters
        if not self.by_epoch:
            self.regular_lr = self.get_regular_lr(runner)
            self._set_lr(runner, self.get_warmup_lr(cur_iter) if warms else self.regular_lr)
        elif self.warmup is not None and cur_iter <= self.warmup_iters:
            self._set_lr(runner, self.get_warmup_lr(cur_iter) if warms else self.regular_lr)


@HOOKS.register_module()
class FixedLrUpdaterHook(LrUpdaterHook):
    """The initial learning rate."""

    def get_lr(self, runner: Any, base_lr: float) -> float:
        """Return the initial learning rate."""
        return base_lr


@HOOKS.register_module()
class StepLrUpdaterHook(LrUpdaterHook):
    """A factor per step.

    Args:
        step: Length of all steps, or where each begins.
        gamma: The factor.
        min_lr: The lowest rate; None for no bound.
        **kwargs: See :class:`LrUpdaterHook`.
    """

    def __init__(self, step: int | list[int], gamma: float = 0.1, min_lr: float | None = None, **kwargs: Any) -> None:
        self.step = step
        self.gamma = gamma
        self.min_lr = min_lr
        super().__init__(**kwargs)

    def get_lr(self, runner: Any, base_lr: float) -> float:
        """Return the rate at the runner's place."""
        progress = runner.epoch if self.by_epoch else runner.iter
        if isinstance(self.step, int):
            exponent = progress // self.step
        else:
            exponent = next((i for i, begin in enumerate(self.step) if progress < begin), len(self.step))
        lr = base_lr * self.gamma**exponent
        return lr if self.min_lr is None else max(lr, self.min_lr)


@HOOKS.register_module()
class ExpLrUpdaterHook(LrUpdaterHook):
    """A factor per epoch or iteration.

    Args:
        gamma: The factor.
        **kwargs: See :class:`LrUpdaterHook`.
    """

    def __init__(self, gamma: float, **kwargs: Any) -> None:
        self.gamma = gamma
        super().__init__(**kwargs)

    def get_lr(self, runner: Any, base_lr: float) -> float:
        """Return the rate at the runner's place."""
        return base_lr * self.gamma ** (runner.epoch if self.by_epoch else runner.iter)


@HOOKS.register_module()
class PolyLrUpdaterHook(LrUpdaterHook):
    """A power of what is left.

    Args:
        power: 1 is a straight line.
        min_lr: Where it ends.
        **kwargs: See :class:`LrUpdaterHook`.
    """

    def __init__(self, power: float = 1.0, min_lr: float = 0.0, **kwargs: Any) -> None:
        self.power = power
        self.min_lr = min_lr
        super().__init__(**kwargs)

    def get_lr(self, runner: Any, base_lr: float) -> float:
        """Return the rate at the runner's place."""
        progress, most = (runner.epoch, runner.max_epochs) if self.by_epoch else (runner.iter, runner.max_iters)
        return (base_lr - self.min_lr) * (1 - progress / most) ** self.power + self.min_lr


@HOOKS.register_module()
class InvLrUpdaterHook(LrUpdaterHook):
    """A power of the progress.

    Args:
        gamma: Its weight.
        power: Of one plus the weighted progress, in the denominator.
        **kwargs: See :class:`LrUpdaterHook`.
    """

    def __init__(self, gamma: float, power: float = 1.0, **kwargs: Any) -> None:
        self.gamma = gamma
        self.power = power
        super().__init__(**kwargs)

    def get_lr(self, runner: Any, base_lr: float) -> float:
        """Return the rate at the runner's place."""
        progress = runner.epoch if self.by_epoch else runner.iter
        return base_lr * (1 + self.gamma * progress) ** (-self.power)


@HOOKS.register_module()
class CosineAnnealingLrUpdaterHook(LrUpdaterHook):
    """Half a cosine from the initial rate to another.

    Args:
        min_lr: Where it ends.
        min_lr_ratio: Where it ends, as a part of the initial rate; one of the two.
        **kwargs: See :class:`LrUpdaterHook`.

    Raises:
        ValueError: If neither or both are given.
    """

    def __init__(self, min_lr: float | None = None, min_lr_ratio: float | None = None, **kwargs: Any) -> None:
        if (min_lr is None) == (min_lr_ratio is None):
            raise ValueError('CosineAnnealingLrUpdaterHook takes either min_lr or min_lr_ratio')
        self.min_lr = min_lr
        self.min_lr_ratio = min_lr_ratio
        super().__init__(**kwargs)

    def _target(self, base_lr: float) -> float:
        return base_lr * self.min_lr_ratio if self.min_lr_ratio is not None else (self.min_lr or 0.0)

    def get_lr(self, runner: Any, base_lr: float) -> float:
        """Return the rate at the runner's place."""
        progress, most = (runner.epoch, runner.max_epochs) if self.by_epoch else (runner.iter, runner.max_iters)
        return annealing_cos(base_lr, self._target(base_lr), progress / most)


@HOOKS.register_module()
class FlatCosineAnnealingLrUpdaterHook(CosineAnnealingLrUpdaterHook):
    """The initial rate for a while, then half a cosine.

    Args:
        start_percent: Where the cosine begins, as a part of the run.
        min_lr: See the parent.
        min_lr_ratio: See the parent.
        **kwargs: See :class:`LrUpdaterHook`.
    """

    def __init__(
        self,
        start_percent: float = 0.75,
        min_lr: float | None = None,
        min_lr_ratio: float | None = None,
        **kwargs: Any,
    ) -> None:
        self.start_percent = start_percent
        super().__init__(min_lr=min_lr, min_lr_ratio=min_lr_ratio, **kwargs)

    def get_lr(self, runner: Any, base_lr: float) -> float:
        """Return the rate at the runner's place."""
        progress, most = (runner.epoch, runner.max_epochs) if self.by_epoch else (runner.iter, runner.max_iters)
        start = round(most * self.start_percent)
        if progress < start:
            return base_lr
        return annealing_cos(base_lr, self._target(base_lr), (progress - start) / (most - start))


@HOOKS.register_module()
class CosineRestartLrUpdaterHook(CosineAnnealingLrUpdaterHook):
    """Several half cosines.

    Args:
        periods: Their lengths.
        restart_weights: Their heights.
        min_lr: See the parent.
        min_lr_ratio: See the parent.
        **kwargs: See :class:`LrUpdaterHook`.
    """

    def __init__(
        self,
        periods: list[int],
        restart_weights: tuple | list = (1,),
        min_lr: float | None = None,
        min_lr_ratio: float | None = None,
        **kwargs: Any,
    ) -> None:
        self.periods = periods
        self.restart_weights = restart_weights
        self.cumulative_periods = [sum(periods[: i + 1]) for i in range(len(periods))]
        super().__init__(min_lr=min_lr, min_lr_ratio=min_lr_ratio, **kwargs)

    def get_lr(self, runner: Any, base_lr: float) -> float:
        """Return the rate at the runner's place."""
        progress = runner.epoch if self.by_epoch else runner.iter
        index = next(i for i, end in enumerate(self.cumulative_periods) if progress < end)
        start = self.cumulative_periods[index] - self.periods[index]
        alpha = min((progress - start) / self.periods[index], 1)
        return annealing_cos(base_lr, self._target(base_lr), alpha, self.restart_weights[index])


class MomentumUpdaterHook(Hook):
    """A base for hooks of repositories that change the momentum in ``before_train_iter`` and its like."""

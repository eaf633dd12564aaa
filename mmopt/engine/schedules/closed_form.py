"""Warm-up, and the value of a schedule at one iteration: value = f(initial value, iteration, horizon), no state."""

from dataclasses import dataclass

from mmopt.engine.schedules.policies import YOLOX, Horizon, Policy

__all__ = ['Warmup', 'evaluate']


@dataclass(frozen=True)
class Warmup:
    """Warm-up of a schedule.

    Attributes:
        kind: ``'constant'``, ``'linear'``, ``'exp'``, or None for no warm-up.
        iters: Its length, in epochs if ``by_epoch``.
        ratio: Share of the regular value at its beginning, in (0, 1].
        by_epoch: Unit of ``iters``.
    """

    kind: str | None = None
    iters: int = 0
    ratio: float = 0.1
    by_epoch: bool = False

    def length(self, horizon: Horizon) -> int:
        """Return the length in iterations; 0 without a warm-up key."""
        return horizon.iters_until(self.iters) if self.by_epoch else self.iters

    def factor(self, i: int, length: int) -> float:
        """Return the factor on the regular learning rate at iteration ``i < length``."""
        if self.kind == 'constant':
            return self.ratio
        if self.kind == 'linear':
            return 1 - (1 - i / length) * (1 - self.ratio)
        return self.ratio ** (1 - i / length)


def evaluate(
    policy: Policy,
    warmup: Warmup,
    i: int,
    horizon: Horizon,
    *,
    by_epoch: bool,
    initial: float,
    group: int,
    momentum: bool,
) -> float:
    """Return the learning rate or momentum of one parameter group at one iteration.

    Args:
        warmup: Of a momentum it divides, so that the momentum begins high.
        i: Finished iterations.
        by_epoch: Whether the policy counts epochs.
        initial: The group's initial value.
        group: The group's index.
        momentum: Whether it is a momentum.

    Returns:
        The value to use for iteration ``i``.
    """
    t, total = (horizon.epoch_at(i), horizon.max_epochs) if by_epoch else (i, horizon.max_iters)
    base = policy.base(initial, group) * (1.0 if momentum else horizon.lr_scale_at(i))
    length = warmup.length(horizon)
    warming = warmup.kind is not None and i < length
    if isinstance(policy, YOLOX):
        if warming:
            return base * warmup.ratio * ((i + 1) / length) ** 2
        return policy.annealed(base, t, total, length, horizon.last_iters(policy.num_last_epochs))
    value = policy.regular(base, t, total, group)
    if not warming:
        return value
    factor = warmup.factor(i, length)
    return value / factor if momentum else value * factor

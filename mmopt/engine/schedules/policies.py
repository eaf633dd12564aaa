"""MMCV 1.x learning-rate and momentum policies, without warm-up, as closed forms without state.

Each policy is a small frozen dataclass whose fields are the keys of `lr_config` or `momentum_config`. `regular` gives
the value at progress ``t`` of ``total``, both in epochs or both in iterations.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from mmopt.config.schema import canonical_policy
from mmopt.engine.schedules.timetable import Span, Timetable

__all__ = ['LR_POLICIES', 'MOMENTUM_POLICIES', 'YOLOX', 'Horizon', 'Policy', 'make_policy']


@dataclass(frozen=True)
class Horizon:
    """Length of a run.

    Attributes:
        epoch_length: Iterations per epoch (batches of the training loader).
        max_iters: Iterations of the whole run.
        max_epochs: Epochs of the whole run.
        timetable: Of runs whose epochs differ in length; goes before ``epoch_length``.
    """

    epoch_length: int
    max_iters: int
    max_epochs: int
    timetable: Timetable | None = None

    @property
    def _table(self) -> Timetable:
        return self.timetable or Timetable((Span(self.max_epochs, self.epoch_length),))

    def epoch_at(self, i: int) -> int:
        """Return the epoch of an iteration."""
        return self._table.epoch_at(i)

    def iters_until(self, epoch: int) -> int:
        """Return the iterations before an epoch."""
        return self._table.iters_until(epoch)

    def last_iters(self, num_epochs: int) -> int:
        """Return the iterations of the last epochs."""
        if self.timetable is None:
            return num_epochs * self.epoch_length
        return self.max_iters - self.iters_until(max(self.max_epochs - num_epochs, 0))

    def lr_scale_at(self, i: int) -> float:
        """Return the factor on the base learning rate."""
        return 1.0 if self.timetable is None else self.timetable.span_at(self.epoch_at(i)).lr_scale


def _cosine(start: float, end: float, share: float, weight: float = 1.0) -> float:
    return end + 0.5 * weight * (start - end) * (math.cos(math.pi * share) + 1)


def _linear(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


def _annealing(strategy: str) -> Callable[[float, float, float], float]:
    if strategy not in ('cos', 'linear'):
        raise ValueError(f"anneal_strategy must be 'cos' or 'linear', got {strategy!r}.")
    return _cosine if strategy == 'cos' else _linear


@dataclass(frozen=True)
class Policy:
    """Base of all policies, and the policy ``Fixed``: the base value throughout."""

    iteration_only: ClassVar[bool] = False

    def check(self, horizon: Horizon, *, by_epoch: bool) -> None:
        """Refuse a horizon that the policy cannot cover."""

    def base(self, initial: float, group: int) -> float:
        """Return the base value of one parameter group, usually its initial value."""
        return initial

    def regular(self, base: float, t: int, total: int, group: int) -> float:
        """Return the value without warm-up.

        Args:
            base: Base value of the parameter group.
            t: Finished epochs or iterations.
            total: Epochs or iterations of the run.
            group: Index of the parameter group.

        Returns:
            The value.
        """
        return base


@dataclass(frozen=True)
class Step(Policy):
    """Multiply by ``gamma`` at each step; an int repeats. The minimum clips before warm-up."""

    step: int | list[int]
    gamma: float = 0.1
    minimum: float | None = None

    def regular(self, base: float, t: int, total: int, group: int) -> float:
        if isinstance(self.step, int):
            exponent = t // self.step
        else:
            exponent = next((index for index, step in enumerate(self.step) if t < step), len(self.step))
        value = base * self.gamma**exponent
        return value if self.minimum is None else max(value, self.minimum)


@dataclass(frozen=True)
class MomentumStep(Step):
    """The same with MMCV's other default."""

    gamma: float = 0.5


@dataclass(frozen=True)
class Exp(Policy):
    """Multiply by ``gamma`` after every unit."""

    gamma: float

    def regular(self, base: float, t: int, total: int, group: int) -> float:
        return base * self.gamma**t


@dataclass(frozen=True)
class Poly(Policy):
    """A power of the share that is left."""

    power: float = 1.0
    minimum: float = 0.0

    def regular(self, base: float, t: int, total: int, group: int) -> float:
        return (base - self.minimum) * (1 - t / total) ** self.power + self.minimum


@dataclass(frozen=True)
class Inv(Policy):
    """Inverse decay."""

    gamma: float
    power: float = 1.0

    def regular(self, base: float, t: int, total: int, group: int) -> float:
        return base * (1 + self.gamma * t) ** -self.power


@dataclass(frozen=True)
class _Towards(Policy):
    """A policy that ends at a minimum, given absolutely or as a share of the base."""

    minimum: float | None = None
    minimum_ratio: float | None = None

    def __post_init__(self) -> None:
        if (self.minimum is None) == (self.minimum_ratio is None):
            raise ValueError(f'{type(self).__name__} needs exactly one of the minimum and the minimum ratio.')

    def target(self, base: float) -> float:
        """Return where the value ends."""
        # Exactly one of the two is None, see above.
        return self.minimum if self.minimum_ratio is None else base * self.minimum_ratio  # type: ignore[return-value]


@dataclass(frozen=True)
class CosineAnnealing(_Towards):
    """Half a cosine from the base to the target."""

    def regular(self, base: float, t: int, total: int, group: int) -> float:
        return _cosine(base, self.target(base), t / total)


@dataclass(frozen=True)
class LinearAnnealing(_Towards):
    """A straight line from the base to the target."""

    def regular(self, base: float, t: int, total: int, group: int) -> float:
        return _linear(base, self.target(base), t / total)


@dataclass(frozen=True)
class FlatCosineAnnealing(_Towards):
    """The base for ``start_percent`` (a share) of the run, then half a cosine."""

    start_percent: float = 0.75

    def regular(self, base: float, t: int, total: int, group: int) -> float:
        start = round(total * self.start_percent)
        return base if t < start else _cosine(base, self.target(base), (t - start) / (total - start))


@dataclass(frozen=True)
class CosineRestart(_Towards):
    """Half a cosine per period, each from its weight times the base."""

    periods: Sequence[int] = ()
    restart_weights: Sequence[float] = (1,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.periods or len(self.periods) != len(self.restart_weights):
            raise ValueError(
                f'CosineRestart: periods={list(self.periods)} and restart_weights={list(self.restart_weights)} must be '
                'lists of the same length.'
            )

    def check(self, horizon: Horizon, *, by_epoch: bool) -> None:
        length, unit = (horizon.max_epochs, 'epochs') if by_epoch else (horizon.max_iters, 'iterations')
        if sum(self.periods) < length:
            raise ValueError(
                f'CosineRestart: the periods {list(self.periods)} cover {sum(self.periods)} of {length} {unit}; '
                'add one.'
            )

    def regular(self, base: float, t: int, total: int, group: int) -> float:
        start = 0
        for period, weight in zip(self.periods, self.restart_weights, strict=True):
            if t < start + period:
                return _cosine(base, self.target(base), (t - start) / period, weight)
            start += period
        raise AssertionError('check() has found that the periods cover the run')


@dataclass(frozen=True)
class Cyclic(Policy):
    """Up to ``target_ratio[0]`` times the base and down to ``target_ratio[1]`` times it, ``cyclic_times`` times."""

    iteration_only: ClassVar[bool] = True
    target_ratio: float | tuple[float, ...] = (10, 1e-4)
    cyclic_times: int = 1
    step_ratio_up: float = 0.4
    anneal_strategy: str = 'cos'
    gamma: float = 1.0

    def check(self, horizon: Horizon, *, by_epoch: bool) -> None:
        if horizon.max_iters < self.cyclic_times:
            raise ValueError(f'Cyclic: {self.cyclic_times} cycles do not fit into {horizon.max_iters} iterations.')

    def regular(self, base: float, t: int, total: int, group: int) -> float:
        peak, *rest = [self.target_ratio] if isinstance(self.target_ratio, int | float) else self.target_ratio
        valley = rest[0] if rest else peak / 1e5
        length = total // self.cyclic_times
        up = int(self.step_ratio_up * length)
        cycle, position = divmod(t, length)
        # Each cycle keeps `scale` of the distance between the peak and the base.
        scale = self.gamma**cycle
        if position < up:
            start, stop, first, last = 0, up, 1.0, 1 - scale + peak * scale
        elif up:
            start, stop, first, last = up, length, 1 - scale + peak * scale, valley
        else:
            # MMCV knows a phase that begins at 0 as the upward one, also when there is only the other.
            start, stop, first, last = 0, length, peak, 1 - scale + valley * scale
        share = (position - start) / (stop - start)
        return _annealing(self.anneal_strategy)(base * first, base * last, share)


@dataclass(frozen=True)
class MomentumCyclic(Cyclic):
    """The same with MMCV's other default."""

    target_ratio: float | tuple[float, ...] = (0.85 / 0.95, 1.0)


def _one_cycle(
    t: int, phases: list[tuple[float, float, float]], anneal: Callable[[float, float, float], float]
) -> float:
    """Anneal within the phase that holds ``t``; phases are (end, value at its start, value at its end)."""
    start = 0.0
    for index, (end, first, last) in enumerate(phases):
        if t <= end or index == len(phases) - 1:
            return anneal(first, last, (t - start) / (end - start)) if end > start else last
        start = end
    raise AssertionError('a schedule has at least one phase')


@dataclass(frozen=True)
class OneCycle(Policy):
    """The 1cycle policy: its base is ``max_lr / div_factor`` whatever the optimizer's lr is."""

    iteration_only: ClassVar[bool] = True
    max_lr: float | list[float]
    total_steps: int | None = None
    pct_start: float = 0.3
    anneal_strategy: str = 'cos'
    div_factor: float = 25
    final_div_factor: float = 1e4
    three_phase: bool = False

    def check(self, horizon: Horizon, *, by_epoch: bool) -> None:
        if self.total_steps is not None and self.total_steps < horizon.max_iters:
            raise ValueError(
                f'OneCycle: total_steps={self.total_steps} is shorter than the run of {horizon.max_iters} iterations; '
                'drop total_steps.'
            )

    def base(self, initial: float, group: int) -> float:
        return _per_group('max_lr', self.max_lr, group) / self.div_factor

    def regular(self, base: float, t: int, total: int, group: int) -> float:
        total = self.total_steps or total
        peak, last = base * self.div_factor, base / self.final_div_factor
        up = self.pct_start * total - 1
        if self.three_phase:
            phases = [(up, base, peak), (2 * self.pct_start * total - 2, peak, base), (total - 1, base, last)]
        else:
            phases = [(up, base, peak), (total - 1, peak, last)]
        return _one_cycle(t, phases, _annealing(self.anneal_strategy))


@dataclass(frozen=True)
class MomentumOneCycle(Policy):
    """Momentum against the 1cycle learning rate: down to ``base_momentum`` while it rises, up again afterwards."""

    iteration_only: ClassVar[bool] = True
    base_momentum: float | list[float] = 0.85
    max_momentum: float | list[float] = 0.95
    pct_start: float = 0.3
    anneal_strategy: str = 'cos'
    three_phase: bool = False

    def regular(self, base: float, t: int, total: int, group: int) -> float:
        low = _per_group('base_momentum', self.base_momentum, group)
        high = _per_group('max_momentum', self.max_momentum, group)
        up = self.pct_start * total - 1
        if self.three_phase:
            phases = [(up, high, low), (2 * self.pct_start * total - 2, low, high), (total - 1, high, high)]
        else:
            phases = [(up, high, low), (total - 1, low, high)]
        return _one_cycle(t, phases, _annealing(self.anneal_strategy))


def _per_group(name: str, value: float | list[float], group: int) -> float:
    if not isinstance(value, list | tuple):
        return value
    if group >= len(value):
        raise ValueError(
            f'OneCycle: {name} has {len(value)} values but there is a parameter group {group}; give one number, or one '
            'value per group (equal groups are merged).'
        )
    return value[group]


@dataclass(frozen=True)
class YOLOX(_Towards):
    """A quadratic warm-up, a cosine, and the target for the last epochs."""

    num_last_epochs: int = 0

    def annealed(self, base: float, t: int, total: int, warmup: int, last: int) -> float:
        """Return the value outside warm-up; as in MMCV, ``warmup`` and ``last`` are iterations whatever ``t`` is."""
        t += 1
        if t >= total - last:
            return self.target(base)
        return _cosine(base, self.target(base), (t - warmup) / (total - warmup - last))


LR_POLICIES: dict[str, type[Policy]] = {
    'Fixed': Policy,
    'Step': Step,
    'Exp': Exp,
    'Poly': Poly,
    'Inv': Inv,
    'CosineAnnealing': CosineAnnealing,
    'FlatCosineAnnealing': FlatCosineAnnealing,
    'CosineRestart': CosineRestart,
    'LinearAnnealing': LinearAnnealing,
    'Cyclic': Cyclic,
    'OneCycle': OneCycle,
    'YOLOX': YOLOX,
}
MOMENTUM_POLICIES: dict[str, type[Policy]] = {
    'Step': MomentumStep,
    'CosineAnnealing': CosineAnnealing,
    'LinearAnnealing': LinearAnnealing,
    'Cyclic': MomentumCyclic,
    'OneCycle': MomentumOneCycle,
}


def make_policy(name: str, keys: dict[str, Any], *, momentum: bool) -> Policy:
    """Build a policy from the keys of its section.

    Args:
        name: A key of :data:`LR_POLICIES` or :data:`MOMENTUM_POLICIES`, or all in lower case as MMCV allows.
        keys: MMCV's keys; ``min_lr``, ``min_momentum`` and their ratios included.
        momentum: Choose the momentum policies.

    Returns:
        The policy.

    Raises:
        ValueError: If the name or a key is unknown, or a value is out of range.
    """
    policies = MOMENTUM_POLICIES if momentum else LR_POLICIES
    name = canonical_policy('momentum_config' if momentum else 'lr_config', name)
    prefix = 'min_momentum' if momentum else 'min_lr'
    renamed = {'minimum': prefix, 'minimum_ratio': f'{prefix}_ratio'}
    own = {renamed.get(field.name, field.name): field.name for field in fields(policies[name])}
    unknown = sorted(set(keys) - set(own))
    if unknown:
        raise ValueError(f'Policy {name} has no key {unknown[0]!r}; it takes {", ".join(own) or "none"}.')
    try:
        return policies[name](**{own[key]: value for key, value in keys.items()})
    except TypeError as error:
        raise ValueError(f'Policy {name}: {error}.') from error

"""Search a space: measure what promises most, learn from it, stop when nothing does, undo what did not help."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmopt.engine.tuner.cost_model import CostModel
from mmopt.engine.tuner.space import Point, Space

__all__ = ['Outcome', 'Search', 'search']

# A gain below this is not worth another line in a config, nor another trial.
_WORTHWHILE = 0.01
# Standard deviations that a promise may count on.
_OPTIMISM = 2.5
_FEW = 6


@dataclass(frozen=True)
class Outcome:
    """What a trial gave.

    Attributes:
        seconds_per_sample: The time; None if the point cannot be used.
        reason: Why not: ``'out of memory'``, ``'loss 8.1 % off'``.
        too_large: Whether memory was the reason: larger batches need not be tried.
    """

    seconds_per_sample: float | None
    reason: str = ''
    too_large: bool = False


@dataclass
class Search:
    """What a search found.

    Attributes:
        space: What was searched.
        trials: Measured settings with their outcomes, in order.
        pruned: Settings that were never tried because they cannot fit in memory.
        best: The chosen point.
        model: What was learnt.
    """

    space: Space
    trials: list[tuple[dict[str, Any], Outcome]] = field(default_factory=list)
    pruned: int = 0
    best: dict[str, Any] = field(default_factory=dict)
    model: CostModel = field(init=False)

    def __post_init__(self) -> None:
        self.model = CostModel(self.space)

    def outcome(self, point: Point) -> Outcome | None:
        """Return what a point gave; None if it was not tried."""
        return next((outcome for tried, outcome in self.trials if tried == point), None)

    def speed(self, point: Point) -> float:
        """Return the throughput of a measured point over the base's."""
        return self.seconds(self.space.base) / self.seconds(point)

    def seconds(self, point: Point) -> float:
        """Return the seconds per sample of a point that was measured and can be used."""
        outcome = self.outcome(point)
        assert outcome is not None, f'{point} was not measured'
        assert outcome.seconds_per_sample is not None, f'{point} cannot be used'
        return outcome.seconds_per_sample


def search(
    space: Space,
    measure: Callable[[dict[str, Any]], Outcome],
    *,
    fits: Callable[[Point], bool] = lambda point: True,
    max_trials: int = 24,
    max_share: float = 0.4,
) -> Search:
    """Find the fastest point.

    Args:
        space: The knobs.
        measure: Runs one trial.
        fits: Whether a point is expected to fit in memory: others are not tried.
        max_share: Share of all settings at most; a few are always tried.

    Returns:
        What was found. The base is the best where nothing beats it by 1 %.

    Raises:
        RuntimeError: If no setting at all can be used; the text is the last reason.
    """
    found = Search(space)
    candidates = [point for point in space if point == space.base or fits(point)]
    found.pruned = len(space) - len(candidates)
    max_trials = min(max_trials, max(_FEW, int(max_share * len(space))))
    model = found.model
    queue = [space.base]
    while len(found.trials) < max_trials:
        point = queue.pop() if queue else _most_promising(found, candidates, model)
        if point is None:
            break
        outcome = measure(point)
        found.trials.append((point, outcome))
        if outcome.too_large:
            candidates = [other for other in candidates if not space.takes_more(other, point)]
        _learn(found, model)
    _undo(found, candidates, model, measure, max_trials)
    return found


def _usable(found: Search) -> list[tuple[dict[str, Any], float]]:
    return [(point, o.seconds_per_sample) for point, o in found.trials if o.seconds_per_sample is not None]


def _learn(found: Search, model: CostModel) -> None:
    usable = _usable(found)
    if usable:
        model.learn(*zip(*usable, strict=True))


def _is_clear(found: Search, point: Point) -> bool:
    """Tell whether nothing is known against a point: no value that fails, and at most one that may.

    A trial that failed leaves its changes under suspicion, but for those that another trial has cleared. A suspect
    alone among cleared changes is tried; if that fails, too, it is out.
    """
    changes = [set(found.space.changes(tried).items()) for tried, _ in found.trials]
    cleared = {
        change
        for own, (_, outcome) in zip(changes, found.trials, strict=True)
        if outcome.seconds_per_sample is not None
        for change in own
    }
    suspects: set[tuple] = set()
    for own, (_, outcome) in zip(changes, found.trials, strict=True):
        if outcome.seconds_per_sample is None and not outcome.too_large:
            left = own - cleared
            if len(left) == 1 and left <= set(found.space.changes(point).items()):
                return False
            suspects |= left
    changed = set(found.space.changes(point).items())
    doubtful = suspects & changed
    return not doubtful or (len(doubtful) == 1 and changed - doubtful <= cleared)


def _most_promising(found: Search, candidates: Sequence[dict], model: CostModel) -> dict[str, Any] | None:
    """Return the untried point whose time may be the lowest; None if none may beat the best."""
    untried = [point for point in candidates if found.outcome(point) is None and _is_clear(found, point)]
    if not untried:
        return None

    def promise(point: dict[str, Any]) -> float:
        mean, doubt = model.predict(point)
        return mean - _OPTIMISM * doubt

    chosen = min(untried, key=promise)
    usable = _usable(found)
    if not usable:  # the base itself does not fit: go where memory is least
        return min(untried, key=lambda point: (found.space.memory_rank(point), promise(point)))
    best = min(model.predict(point)[0] for point, _ in usable)
    return chosen if promise(chosen) < best - _WORTHWHILE else None


def _undo(
    found: Search,
    candidates: Sequence[dict],
    model: CostModel,
    measure: Callable[[dict[str, Any]], Outcome],
    max_trials: int,
) -> None:
    """Choose the best, and take back each change that does not pay."""
    usable = _usable(found)
    if not usable:
        raise RuntimeError(found.trials[-1][1].reason if found.trials else 'no setting fits in memory')
    best = min(usable, key=lambda pair: pair[1])[0]
    undone = True
    while undone:
        undone = False
        for name in found.space.changes(best):
            simpler = dict(best, **{name: found.space.base[name]})
            if simpler not in candidates or model.predict(simpler)[0] > model.predict(best)[0] + _WORTHWHILE:
                continue
            if found.outcome(simpler) is None:
                if len(found.trials) >= max_trials:
                    continue
                found.trials.append((simpler, measure(simpler)))
                _learn(found, model)
            outcome = found.outcome(simpler)
            assert outcome is not None, 'it has just been tried'
            seconds = outcome.seconds_per_sample
            if seconds is not None and seconds <= (1 + _WORTHWHILE) * found.seconds(best):
                best, undone = simpler, True
                break
    found.best = best

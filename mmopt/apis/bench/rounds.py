"""Rounds of trials, interleaved: every round measures every setting once, so that a slow minute slows all alike."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmopt.apis.bench.launch import run_fresh
from mmopt.apis.bench.settings import Setting, TrialPlan

__all__ = ['SettingResult', 'Spread', 'benchmark', 'loss_difference', 'peak_gib']


@dataclass(frozen=True)
class Spread:
    """The median of several rounds, with the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> 'Spread':
        """Return the spread of some values."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass
class SettingResult:
    """All trials of one setting.

    Attributes:
        trials: What was measured, by round.
        metrics: Metrics of a whole training, by seed; empty unless asked for.
        failure: Why there is no figure; empty if there is one.
    """

    setting: Setting
    trials: list[dict[str, Any]] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    failure: str = ''

    def step_s(self) -> list[float]:
        """Return the seconds per iteration of each round: medians over the iterations."""
        return [statistics.median(trial['iter_s']) for trial in self.trials]

    def samples_per_s(self) -> list[float]:
        """Return the throughput of each round."""
        return [trial['batch_size'] / step for trial, step in zip(self.trials, self.step_s(), strict=True)]

    def speed_over(self, base: 'SettingResult') -> Spread:
        """Return the throughput over the baseline's of the same round."""
        pairs = zip(self.samples_per_s(), base.samples_per_s(), strict=False)
        return Spread.of([own / other for own, other in pairs])

    def median(self, key: str) -> float | None:
        """Return the median over the rounds of one figure; None where it was not measured."""
        values = [trial[key] for trial in self.trials if key in trial]
        return statistics.median(values) if values else None

    def peak_gib(self) -> tuple[str, float]:
        """Return what kind of memory was measured, and the highest peak."""
        peaks = [peak_gib(trial) for trial in self.trials]
        return peaks[0][0], max(peak for _, peak in peaks)


def peak_gib(trial: Mapping[str, Any]) -> tuple[str, float]:
    """Return what kind of memory a trial measured, and its peak.

    Args:
        trial: What a trial that did not fail gave.

    Returns:
        ``'reserved'`` of a GPU; without one ``'host'``, of the process and its workers; and GiB.
    """
    kind = 'reserved' if 'reserved' in trial['peak_gib'] else 'host'
    return kind, trial['peak_gib'][kind]


def loss_difference(own: Mapping[str, Any], base: Mapping[str, Any]) -> float | None:
    """Return the mean difference of the losses over the mean loss of the baseline.

    Losses are compared step by step: a batch of 8 and two accumulated ones of 4 see the same samples.

    Args:
        own: A trial.
        base: The trial to compare with.

    Returns:
        A share, e.g. 0.001; None where a step takes another number of samples: its losses are of others.
    """
    if own['batch_size'] * own['accumulation'] != base['batch_size'] * base['accumulation']:
        return None
    pairs = list(zip(_losses_by_step(own), _losses_by_step(base), strict=False))
    level = sum(abs(b) for _, b in pairs)
    return sum(abs(a - b) for a, b in pairs) / level if level else None


def _losses_by_step(trial: Mapping[str, Any]) -> list[float]:
    length, losses = trial['accumulation'], trial['losses']
    return [sum(losses[start : start + length]) / length for start in range(0, len(losses), length)]


def benchmark(
    settings: Sequence[Setting],
    plan: TrialPlan,
    folder: Path,
    *,
    rounds: int = 3,
    again: bool = False,
    run: Callable[..., dict[str, Any]] = run_fresh,
    report: Callable[[Setting, int, dict[str, Any]], None] = lambda *_: None,
) -> list[SettingResult]:
    """Measure settings, round after round.

    Args:
        plan: How to measure them; with ``metric`` a round is a seed.
        folder: Results and logs of the trials; what is finished there is not run again.
        rounds: Trials per setting.
        again: Run all, whatever is there.
        run: What runs a trial.
        report: Called after each trial with setting, round and result.

    Returns:
        One result per setting. A setting that fails is left out of later rounds.
    """
    results = {id(setting): SettingResult(setting) for setting in settings}
    for repeat in range(rounds):
        # There and back: a machine that slows down while it warms up favours nobody.
        for setting in settings if repeat % 2 == 0 else settings[::-1]:
            outcome = results[id(setting)]
            if outcome.failure:
                continue
            trial = run(setting, plan, folder, repeat, again=again)
            if 'failed' in trial:
                outcome.failure = f'{trial["failed"]}: {trial["message"]}'
            elif plan.metric:
                outcome.metrics.append(trial)
            else:
                outcome.trials.append(trial)
            report(setting, repeat, trial)
    return list(results.values())

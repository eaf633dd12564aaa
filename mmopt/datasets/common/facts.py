"""What a data set says of each of its samples before a training, and which are odd: for tools/datasets/check.py.

A data set offers ``describe_sample(index) -> SampleFacts`` and names what it counts in ``TARGETS``, e.g.
'boxes'.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ['OddSample', 'SampleFacts', 'find_odd', 'short']

_RARE = 0.01  # share of the samples below which a class is worth a look
_LEAST_SPREAD = 0.1  # of the middle value: pictures of nearly one size are all usual
_FAR = 3.0  # spreads from the middle value at which a sample becomes odd
_NOTE = 8.0  # what a note counts, in spreads


@dataclass(frozen=True)
class SampleFacts:
    """One sample in numbers.

    Attributes:
        name: File or video that people can look at.
        targets: How many it has of each class; shares of a picture where classes are areas.
        numbers: Measured quantities by name, with the unit in it: ``'width px'``. Samples are compared by them.
        notes: What is wrong or strange about it, in words.
    """

    name: str
    targets: Mapping[str, float] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class OddSample:
    """A sample that differs from the others.

    Attributes:
        place: Its place in the list.
        reasons: Why, the strongest first.
    """

    place: int
    reasons: tuple[str, ...]


def short(value: float) -> str:
    """Write a number with three digits, or all digits before the point."""
    return f'{value:,.0f}' if abs(value) >= 100 else f'{value:.3g}'


def find_odd(samples: Sequence[SampleFacts], count: int = 5) -> list[OddSample]:
    """Return the samples that differ most from the middle one, by their numbers, notes and rare classes.

    Args:
        samples: All of one split.
        count: Samples at most.

    Returns:
        Them, the oddest first. Where too few are odd, those that differ most follow.
    """
    reasons: list[list[tuple[float, str]]] = [[(_NOTE, note) for note in sample.notes] for sample in samples]
    slight: list[list[tuple[float, str]]] = [[] for _ in samples]
    for name in dict.fromkeys(name for sample in samples for name in sample.numbers):
        values = np.array([sample.numbers.get(name, np.nan) for sample in samples], dtype=np.float64)
        if np.isnan(values).all():
            continue
        middle = float(np.nanmedian(values))
        spread = 1.4826 * float(np.nanmedian(np.abs(values - middle))) + _LEAST_SPREAD * abs(middle) + 1e-9
        far = np.minimum(np.abs(values - middle) / spread, 100.0)
        for place in np.flatnonzero(far > 0).tolist():
            text = f'{name} {short(float(values[place]))} (usual {short(middle)})'
            (reasons if far[place] >= _FAR else slight)[place].append((float(far[place]), text))
    having = Counter(name for sample in samples for name, number in sample.targets.items() if number > 0)
    for place, sample in enumerate(samples):
        for name, number in sample.targets.items():
            if number > 0 and having[name] <= _RARE * len(samples):
                seldom = f'one of {having[name]} samples' if having[name] > 1 else 'the only sample'
                reasons[place].append((_NOTE / 2, f'{seldom} with {name}'))

    def rank(place: int) -> tuple[float, float]:
        return -sum(weight for weight, _ in reasons[place]), -max((weight for weight, _ in slight[place]), default=0.0)

    def told(place: int) -> tuple[str, ...]:
        found = sorted(reasons[place] or slight[place], key=lambda reason: -reason[0])
        return tuple(text for _, text in found) or ('like the others',)

    return [OddSample(place, told(place)) for place in sorted(range(len(samples)), key=rank)[:count]]

"""Knobs and their settings."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ['Knob', 'Point', 'Space']


Point = Mapping[str, Any]
"""A setting as the search sees it: name of a knob -> its value."""


@dataclass(frozen=True)
class Knob:
    """Something that can be set.

    Attributes:
        base: Its value in the config as it is.
        values: All values to consider, the base among them.
        expected: Value -> factor on the time per sample that people find; 1 where it is missing.
        doubt: How far off that may be: standard deviation of the factor's logarithm.
        is_ordered: Whether values are amounts (batch, workers): then neighbors have similar effects, and ``expected``
            and ``doubt`` hold per doubling.
        memory: Value -> its place among the values by the memory it takes; empty if that is the same for all.
    """

    name: str
    base: Any
    values: tuple[Any, ...]
    expected: Mapping[Any, float] = field(default_factory=dict)
    doubt: float = 0.15
    is_ordered: bool = False
    memory: Mapping[Any, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.base not in self.values:
            raise ValueError(f'knob {self.name}: its base {self.base!r} is not among its values {self.values}.')

    def prior(self, value: Any) -> float:
        """Return the expected logarithm of the factor that a value has over the base."""
        return math.log(self.expected.get(value, 1.0))


@dataclass(frozen=True)
class Space:
    """All settings of some knobs."""

    knobs: tuple[Knob, ...]

    @property
    def base(self) -> dict[str, Any]:
        """The config as it is."""
        return {knob.name: knob.base for knob in self.knobs}

    def __len__(self) -> int:
        return math.prod(len(knob.values) for knob in self.knobs)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        names = [knob.name for knob in self.knobs]
        for values in itertools.product(*(knob.values for knob in self.knobs)):
            yield dict(zip(names, values, strict=True))

    def memory_rank(self, point: Point) -> tuple[float, ...]:
        """Return the places of a point's values by memory."""
        return tuple(knob.memory[point[knob.name]] for knob in self.knobs if knob.memory)

    def takes_more(self, point: Point, other: Point) -> bool:
        """Tell whether a point takes at least the memory of another, value by value."""
        pairs = zip(self.memory_rank(point), self.memory_rank(other), strict=True)
        return all(own >= theirs for own, theirs in pairs)

    def changes(self, point: Point) -> dict[str, Any]:
        """Return what a point changes of the base."""
        return {knob.name: point[knob.name] for knob in self.knobs if point[knob.name] != knob.base}

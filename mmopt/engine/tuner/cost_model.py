"""Time per sample of any point, from the few that were measured: Bayesian regression on factors.

A knob multiplies the time by a factor, and two knobs together may do so by another one (channels_last pays in half
precision more than in single). Logarithms make that a linear model; expectation and doubt about each factor make the
prior; every trial narrows it. With a handful of trials everything is a product of small matrices.
"""

import math
from collections.abc import Sequence

import numpy as np

from mmopt.engine.tuner.space import Knob, Point, Space

__all__ = ['CostModel']

_INTERACTION_DOUBT = 0.06
_CURVE_DOUBT = 0.06
# One trial against another of the same point; the time scale itself is unknown at first.
_NOISE, _SCALE_DOUBT = 0.02, 10.0


class CostModel:
    """Predict the logarithm of the time per sample.

    Args:
        space: The knobs.
        noise: Standard deviation of one measured logarithm.
    """

    def __init__(self, space: Space, noise: float = _NOISE) -> None:
        self.space = space
        self.noise = noise
        self._single = [(knob, value) for knob in space.knobs for value in knob.values if value != knob.base]
        self._pairs = [
            (one, other)
            for place, one in enumerate(self._single)
            for other in self._single[place + 1 :]
            if one[0] is not other[0]
        ]
        slopes = [knob for knob in space.knobs if knob.is_ordered]
        self._slopes = slopes
        # Columns: scale, slopes of amounts, single values, pairs.
        doubts = [_SCALE_DOUBT, *(knob.doubt for knob in slopes)]
        doubts += [_CURVE_DOUBT if knob.is_ordered else knob.doubt for knob, _ in self._single]
        doubts += [_INTERACTION_DOUBT] * len(self._pairs)
        self._prior_covariance = np.diag(np.square(doubts))
        self._covariance = self._prior_covariance
        self._mean = np.zeros(len(doubts))

    def _row(self, point: Point) -> np.ndarray:
        on = [point[knob.name] == value for knob, value in self._single]
        place = {id(single): index for index, single in enumerate(self._single)}
        pairs = [on[place[id(one)]] and on[place[id(other)]] for one, other in self._pairs]
        slopes = [_doublings(knob, point[knob.name]) for knob in self._slopes]
        return np.array([1.0, *slopes, *on, *pairs], dtype=float)

    def _expected(self, point: Point) -> float:
        total = 0.0
        for knob in self.space.knobs:
            total += knob.prior(point[knob.name])
        return total

    def learn(self, settings: Sequence[Point], seconds_per_sample: Sequence[float]) -> None:
        """Replace what was learnt by what these trials say.

        Args:
            settings: The measured settings.
            seconds_per_sample: Their times.
        """
        rows = np.stack([self._row(point) for point in settings])
        # What the priors do not explain.
        rest = np.log(seconds_per_sample) - [self._expected(point) for point in settings]
        prior = self._prior_covariance
        gain = prior @ rows.T @ np.linalg.inv(rows @ prior @ rows.T + self.noise**2 * np.eye(len(rows)))
        self._mean = gain @ rest
        self._covariance = prior - gain @ rows @ prior

    def predict(self, point: Point) -> tuple[float, float]:
        """Return mean and standard deviation of the logarithm of the time per sample."""
        row = self._row(point)
        variance = float(row @ self._covariance @ row)
        return self._expected(point) + float(row @ self._mean), math.sqrt(max(variance, 0.0))

    def factor(self, point: Point, other: Point) -> float:
        """Return the expected throughput of a point over that of another."""
        return math.exp(self.predict(other)[0] - self.predict(point)[0])


def _doublings(knob: Knob, value: float) -> float:
    # Workers may be none: one more than that is as much as a doubling.
    return math.log2(value + 1) - math.log2(knob.base + 1) if 0 in knob.values else math.log2(value / knob.base)

"""Street layouts: where the road, crossings, walkways and car parks of one demo sample are.

A street follows a circular arc. Road coordinates are s (meters along it from the camera) and d (meters to the right of
its center line); both directions of the map are exact. Every surface is a union of intervals in s and d, and its share
of a pixel or cell is computed in closed form: renderer and label ask the same function, so they cannot disagree, and
the picture needs no supersampling.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ['CrossStreet', 'Side', 'Street', 'band', 'sample_street', 'stripes']

KERB_M = 0.25
CROSSING_M = 3.2
_CROSSING_GAP_M = 1.4
_FAR_M = 200.0


def band(position: np.ndarray, start: float, stop: float, width: np.ndarray | float) -> np.ndarray:
    """Return the share of ``position +- width / 2`` that lies in the interval ``[start, stop)``."""
    # Not np.clip: on the few points of a footprint the call costs more than the numbers.
    upper = np.minimum(np.maximum((stop - position) / width + 0.5, 0), 1)
    return upper - np.minimum(np.maximum((start - position) / width + 0.5, 0), 1)


def stripes(position: np.ndarray, period: float, line: float, width: np.ndarray | float) -> np.ndarray:
    """Return the share of ``position +- width / 2`` on lines ``[k * period, k * period + line)``."""

    def integral(p: np.ndarray) -> np.ndarray:
        whole = np.floor(p / period)
        return whole * line + np.minimum(p - whole * period, line)

    return (integral(position + width / 2) - integral(position - width / 2)) / width


@dataclass(frozen=True)
class Side:
    """What lies beside the road, from the kerb outwards.

    Attributes:
        bays_m: Width of a strip of parking bays along the kerb, 0 for none.
        bays: Half-open interval of s that the strip covers.
        verge_m: Width of the grass strip (where there are bays, of what lies behind them).
        walk_m: Width of the walkway.
        lot: Interval of s of a car park behind the walkway; empty (0, 0) for none.
        lot_m: Depth of the car park.
    """

    bays_m: float
    bays: tuple[float, float]
    verge_m: float
    walk_m: float
    lot: tuple[float, float]
    lot_m: float

    @property
    def walk_start(self) -> float:
        """Distance from the road's edge to the walkway."""
        return self.bays_m + self.verge_m

    @property
    def walk_stop(self) -> float:
        """Distance from the road's edge to the far side of the walkway."""
        return self.walk_start + self.walk_m


@dataclass(frozen=True)
class CrossStreet:
    """A street that meets the main one at a right angle.

    Attributes:
        start: Where it begins along the main street, s in meters.
        arms: Whether it leaves to the left and to the right.
        walk_m: Width of its walkways.
    """

    start: float
    stop: float
    arms: tuple[bool, bool]
    walk_m: float


@dataclass(frozen=True)
class Street:
    """One layout.

    Attributes:
        heading: Angle of the road at the camera, radians to the right of the optical axis.
        curvature: 1 / radius of the arc, positive to the right.
        ego_d: Where the camera is across the road.
        lanes: Center (d) and direction (+1 with the camera) of each lane, left to right.
        lane_m: Width of a lane.
        sides: What lies left and right of the road.
        cross: A cross street, or None.
        crossings: Intervals of s of zebra crossings over the main road.
    """

    heading: float
    curvature: float
    ego_d: float
    lanes: tuple[tuple[float, int], ...]
    lane_m: float
    sides: tuple[Side, Side]
    cross: CrossStreet | None
    crossings: tuple[tuple[float, float], ...]

    @property
    def edges(self) -> tuple[float, float]:
        """d of the road's left and right edge."""
        return self.lanes[0][0] - self.lane_m / 2, self.lanes[-1][0] + self.lane_m / 2

    def to_road(self, x: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map ground points to (s, d)."""
        sin, cos = math.sin(self.heading), math.cos(self.heading)
        along, across = x * sin + z * cos, x * cos - z * sin + self.ego_d
        if not self.curvature:
            return along, across
        sign, radius = math.copysign(1, self.curvature), 1 / abs(self.curvature)
        inward = radius - sign * across
        return radius * np.arctan2(along, inward), sign * (radius - np.hypot(along, inward))

    def to_world(self, s: np.ndarray | float, d: np.ndarray | float) -> tuple[Any, Any]:
        """Map (s, d) to ground points (x, z): arrays of arrays, numbers of numbers."""
        along, across = s, d
        if self.curvature:
            sign, radius = math.copysign(1, self.curvature), 1 / abs(self.curvature)
            angle, inward = s / radius, radius - sign * d
            along, across = inward * np.sin(angle), sign * (radius - inward * np.cos(angle))
        across = across - self.ego_d
        sin, cos = math.sin(self.heading), math.cos(self.heading)
        return along * sin + across * cos, along * cos - across * sin

    def yaw(self, s: np.ndarray | float) -> np.ndarray | float:
        """Direction of the road at s, radians to the right of the optical axis."""
        return self.heading + self.curvature * s

    def regions(
        self, s: np.ndarray, d: np.ndarray, width_s: np.ndarray | float, width_d: np.ndarray | float
    ) -> dict[str, np.ndarray]:
        """Share of each surface in patches of ``width_s`` x ``width_d`` around (s, d).

        Args:
            s: Positions along the road.
            d: Positions across it.
            width_s: Extent of the patch along the road, > 0.
            width_d: Extent of the patch across the road, > 0.

        Returns:
            ``road`` (main and cross), ``crossing``, ``walkway``, ``carpark``; a crossing lies on the road, the others
            exclude each other.
        """
        left, right = self.edges
        road = band(d, left, right, width_d)
        walkway = np.zeros_like(road)
        carpark = np.zeros_like(road)
        crossing = np.zeros_like(road)
        for start, stop in self.crossings:
            crossing = np.maximum(crossing, band(s, start, stop, width_s) * road)
        for side, outward in zip(self.sides, (left - d, d - right), strict=True):
            walkway = np.maximum(walkway, band(outward, side.walk_start, side.walk_stop, width_d))
            if side.bays_m:
                carpark = np.maximum(carpark, band(outward, 0, side.bays_m, width_d) * band(s, *side.bays, width_s))
            if side.lot_m:
                depth = band(outward, side.walk_stop, side.walk_stop + side.lot_m, width_d)
                carpark = np.maximum(carpark, depth * band(s, *side.lot, width_s))
        if self.cross:
            arms = band(d, -_FAR_M if self.cross.arms[0] else left, _FAR_M if self.cross.arms[1] else right, width_d)
            start, stop, walk = self.cross.start, self.cross.stop, self.cross.walk_m
            cross_road = band(s, start, stop, width_s) * arms
            kerbs = band(s, start - walk, stop + walk, width_s) * arms
            # The walkways of the cross street go round the corner; a car park ends there.
            carpark = carpark * (1 - kerbs)
            walkway = np.maximum(walkway, kerbs)
            for edge, arm, outward in zip((0, 1), self.cross.arms, (left - d, d - right), strict=True):
                if arm:
                    offset = self.sides[edge].walk_start
                    over = band(outward, offset, offset + CROSSING_M, width_d)
                    crossing = np.maximum(crossing, over * cross_road)
            road = np.maximum(road, cross_road)
        carpark = carpark * (1 - road)
        walkway = walkway * (1 - road) * (1 - carpark)
        return dict(road=road, crossing=crossing, walkway=walkway, carpark=carpark)


def sample_street(rng: np.random.Generator) -> Street:
    """Draw a layout.

    Heading, curvature, width, lane, cross street and both sides vary much from sample to sample, so that a map learned
    without the image is of little use.
    """
    lane_m = rng.uniform(3.2, 3.7)
    lanes = _sample_lanes(rng, lane_m)
    with_ego = [d for d, direction in lanes if direction > 0]
    heading = rng.normal(0, 0.05) if rng.random() < 0.7 else rng.uniform(-0.3, 0.3)
    curvature = 0.0 if rng.random() < 0.35 else rng.uniform(-1, 1) / 60
    cross = None
    if rng.random() < 0.6:
        start = rng.uniform(13, 38)
        arms = ((True, True), (True, False), (False, True))[rng.choice(3, p=(0.5, 0.25, 0.25))]
        cross = CrossStreet(start, start + rng.uniform(7, 13), arms, rng.uniform(2.2, 3.5))
    crossings = []
    if cross:
        if rng.random() < 0.8:
            stop = cross.start - _CROSSING_GAP_M
            crossings.append((stop - CROSSING_M, stop))
        if rng.random() < 0.6:
            start = cross.stop + _CROSSING_GAP_M
            crossings.append((start, start + CROSSING_M))
    elif rng.random() < 0.6:
        start = rng.uniform(8, 28)
        crossings.append((start, start + rng.uniform(3, 4.5)))
    sides = _sample_side(rng, cross, crossings), _sample_side(rng, cross, crossings)
    ego_d = with_ego[rng.integers(len(with_ego))] + rng.normal(0, 0.3)
    return Street(heading, curvature, ego_d, lanes, lane_m, sides, cross, tuple(crossings))


def _sample_lanes(rng: np.random.Generator, lane_m: float) -> tuple[tuple[float, int], ...]:
    directions = ((-1, 1), (-1, -1, 1, 1), (1, 1), (-1, 1, 1), (1, 1, 1))[rng.choice(5, p=(0.3, 0.25, 0.15, 0.2, 0.1))]
    # In a third of the towns one drives on the left, as in Singapore.
    if rng.random() < 1 / 3:
        directions = directions[::-1]
    middle = (len(directions) - 1) / 2
    return tuple(((index - middle) * lane_m, direction) for index, direction in enumerate(directions))


def _sample_side(rng: np.random.Generator, cross: CrossStreet | None, crossings: list[tuple[float, float]]) -> Side:
    # What is parked must leave crossings free.
    taken = [*crossings, (cross.start - 4, cross.stop + 4)] if cross else crossings
    bays, lot = (0.0, 0.0), (0.0, 0.0)
    if rng.random() < 0.4:
        bays = _free_interval(rng.uniform(3, 12), rng.uniform(25, 45), taken)
    if rng.random() < 0.35:
        lot = _free_interval(rng.uniform(6, 14), rng.uniform(28, 45), taken)
    return Side(
        bays_m=2.6 if bays[1] else 0.0,
        bays=bays,
        verge_m=float(rng.choice((0.0, rng.uniform(0.8, 2.5)))),
        walk_m=rng.uniform(2.0, 4.5),
        lot=lot,
        lot_m=float(rng.choice((11.0, 16.0))) if lot[1] else 0.0,
    )


def _free_interval(start: float, stop: float, taken: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the longer part of ``[start, stop)`` before or behind what is taken; (0, 0) if it is under 8 m."""
    begin = min((low for low, _ in taken), default=stop)
    end = max((high for _, high in taken), default=start)
    best = max((start, min(stop, begin)), (max(start, end), stop), key=lambda part: part[1] - part[0])
    return best if best[1] - best[0] >= 8 else (0.0, 0.0)

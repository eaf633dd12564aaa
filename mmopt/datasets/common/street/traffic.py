"""Who is on the street: vehicles in lanes and bays, people on walkways and crossings, a construction site."""

from collections.abc import Callable

import numpy as np

from mmopt.datasets.common.street import figures, vehicles
from mmopt.datasets.common.street.items import Item
from mmopt.datasets.common.street.solids import Solid
from mmopt.datasets.common.street.street import CrossStreet, Street

__all__ = ['CLASSES', 'KINDS', 'sample_traffic']

_Shape = Callable[[tuple[float, float, float], np.random.Generator], list[Solid]]

# Mean length, width, height of nuScenes' boxes, in meters.
KINDS: dict[str, tuple[tuple[float, float, float], _Shape]] = dict(
    car=((4.62, 1.95, 1.73), vehicles.make_car),
    truck=((6.93, 2.51, 2.84), vehicles.make_truck),
    bus=((11.1, 2.94, 3.47), vehicles.make_bus),
    trailer=((11.0, 2.90, 3.87), vehicles.make_trailer),
    construction_vehicle=((6.37, 2.85, 3.19), vehicles.make_construction_vehicle),
    pedestrian=((0.73, 0.67, 1.77), figures.make_pedestrian),
    motorcycle=((2.11, 0.77, 1.62), figures.make_motorcycle),
    bicycle=((1.70, 0.60, 1.62), figures.make_bicycle),
    traffic_cone=((0.41, 0.41, 1.07), figures.make_cone),
    barrier=((0.50, 2.53, 0.98), figures.make_barrier),
)

CLASSES: tuple[str, ...] = ('drivable_area', 'ped_crossing', 'walkway', 'carpark', *KINDS)
"""nuScenes' classes: those of the ground, then those of things."""

_NEAREST_M = 6.5
_FARTHEST_M = 55.0


class _Scene:
    """Items placed so far; refuses one that would stand in another."""

    def __init__(self, street: Street, rng: np.random.Generator) -> None:
        self.street = street
        self.rng = rng
        self.items: list[Item] = []

    def add(self, kind: str, s: float, d: float, turn: float = 0.0, height: float | None = None) -> Item | None:
        """Place one thing at (s, d), turned against the road's direction; None if there is no room or no view."""
        mean, make = KINDS[kind]
        rng = self.rng
        spread = 0.0 if kind in ('traffic_cone', 'barrier') else 0.07
        size = tuple((np.array(mean) * (1 + spread * rng.uniform(-1, 1, 3))).tolist())
        if height:
            size = (*size[:2], height)
        x, z = (float(value) for value in self.street.to_world(s, d))
        item = Item(kind, CLASSES.index(kind), (x, z, float(self.street.yaw(s) + turn)), size)
        corners = item.corners_42
        in_view = (np.abs(corners[:, 0]) < 0.66 * corners[:, 1]).any()
        if corners[:, 1].min() < _NEAREST_M or z > _FARTHEST_M or not in_view:
            return None
        # A gap of at least 0.3 m all around; barriers stand end to end.
        gap = 0.0 if kind == 'barrier' else 0.3
        grown = Item(kind, None, item.pose, (size[0] + gap, size[1] + gap, size[2]))
        if any(grown.meets(other) for other in self.items):
            return None
        item = Item(kind, item.category, item.pose, size, make(size, rng))
        self.items.append(item)
        return item


def sample_traffic(street: Street, rng: np.random.Generator) -> list[Item]:
    """Fill a street.

    Returns:
        Items with a class; footprints do not meet.
    """
    scene = _Scene(street, rng)
    if rng.random() < 0.5:
        _add_site(scene)
    # One sample in ten is an empty street early in the morning.
    density = 0.0 if rng.random() < 0.1 else rng.uniform(0.4, 1.0)
    for d, direction in street.lanes:
        _fill_lane(scene, d, direction, density)
    if street.cross:
        _fill_cross(scene, street.cross, density)
    for index, side in enumerate(street.sides):
        outward = _outward(street, index)
        if side.bays_m:
            for s in np.arange(side.bays[0] + 3.06, side.bays[1] - 2.5, 6.0):
                if rng.random() < 0.45:
                    kind = 'truck' if rng.random() < 0.08 else 'car'
                    scene.add(kind, s, outward(side.bays_m / 2 + rng.normal(0, 0.1)), rng.choice((0.0, np.pi)))
        if side.lot_m:
            _fill_lot(scene, index)
        _fill_walkway(scene, index)
    for start, stop in street.crossings:
        if rng.random() < 0.55:
            for _ in range(rng.integers(1, 4)):
                scene.add('pedestrian', rng.uniform(start + 0.3, stop - 0.3), rng.uniform(*street.edges))
    return scene.items


def _outward(street: Street, index: int) -> Callable[[float], float]:
    """Return the map from meters outside the road's edge on one side to d."""
    left, right = street.edges
    return (lambda outside: left - outside) if index == 0 else (lambda outside: right + outside)


def _fill_lane(scene: _Scene, d: float, direction: int, density: float) -> None:
    rng = scene.rng
    turn = 0.0 if direction > 0 else np.pi
    s = rng.uniform(8, 24)
    while density and s < 58:
        kind = rng.choice(
            ('car', 'truck', 'bus', 'trailer', 'construction_vehicle', 'motorcycle', 'bicycle'),
            p=(0.50, 0.14, 0.11, 0.10, 0.05, 0.06, 0.04),
        )
        if kind == 'trailer':
            # The tractor is a truck of its own, ahead of its trailer.
            along = 1 if direction > 0 else -1
            trailer = scene.add('trailer', s + 7.5, d, turn)
            if trailer:
                scene.add('truck', s + 7.5 + along * (trailer.size[0] / 2 + 4.2), d, turn)
            length = 19.0
        else:
            length = KINDS[kind][0][0]
            scene.add(kind, s + length / 2, d + rng.normal(0, 0.2), turn + rng.normal(0, 0.02))
        s += length + 4 + rng.exponential(11) / density


def _fill_cross(scene: _Scene, cross: CrossStreet, density: float) -> None:
    rng = scene.rng
    left, right = scene.street.edges
    for arm, edge, outwards in zip(cross.arms, (left, right), (-1, 1), strict=True):
        if arm and rng.random() < 0.7 * density:
            near_side = rng.random() < 0.5
            s = cross.start + (cross.stop - cross.start) * (0.27 if near_side else 0.73)
            kind = rng.choice(('car', 'truck', 'bus'), p=(0.7, 0.2, 0.1))
            reach = KINDS[kind][0][0] / 2
            scene.add(kind, s, edge + outwards * (reach + rng.uniform(-2, 9)), np.pi / 2 if near_side else -np.pi / 2)


def _fill_lot(scene: _Scene, index: int) -> None:
    rng, side = scene.rng, scene.street.sides[index]
    outward = _outward(scene.street, index)
    for row in (2.6, side.lot_m - 2.6):
        for s in np.arange(side.lot[0] // 2.6 + 1, side.lot[1] // 2.6) * 2.6 + 1.36:
            if rng.random() < 0.4:
                scene.add('car', s, outward(side.walk_stop + row), rng.choice((-1, 1)) * np.pi / 2)


def _fill_walkway(scene: _Scene, index: int) -> None:
    rng, side = scene.rng, scene.street.sides[index]
    outward = _outward(scene.street, index)
    for _ in range(rng.poisson(1.6)):
        s, across = rng.uniform(7, 34), rng.uniform(0.4, side.walk_m - 0.4)
        for _ in range(rng.choice((1, 2, 3), p=(0.5, 0.35, 0.15))):  # people walk in company
            offset = side.walk_start + np.clip(across + rng.normal(0, 0.7), 0.3, side.walk_m - 0.3)
            scene.add('pedestrian', s + rng.normal(0, 0.7), outward(offset), rng.uniform(-np.pi, np.pi))
    for kind, chance in (('bicycle', 0.3), ('motorcycle', 0.25)):
        if rng.random() < chance:
            # Parked side by side at the edge of the walkway, without riders.
            s = rng.uniform(7, 26)
            for number in range(rng.integers(1, 5)):
                offset = side.walk_start + 0.6
                scene.add(kind, s + 1.15 * number, outward(offset), np.pi / 2 + rng.normal(0, 0.1), height=1.15)


def _add_site(scene: _Scene) -> None:
    """Close a part of the outermost lane: barriers along it, cones across, a digger inside."""
    rng, street = scene.rng, scene.street
    index = int(rng.integers(2))
    outward = _outward(street, index)
    start, length = rng.uniform(9, 22), rng.uniform(10, 20)
    inside = -street.lane_m
    for s in np.arange(start, start + length, 2.56):
        scene.add('barrier', s, outward(inside + 0.3), np.pi / 2)
    for number in range(5):
        share = number / 4
        scene.add('traffic_cone', start - 1.6 - 3.0 * share, outward((1 - share) * inside + 0.2 * share))
    if rng.random() < 0.8:
        turn = rng.normal(0, 0.25) + (np.pi if rng.random() < 0.5 else 0.0)
        scene.add('construction_vehicle', start + 0.55 * length, outward(-street.lane_m / 2 + 0.6), turn)
    for _ in range(rng.integers(0, 3)):
        scene.add('pedestrian', rng.uniform(start, start + length), outward(rng.uniform(inside + 0.9, 0)))

"""What has no class: buildings, trees, lamp posts, walls along the street."""

import numpy as np

from mmopt.datasets.common.street.items import Item
from mmopt.datasets.common.street.solids import Face, Solid, box, patch, patch_points, shaded
from mmopt.datasets.common.street.sprites import NUM_TREES
from mmopt.datasets.common.street.street import Street

__all__ = ['sample_scenery']

_WALLS = (
    (0.72, 0.68, 0.62), (0.58, 0.40, 0.33), (0.80, 0.76, 0.68), (0.50, 0.53, 0.57), (0.66, 0.58, 0.48),
    (0.42, 0.44, 0.48), (0.74, 0.74, 0.74), (0.55, 0.47, 0.42),
)  # fmt: skip
_GLASS = ((0.20, 0.27, 0.34), (0.15, 0.19, 0.23), (0.30, 0.38, 0.44))
_LIT = (0.98, 0.82, 0.50)
_MAX_WINDOWS = 16


def sample_scenery(street: Street, traffic: list[Item], rng: np.random.Generator) -> list[Item]:
    """Line a street with buildings, trees and lamp posts.

    Args:
        traffic: What is there already; nothing of ours meets it.

    Returns:
        Items without a class; none stands on a surface that has a class (trees and lamps may stand on the walkway).
    """
    items: list[Item] = []
    left, right = street.edges
    openness = rng.uniform(0.0, 0.35)  # share of free plots: parks
    for index, (side, edge, outwards) in enumerate(zip(street.sides, (left, right), (-1, 1), strict=True)):
        setback = side.walk_stop + rng.uniform(0.5, 5.0)
        s = rng.uniform(-22, -12)
        while s < 110:
            length = rng.uniform(9, 24)
            depth = rng.uniform(9, 16)
            middle = s + length / 2
            over_lot = side.lot_m and s < side.lot[1] and s + length > side.lot[0]
            offset = (side.walk_stop + side.lot_m + 1.0) if over_lot else setback
            if rng.random() > openness:
                height = rng.uniform(6, 16) if rng.random() < 0.6 else rng.uniform(16, 45)
                size = (length, depth, height)
                _add_building(items, street, traffic, middle, edge + outwards * (offset + depth / 2), size, rng)
            s += length + rng.choice((0.3, rng.uniform(1, 6)))
        _add_trees(items, street, traffic, index, rng)
        _add_lamps(items, street, traffic, index, rng)
    _add_towers(items, street, rng)
    return items


def _is_free(item: Item, street: Street, others: list[Item], surfaces: tuple[str, ...]) -> bool:
    """Tell whether a footprint meets neither another one nor a surface."""
    corners = item.corners_42
    a, b = np.meshgrid(np.linspace(0, 1, 6), np.linspace(0, 1, 6))
    points = corners[0] + a[..., None] * (corners[1] - corners[0]) + b[..., None] * (corners[3] - corners[0])
    share = street.regions(*street.to_road(points[..., 0], points[..., 1]), 0.4, 0.4)
    if any(share[name].any() for name in surfaces):
        return False
    return not any(item.meets(other) for other in others)


def _add_building(
    items: list[Item],
    street: Street,
    traffic: list[Item],
    s: float,
    d: float,
    size: tuple[float, float, float],
    rng: np.random.Generator,
) -> None:
    x, z = (float(value) for value in street.to_world(s, d))
    pose = (x, z, float(street.yaw(s)))
    item = Item('building', None, pose, size)
    # The camera must stand outside with some room.
    sees = item.corners_42[:, 1].max() > 3 and np.hypot(x, z) > np.hypot(*size[:2]) / 2 + 2
    if sees and _is_free(item, street, [*items, *traffic], ('road', 'walkway', 'carpark')):
        items.append(Item('building', None, pose, size, _make_building(size, rng)))


def _make_building(size: tuple[float, float, float], rng: np.random.Generator, plain: bool = False) -> list[Solid]:
    length, width, height = size
    wall = tuple((np.array(_WALLS[rng.integers(len(_WALLS))]) * rng.uniform(0.85, 1.08)).clip(0, 1).tolist())
    glass = _GLASS[rng.integers(len(_GLASS))]
    body = box((-length / 2, length / 2), width / 2, (0.0, height), wall)
    curtain = rng.random() < 0.3  # a glass front: windows almost touch
    storey = rng.uniform(3.0, 3.8)
    bay = rng.uniform(1.6, 3.4)
    for face, extent in zip(body.faces[:4], (width, width, length, length), strict=True):
        _add_windows(face, extent, height, storey, bay, glass, curtain, rng)
        if not plain:
            patch(face, (0.0, 1.0), (0.0, min(0.5, 0.7 / height)), shaded(wall, 0.6))
        patch(face, (0.0, 1.0), (1 - 0.5 / height, 1.0), shaded(wall, 0.8))
    return [body]


def _add_windows(
    face: Face,
    extent: float,
    height: float,
    storey: float,
    bay: float,
    glass: tuple[float, float, float],
    curtain: bool,
    rng: np.random.Generator,
) -> None:
    """Put rows of windows on a wall, the ground floor as shop fronts. Windows of one shade are one face."""
    num_rows = max(1, min(_MAX_WINDOWS, int((height - 1) / storey)))
    num_columns = max(1, min(_MAX_WINDOWS, int(extent / bay)))
    wide, tall = (0.92, 0.86) if curtain else (0.58, 0.55)
    rows, columns = (index.ravel() for index in np.indices((num_rows, num_columns)))
    shop = rows == 0
    low = (rows * storey + np.where(shop, 0.75, storey * (1 - tall) / 2 + 0.3)) / height
    high = np.minimum(low + storey * np.where(shop, 0.66, tall) / height, 0.985)
    share = np.where(shop, 0.88, wide)
    start = (columns + (1 - share) / 2) / num_columns
    windows_K43 = patch_points(face, (start, start + share / num_columns), (low, high))
    shades = rng.choice(4, len(rows), p=(0.5, 0.2, 0.12, 0.18))
    for shade, factor in enumerate((1.0, 0.75, 1.35, 1.0)):
        chosen = windows_K43[shades == shade]
        if len(chosen):
            lit = _LIT if shade == 3 else None
            rgb = shaded(glass, factor)
            face.decals.append(Face(chosen[0], rgb, lit=lit, holes=tuple(chosen[1:])))


def _add_trees(items: list[Item], street: Street, traffic: list[Item], index: int, rng: np.random.Generator) -> None:
    side, outwards = street.sides[index], -1 if index == 0 else 1
    edge = street.edges[index]
    if rng.random() < 0.25:
        return
    step = rng.uniform(7, 13)
    # On the verge if there is one, else behind the walkway.
    on_verge = side.verge_m > 1.2
    offset = side.bays_m + 0.6 * side.verge_m if on_verge else side.walk_stop + 0.6
    kinds = rng.integers(0, NUM_TREES, 2)
    for s in np.arange(rng.uniform(4, 14), 100, step):
        height = rng.uniform(5.5, 9.5)
        x, z = (float(value) for value in street.to_world(s + rng.normal(0, 0.6), edge + outwards * offset))
        trunk = Item('tree', None, (x, z, 0.0), (0.35, 0.35, height), sprite=int(rng.choice(kinds)))
        if z > 6 and _is_free(trunk, street, [*items, *traffic], ('road', 'walkway', 'carpark')):
            items.append(trunk)


def _add_lamps(items: list[Item], street: Street, traffic: list[Item], index: int, rng: np.random.Generator) -> None:
    side, outwards = street.sides[index], -1 if index == 0 else 1
    if rng.random() < 0.4:
        return
    for s in np.arange(rng.uniform(8, 22), 95, 24.0):
        d = street.edges[index] + outwards * (side.walk_start + 0.35)
        x, z = (float(value) for value in street.to_world(s, d))
        # The arm reaches over the road: local right is the road's right.
        pose = (x, z, float(street.yaw(s)))
        lamp = Item('lamp', None, pose, (0.2, 0.2, 7.5), _make_lamp(-outwards))
        if z > 6 and _is_free(lamp, street, [*items, *traffic], ('road', 'carpark')):
            items.append(lamp)


def _make_lamp(towards_road: int) -> list[Solid]:
    steel = (0.42, 0.43, 0.45)
    reach = (0.0, 1.8 * towards_road)
    pole = box((-0.07, 0.07), 0.07, (0.0, 7.4), steel)
    arm = Solid(
        [Face(np.array([(0, reach[0], 7.3), (0, reach[1], 7.45), (0, reach[1], 7.53), (0, reach[0], 7.42)]), steel)],
        1,
        flat=True,
    )
    ends = (reach[1], reach[1] - 0.55 * towards_road)
    head = Solid(
        [
            Face(
                np.array([(0, ends[0], 7.4), (0, ends[1], 7.35), (0, ends[1], 7.47), (0, ends[0], 7.54)]),
                (0.9, 0.88, 0.8),
                1.0,
            )
        ],
        2,
        flat=True,
    )
    return [pole, arm, head]


def _add_towers(items: list[Item], street: Street, rng: np.random.Generator) -> None:
    """Put a skyline far behind the map, where it hides nothing that counts."""
    for _ in range(rng.integers(3, 9)):
        z = rng.uniform(130, 260)
        size = (rng.uniform(15, 30), rng.uniform(15, 30), rng.uniform(12, 60))
        pose = (rng.uniform(-0.75, 0.75) * z, z, rng.uniform(-0.6, 0.6))
        tower = Item('building', None, pose, size)
        if not any(tower.meets(other) for other in items):
            items.append(Item('building', None, pose, size, _make_building(size, rng, plain=True)))

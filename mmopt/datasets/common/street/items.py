"""Things that stand on the ground of the demo world, their footprints, and who hides whom.

Shape letters: I items, 4 corners.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from mmopt.datasets.common.street.solids import Solid, place

__all__ = ['Item', 'far_to_near', 'overlaps']


@dataclass(frozen=True)
class Item:
    """One thing.

    Attributes:
        kind: Name of its class, or of a kind of scenery.
        category: Class number, or None for scenery, which has no class.
        pose: x, z (center of the footprint) and yaw (of its length, to the right of the optical axis), meters, radians.
        size: Length, width, height.
        solids: Its shape; empty for a tree, which is a sprite.
        sprite: Number of the tree's sprite.
    """

    kind: str
    category: int | None
    pose: tuple[float, float, float]
    size: tuple[float, float, float]
    solids: list[Solid] = field(default_factory=list)
    sprite: int = 0

    @cached_property
    def corners_42(self) -> np.ndarray:
        """Corners (x, z) of the footprint, in order around it."""
        half_l, half_w = self.size[0] / 2, self.size[1] / 2
        local = [(half_l, -half_w, 0), (half_l, half_w, 0), (-half_l, half_w, 0), (-half_l, -half_w, 0)]
        return place(np.array(local), *self.pose)[:, [0, 2]]

    def meets(self, other: 'Item') -> bool:
        """Tell whether two footprints have a common point."""
        reach = (math.hypot(*self.size[:2]) + math.hypot(*other.size[:2])) / 2
        if math.hypot(self.pose[0] - other.pose[0], self.pose[1] - other.pose[1]) > reach:
            return False
        return overlaps(self.corners_42, other.corners_42)


def _edges(corners_42: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outward normals (4, 2) of a footprint's edges and their offsets (4,): inside means normal @ p < offset."""
    along = np.roll(corners_42, -1, 0) - corners_42
    normals = np.stack([along[:, 1], -along[:, 0]], 1)
    normals *= np.sign(((corners_42 - corners_42.mean(0)) * normals).sum(1))[:, None]
    return normals, (normals * corners_42).sum(1)


def overlaps(first_42: np.ndarray, second_42: np.ndarray) -> bool:
    """Tell whether two rectangles have a common point (separating axes)."""
    for one, other in ((first_42, second_42), (second_42, first_42)):
        normals, offsets = _edges(one)
        if (other @ normals.T > offsets).all(0).any():
            return False
    return True


def far_to_near(items: Sequence[Item]) -> list[Item]:
    """Sort items so that drawing them in order hides what is hidden.

    Of two footprints that do not meet, a line along one of the eight edges has them on different sides; the one on the
    camera's side may hide the other and is drawn later. Distances alone fail beside a long wall.

    Args:
        items: Items with disjoint footprints; where they do meet, the nearer center is drawn later.

    Returns:
        The same items.
    """
    num = len(items)
    if not num:
        return []
    corners_I42 = np.stack([item.corners_42 for item in items])
    edges = [_edges(corners_42) for corners_42 in corners_I42]
    normals_I42 = np.stack([normals for normals, _ in edges])
    offsets_I4 = np.stack([offsets for _, offsets in edges])
    distance_I = np.hypot(*corners_I42.mean(1).T)
    # outside[i, j, e]: edge line e of i has all of j on its outer side; the camera, at the origin, is on the inner
    # side where the offset is positive.
    outside = (np.einsum('iec,jkc->ijek', normals_I42, corners_I42) >= offsets_I4[:, None, :, None] - 1e-6).all(-1)
    camera_inside = offsets_I4[:, None, :] > 0
    in_front = (outside & camera_inside).any(-1)  # j lies beyond i
    behind = (outside & ~camera_inside).any(-1)  # i lies beyond j
    nearer = (in_front | behind.T) & ~(behind | in_front.T)  # i hides j if they meet in the picture
    undecided = ~(nearer | nearer.T) & (distance_I[:, None] < distance_I[None, :])
    nearer |= undecided

    # Only what shares a viewing direction is ordered: constraints between others could close a cycle.
    angle = np.arctan2(corners_I42[..., 0], corners_I42[..., 1])
    low, high = angle.min(1), angle.max(1)
    nearer &= (low[:, None] < high[None, :]) & (low[None, :] < high[:, None])
    np.fill_diagonal(nearer, False)

    order, left_I = [], np.ones(num, bool)
    num_hidden_I = nearer.sum(1)  # how many of those that are left an item may hide
    for _ in range(num):
        # Nothing farther is left to draw; among those (or, in a cycle, among all) take the farthest.
        free_I = left_I & (num_hidden_I == 0)
        chosen = int(np.where(free_I if free_I.any() else left_I, distance_I, -1).argmax())
        order.append(items[chosen])
        left_I[chosen] = False
        num_hidden_I -= nearer[:, chosen]
    return order

"""Convex solids and flat cut-outs: what every object of the demo world is put together from.

Local frame of an object, meters: f forward, r right, u up, origin on the ground at its center; it is turned by a yaw
about the vertical, to the right for positive values. Shape letters: N points.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ['Face', 'Solid', 'box', 'cutout', 'disc', 'frustum', 'patch', 'patch_points', 'place', 'prism', 'shaded']


@dataclass(frozen=True)
class Face:
    """One planar polygon.

    Attributes:
        points_N3: Corners in local (f, r, u).
        glow: Share of the color that shines by itself when lamps are on.
        lit: Color that it has when lamps are on (a window of a room in use); None for the usual one.
        holes: Further contours; a point inside an odd number of contours is on the face (even-odd rule).
        decals: Faces drawn on this one.
    """

    points_N3: np.ndarray
    rgb: tuple[float, float, float]
    glow: float = 0.0
    lit: tuple[float, float, float] | None = None
    holes: tuple[np.ndarray, ...] = ()
    decals: list['Face'] = field(default_factory=list)


@dataclass(frozen=True)
class Solid:
    """Faces of one convex body.

    Attributes:
        faces: The faces; those turned away from the camera are not drawn.
        layer: Solids of a higher layer are drawn later; within a layer the farther come first.
        flat: A cut-out that is seen from both sides.
    """

    faces: list[Face]
    layer: int = 0
    flat: bool = False


def place(points_N3: np.ndarray, x: float, z: float, yaw: float) -> np.ndarray:
    """Map local (f, r, u) to the world frame (x, y, z)."""
    forward, right, up = np.asarray(points_N3, np.float64).T
    sin, cos = np.sin(yaw), np.cos(yaw)
    world = np.empty((len(up), 3))
    world[:, 0] = x + forward * sin + right * cos
    world[:, 1] = up
    world[:, 2] = z + forward * cos - right * sin
    return world


def shaded(rgb: tuple[float, float, float], factor: float) -> tuple[float, float, float]:
    """Return a color times a factor."""
    red, green, blue = rgb
    return factor * red, factor * green, factor * blue


def frustum(
    base: Sequence[float],
    top: Sequence[float],
    rgb: tuple[float, float, float],
    layer: int = 0,
) -> Solid:
    """Make a body between two horizontal rectangles.

    Args:
        base: (f start, f stop, half width, height above ground) of the lower rectangle.
        top: The same of the upper one.
        layer: See :class:`Solid`.

    Returns:
        The solid, with faces in the order front, rear, left, right, top. Each starts at its lower left corner as seen
        from outside and goes to the lower right, upper right, upper left.
    """
    (f0, f1, w0, u0), (f2, f3, w1, u1) = base, top
    corners = (
        ((f1, w0, u0), (f1, -w0, u0), (f3, -w1, u1), (f3, w1, u1)),
        ((f0, -w0, u0), (f0, w0, u0), (f2, w1, u1), (f2, -w1, u1)),
        ((f1, -w0, u0), (f0, -w0, u0), (f2, -w1, u1), (f3, -w1, u1)),
        ((f0, w0, u0), (f1, w0, u0), (f3, w1, u1), (f2, w1, u1)),
        ((f2, -w1, u1), (f2, w1, u1), (f3, w1, u1), (f3, -w1, u1)),
    )
    return Solid([Face(np.array(points), rgb) for points in corners], layer)


def box(
    f: tuple[float, float],
    half_width: float,
    u: tuple[float, float],
    rgb: tuple[float, float, float],
    layer: int = 0,
) -> Solid:
    """Make a cuboid that is symmetric in r; see :func:`frustum`."""
    return frustum((*f, half_width, u[0]), (*f, half_width, u[1]), rgb, layer)


def prism(
    profile_fu: Sequence[tuple[float, float]], r: tuple[float, float], rgb: tuple[float, float, float], layer: int = 0
) -> Solid:
    """Extrude a convex side view (f, u), given counter-clockwise with f to the right, from r start to r stop."""
    left = np.array([(f, r[0], u) for f, u in profile_fu])
    right = np.array([(f, r[1], u) for f, u in profile_fu])
    faces = [Face(left, rgb), Face(right, rgb)]
    for index in range(len(left)):
        following = (index + 1) % len(left)
        faces.append(Face(np.array([left[index], left[following], right[following], right[index]]), rgb))
    return Solid(faces, layer)


def patch(
    face: Face,
    a: tuple[float, float],
    b: tuple[float, float],
    rgb: tuple[float, float, float],
    glow: float = 0.0,
) -> Face:
    """Put a rectangle on a four-cornered face.

    Args:
        face: The face; the patch is added to its decals.
        a: Left and right end as shares of the face's width.
        b: Lower and upper end as shares of its height.
        glow: See :class:`Face`.

    Returns:
        The patch.
    """
    decal = Face(patch_points(face, a, b), rgb, glow)
    face.decals.append(decal)
    return decal


def patch_points(face: Face, a: tuple, b: tuple) -> np.ndarray:
    """Return the corners (..., 4, 3) of rectangles on a four-cornered face.

    Args:
        a: Left and right ends as shares of the face's width: numbers, or arrays for many rectangles.
        b: Lower and upper ends as shares of its height.

    Returns:
        Lower left, lower right, upper right, upper left.
    """
    lower_left, lower_right, upper_right, upper_left = face.points_N3
    # Not np.stack: a car has dozens of single patches.
    share_a = np.array([a[0], a[1], a[1], a[0]]).T[..., None]
    share_b = np.array([b[0], b[0], b[1], b[1]]).T[..., None]
    low = lower_left + share_a * (lower_right - lower_left)
    high = upper_left + share_a * (upper_right - upper_left)
    return low + share_b * (high - low)


def cutout(polygons_ru: Iterable[tuple[Sequence[tuple[float, float]], tuple]], layer: int = 0, f: float = 0.0) -> Solid:
    """Make a flat figure in the plane f = const from ((r, u) corners, color) pairs, drawn in order."""
    faces = [Face(np.array([(f, r, u) for r, u in corners]), rgb) for corners, rgb in polygons_ru]
    return Solid(faces, layer, flat=True)


def disc(
    center_fru: tuple[float, float, float], radius: float, rgb: tuple[float, float, float], hole: float = 0.0
) -> Face:
    """Make a disc, or with ``hole`` a ring of that inner radius, in the plane r = const: a wheel."""
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    circle = np.stack([np.cos(angle), np.zeros_like(angle), np.sin(angle)], 1)
    holes = (circle * hole + center_fru,) if hole else ()
    return Face(circle * radius + center_fru, rgb, holes=holes)

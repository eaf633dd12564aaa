"""Shapes of people, two-wheelers, cones and barriers; see :mod:`mmopt.datasets.common.street.vehicles`."""

import numpy as np

from mmopt.datasets.common.street.solids import Face, Solid, box, cutout, disc, frustum, patch, shaded

__all__ = ['make_barrier', 'make_bicycle', 'make_cone', 'make_motorcycle', 'make_pedestrian']

_SKIN = ((0.86, 0.68, 0.56), (0.66, 0.48, 0.36), (0.42, 0.29, 0.21))
_CLOTHES = (
    (0.80, 0.20, 0.18), (0.16, 0.28, 0.56), (0.86, 0.84, 0.80), (0.14, 0.14, 0.16), (0.88, 0.66, 0.18),
    (0.24, 0.46, 0.34), (0.56, 0.36, 0.58), (0.92, 0.52, 0.14),
)  # fmt: skip
_TROUSERS = ((0.14, 0.16, 0.24), (0.20, 0.26, 0.40), (0.10, 0.10, 0.11), (0.46, 0.40, 0.32))
_TYRE = (0.07, 0.07, 0.07)


def _pick(rng: np.random.Generator, colors: tuple) -> tuple[float, float, float]:
    return colors[rng.integers(len(colors))]


def _person(rng: np.random.Generator, height: float, spread: float, seat: float = 0.0) -> list[tuple]:
    """Polygons (r, u) of a figure that faces the camera; with ``seat`` it sits at that height, legs apart."""
    coat, legs, skin = _pick(rng, _CLOTHES), _pick(rng, _TROUSERS), _pick(rng, _SKIN)
    dark = shaded(coat, 0.75)
    hip = seat or 0.50 * height
    shoulder = height - 0.16 * height if not seat else height - 0.30
    head = (0.0, height - 0.12)
    wide = 0.19
    polygons: list[tuple] = []
    for side in (-1, 1):
        foot, low = side * spread, 0.0 if not seat else 0.25
        polygons.append(
            (((side * 0.02, hip), (side * 0.16, hip), (foot + 0.075, low + 0.06), (foot - 0.075, low + 0.06)), legs)
        )
        polygons.append(
            (
                ((foot - 0.08, low + 0.07), (foot + 0.08, low + 0.07), (foot + 0.10, low), (foot - 0.08, low)),
                (0.08, 0.07, 0.07),
            )
        )
        hand = side * (wide + 0.03 + rng.uniform(0, 0.08))
        polygons.append(
            (
                (
                    (side * (wide - 0.06), shoulder),
                    (side * (wide + 0.03), shoulder - 0.03),
                    (hand + 0.04, hip + 0.02),
                    (hand - 0.04, hip),
                ),
                dark,
            )
        )
    polygons.append(
        (
            (
                (-0.17, hip - 0.04),
                (0.17, hip - 0.04),
                (wide, shoulder),
                (0.09, shoulder + 0.06),
                (-0.09, shoulder + 0.06),
                (-wide, shoulder),
            ),
            coat,
        )
    )
    angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    circle = [(head[0] + 0.095 * np.cos(t), head[1] + 0.12 * np.sin(t)) for t in angle]
    hair = [(head[0] + 0.105 * np.cos(t), head[1] + 0.03 + 0.10 * np.sin(t)) for t in np.linspace(-0.2, np.pi + 0.2, 9)]
    return [*polygons, (circle, skin), (hair, _pick(rng, ((0.10, 0.07, 0.05), (0.34, 0.22, 0.12), (0.06, 0.06, 0.06))))]


def make_pedestrian(size: tuple[float, float, float], rng: np.random.Generator) -> list[Solid]:
    """A standing or walking person, drawn facing the camera."""
    return [cutout(_person(rng, size[2], rng.uniform(0.08, 0.24)))]


def _rod(a: tuple[float, float], b: tuple[float, float], thick: float, rgb: tuple) -> Face:
    """A bar between two points (f, u) in the plane r = 0."""
    start, stop = np.array((a[0], 0.0, a[1])), np.array((b[0], 0.0, b[1]))
    along = (stop - start) / np.linalg.norm(stop - start)
    across = thick / 2 * np.array((-along[2], 0.0, along[0]))
    return Face(np.array([start - across, stop - across, stop + across, start + across]), rgb)


def _two_wheeler(length: float, radius: float, tyre_width: float, ring: float) -> list[Solid]:
    """Wheels seen from the side as rings, and narrow treads that stay visible end-on."""
    at = length / 2 - radius
    rings = Solid([disc((f, 0.0, radius), radius, _TYRE, hole=radius * ring) for f in (-at, at)], flat=True)
    treads = [box((f - 0.5 * radius, f + 0.5 * radius), tyre_width / 2, (0.0, 2 * radius), _TYRE) for f in (-at, at)]
    return [*treads, rings]


def make_bicycle(size: tuple[float, float, float], rng: np.random.Generator) -> list[Solid]:
    """Bicycle; with a rider where the box is higher than the handlebar."""
    length, _, height = size
    paint = _pick(rng, _CLOTHES)
    at = length / 2 - 0.34
    frame = Solid(
        [
            _rod((-at, 0.34), (-0.1, 0.36), 0.05, paint),
            _rod((-0.1, 0.36), (-0.28, 0.92), 0.05, paint),
            _rod((-0.25, 0.80), (at - 0.12, 0.82), 0.05, paint),
            _rod((-0.1, 0.36), (at - 0.12, 0.80), 0.05, paint),
            _rod((at, 0.34), (at - 0.16, 1.02), 0.05, paint),
            _rod((-0.40, 0.94), (-0.16, 0.94), 0.08, _TYRE),
        ],
        layer=1,
        flat=True,
    )
    bar = box((at - 0.2, at - 0.14), 0.28, (0.98, 1.04), _TYRE, 1)
    solids = [*_two_wheeler(length, 0.34, 0.07, 0.84), frame, bar]
    if height > 1.4:
        solids.append(cutout(_person(rng, height, 0.16, seat=0.92), layer=2, f=-0.2))
    return solids


def make_motorcycle(size: tuple[float, float, float], rng: np.random.Generator) -> list[Solid]:
    """Motorcycle or scooter; with a rider where the box is higher than the handlebar."""
    length, width, height = size
    paint = _pick(rng, _CLOTHES)
    at = length / 2 - 0.31
    steel = (0.24, 0.24, 0.26)
    engine = frustum((-0.30, 0.26, 0.13, 0.22), (-0.36, 0.34, 0.12, 0.60), steel)
    tank = frustum((-0.08, 0.42, 0.13, 0.60), (-0.04, 0.34, 0.10, 0.88), paint, 1)
    tail = frustum((-at - 0.12, -0.02, 0.09, 0.62), (-at - 0.22, -0.06, 0.10, 0.76), paint, 1)
    patch(tail.faces[1], (0.1, 0.9), (0.15, 0.85), (0.8, 0.08, 0.06), glow=1.0)
    fork = frustum((at - 0.06, at + 0.04, 0.06, 0.30), (at - 0.34, at - 0.24, 0.10, 1.02), steel, 1)
    patch(fork.faces[0], (0.1, 0.9), (0.66, 0.94), (0.95, 0.95, 0.88), glow=1.0)
    bar = box((at - 0.40, at - 0.34), width / 2, (1.0, 1.06), _TYRE, 1)
    seat = box((-at - 0.16, 0.0), 0.12, (0.76, 0.84), (0.10, 0.09, 0.09), 1)
    solids = [*_two_wheeler(length, 0.31, 0.12, 0.62), engine, tail, seat, tank, fork, bar]
    if height > 1.4:
        solids.append(cutout(_person(rng, height, 0.24, seat=0.82), layer=2, f=-0.15))
    return solids


def make_cone(size: tuple[float, float, float], rng: np.random.Generator) -> list[Solid]:
    """Traffic cone with two white bands."""
    length, _, height = size
    half = length / 2
    orange = (0.92, 0.34 + 0.06 * rng.random(), 0.08)
    foot = box((-half, half), half, (0.0, 0.06), (0.16, 0.14, 0.13))
    body = frustum(
        (-0.72 * half, 0.72 * half, 0.72 * half, 0.06), (-0.14 * half, 0.14 * half, 0.14 * half, height), orange, 1
    )
    for face in body.faces[:4]:
        patch(face, (0.0, 1.0), (0.34, 0.50), (0.94, 0.94, 0.92))
        patch(face, (0.0, 1.0), (0.66, 0.80), (0.94, 0.94, 0.92))
    return [foot, body]


def make_barrier(size: tuple[float, float, float], rng: np.random.Generator) -> list[Solid]:
    """Plastic road barrier, red or white, its long side across the local forward axis."""
    length, width, height = size
    rgb = (0.80, 0.25, 0.14) if rng.random() < 0.55 else (0.86, 0.85, 0.82)
    dark = shaded(rgb, 0.72)
    half = length / 2
    foot = frustum((-half, half, width / 2, 0.0), (-0.45 * half, 0.45 * half, 0.49 * width, 0.45 * height), dark)
    wall = box((-0.45 * half, 0.45 * half), 0.49 * width, (0.45 * height, height), rgb, 1)
    for face in wall.faces[:2]:
        patch(face, (0.06, 0.94), (0.30, 0.62), shaded(rgb, 0.88))
        for a in ((0.10, 0.22), (0.78, 0.90)):
            patch(face, a, (0.68, 0.90), (0.92, 0.90, 0.84) if rgb[1] < 0.5 else (0.80, 0.25, 0.14))
    return [foot, wall]

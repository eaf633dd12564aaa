"""Shapes of the vehicles: car, truck, bus, trailer, construction vehicle.

Every function takes length, width, height in meters (the labeled box, which the shape fills) and a generator for
colors, and returns solids in the local frame of :mod:`mmopt.datasets.common.street.solids`.
"""

import numpy as np

from mmopt.datasets.common.street.solids import Face, Solid, box, disc, frustum, patch, prism, shaded

__all__ = ['make_bus', 'make_car', 'make_construction_vehicle', 'make_trailer', 'make_truck']

_GLASS = (0.10, 0.13, 0.16)
_RUBBER = (0.06, 0.06, 0.065)
_RIM = (0.55, 0.56, 0.58)
_DARK = (0.10, 0.10, 0.11)
_HEADLIGHT = (0.95, 0.95, 0.88)
_TAILLIGHT = (0.72, 0.07, 0.05)
_PLATE = (0.85, 0.85, 0.82)
_CAR_PAINT = (
    (0.88, 0.88, 0.88), (0.70, 0.72, 0.74), (0.42, 0.43, 0.45), (0.10, 0.10, 0.12), (0.60, 0.10, 0.10),
    (0.12, 0.22, 0.46), (0.22, 0.36, 0.30), (0.72, 0.62, 0.36), (0.86, 0.46, 0.12),
)  # fmt: skip
_BUS_PAINT = ((0.76, 0.14, 0.12), (0.16, 0.46, 0.32), (0.86, 0.62, 0.12), (0.80, 0.82, 0.84), (0.20, 0.32, 0.62))
_CARGO = ((0.86, 0.86, 0.84), (0.70, 0.72, 0.74), (0.24, 0.38, 0.58), (0.72, 0.40, 0.16), (0.34, 0.44, 0.32))


def _pick(rng: np.random.Generator, colors: tuple) -> tuple[float, float, float]:
    return tuple((np.array(colors[rng.integers(len(colors))]) * rng.uniform(0.88, 1.08)).clip(0, 1).tolist())


def _wheels(positions: tuple[float, ...], width: float, radius: float) -> list[Solid]:
    """Tyres as dark boxes, with a disc on each side that only the near side shows."""
    solids = []
    for f in positions:
        for side in (-1, 1):
            inner, outer = (0.5 * width - 0.24) * side, 0.5 * width * side
            tyre = prism(
                [(f + radius * np.cos(t), radius + radius * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 14)[:-1]],
                (min(inner, outer), max(inner, outer)),
                _RUBBER,
            )
            tyre.faces[0 if side < 0 else 1].decals.append(disc((f, outer, radius), radius * 0.6, _RIM))
            solids.append(tyre)
    return solids


def _lamps(front: Face, rear: Face, b: tuple[float, float]) -> None:
    for a in ((0.03, 0.22), (0.78, 0.97)):
        patch(front, a, b, _HEADLIGHT, glow=1.0)
        patch(rear, a, b, _TAILLIGHT, glow=1.0)
    patch(rear, (0.37, 0.63), (b[0] - 0.18, b[0] - 0.02), _PLATE)


def make_car(size: tuple[float, float, float], rng: np.random.Generator) -> list[Solid]:
    """Saloon, hatchback, sports utility vehicle or van, at random."""
    length, width, height = size
    paint = _pick(rng, _CAR_PAINT)
    half, belt = length / 2, 0.56 * height
    # Where the cabin begins and ends at belt and at roof, as shares of half the length.
    rear_low, rear_high, front_high, front_low = (
        (-0.78, -0.42, 0.16, 0.50),  # saloon
        (-0.97, -0.80, 0.16, 0.50),  # hatchback
        (-0.98, -0.90, 0.20, 0.48),  # sports utility vehicle
        (-0.99, -0.96, 0.52, 0.82),  # van
    )[rng.choice(4, p=(0.4, 0.2, 0.25, 0.15))]
    body_top = (-half * 0.985, half * 0.96, width * 0.48, belt)
    body = frustum((-half, half, width / 2, 0.22), body_top, paint, layer=1)
    front, rear, left, right, _ = body.faces
    _lamps(front, rear, (0.58, 0.84))
    patch(front, (0.26, 0.74), (0.40, 0.74), _DARK)
    for face in (front, rear):
        patch(face, (0.0, 1.0), (0.0, 0.24), shaded(paint, 0.35))
    for face in (left, right):
        patch(face, (0.0, 1.0), (0.0, 0.16), _DARK)
        for f in (-0.30, 0.31):  # arches
            share = 0.5 - f if face is left else 0.5 + f
            patch(face, (share - 0.085, share + 0.085), (0.0, 0.50), _DARK)
        patch(face, (0.497, 0.503), (0.18, 0.96), shaded(paint, 0.5))
    cabin = frustum(
        (half * rear_low, half * front_low, width * 0.475, belt),
        (half * rear_high, half * front_high, width * 0.39, height),
        paint,
        layer=2,
    )
    front, rear, left, right, _ = cabin.faces
    patch(front, (0.05, 0.95), (0.06, 0.92), _GLASS)
    patch(rear, (0.08, 0.92), (0.14, 0.88), _GLASS)
    for face in (left, right):
        patch(face, (0.10, 0.47), (0.10, 0.86), _GLASS)
        patch(face, (0.53, 0.90), (0.10, 0.86), _GLASS)
    return [*_wheels((-0.30 * length, 0.31 * length), width * 0.98, 0.33), body, cabin]


def make_truck(size: tuple[float, float, float], rng: np.random.Generator) -> list[Solid]:
    """Lorry with a closed body, or a flat bed with side boards."""
    length, width, height = size
    half = length / 2
    paint, cargo = _pick(rng, _CAR_PAINT), _pick(rng, _CARGO)
    cab_rear = half - max(1.9, 0.28 * length)
    is_flat = rng.random() < 0.25
    cargo_top = 0.52 * height if is_flat else height
    chassis = box((-half * 0.98, half * 0.96), width * 0.42, (0.45, 0.85), _DARK)
    cab_height = min(height, 2.7)
    cab = frustum((cab_rear, half, width * 0.47, 0.5), (cab_rear, half - 0.25, width * 0.45, cab_height), paint, 1)
    front, _, left, right, _ = cab.faces
    patch(front, (0.06, 0.94), (0.50, 0.90), _GLASS)
    patch(front, (0.2, 0.8), (0.22, 0.42), _DARK)
    for a in ((0.04, 0.18), (0.82, 0.96)):
        patch(front, a, (0.10, 0.22), _HEADLIGHT, glow=1.0)
    for face in (left, right):
        patch(face, (0.2, 0.8), (0.52, 0.88), _GLASS)
    load = box((-half, cab_rear - 0.12), width / 2, (0.85, cargo_top), cargo, 1)
    _, rear, left, right, _ = load.faces
    _rear_doors(rear, cargo)
    for face in (left, right):
        patch(face, (0.0, 1.0), (0.0, 0.06), shaded(cargo, 0.5))
        if rng.random() < 0.6:
            patch(face, (0.12, 0.88), (0.40, 0.70), _pick(rng, _BUS_PAINT))
    bumper = box((-half, -half + 0.15), width * 0.48, (0.45, 0.72), _DARK, 1)
    _bumper_lamps(bumper.faces[1])
    return [*_wheels((-half + 1.3, half - 1.2), width, 0.48), chassis, load, bumper, cab]


def _rear_doors(rear: Face, cargo: tuple[float, float, float]) -> None:
    seam = shaded(cargo, 0.55)
    patch(rear, (0.0, 1.0), (0.0, 0.07), seam)
    patch(rear, (0.495, 0.505), (0.07, 0.97), seam)
    for a in ((0.20, 0.215), (0.785, 0.80)):
        patch(rear, a, (0.07, 0.97), seam)
    patch(rear, (0.0, 1.0), (0.97, 1.0), seam)


def _bumper_lamps(rear: Face) -> None:
    for a in ((0.03, 0.16), (0.84, 0.97)):
        patch(rear, a, (0.2, 0.85), _TAILLIGHT, glow=1.0)
    for start in np.arange(0.22, 0.76, 0.14):
        patch(rear, (start, start + 0.07), (0.15, 0.85), (0.85, 0.70, 0.12))


def make_bus(size: tuple[float, float, float], rng: np.random.Generator) -> list[Solid]:
    """City bus: a strip of windows, doors on one side, a lit destination."""
    length, width, height = size
    paint = _pick(rng, _BUS_PAINT)
    half = length / 2
    body = box((-half, half), width / 2, (0.32, height), paint, 1)
    front, rear, left, right, _ = body.faces
    patch(front, (0.04, 0.96), (0.30, 0.82), _GLASS)
    patch(front, (0.22, 0.78), (0.86, 0.96), (0.95, 0.66, 0.16), glow=1.0)
    patch(rear, (0.10, 0.90), (0.50, 0.82), _GLASS)
    patch(rear, (0.30, 0.70), (0.86, 0.94), (0.95, 0.66, 0.16), glow=1.0)
    patch(rear, (0.15, 0.85), (0.14, 0.36), shaded(paint, 0.6))
    _lamps(front, rear, (0.08, 0.18))
    num = max(4, round(length / 1.5))
    red, green, blue = (min(1.0, 0.5 * c + 0.5) for c in paint)
    for face in (left, right):
        patch(face, (0.0, 1.0), (0.0, 0.05), _DARK)
        patch(face, (0.0, 1.0), (0.36, 0.42), (red, green, blue))
        for index in range(num):
            start = (index + 0.06) / num
            is_door = face is right and index in (num - 1, num // 2)
            patch(face, (start, start + 0.88 / num), (0.06 if is_door else 0.45, 0.84), _GLASS, glow=0.35)
    return [*_wheels((-half + 2.6, half - 2.4), width * 1.005, 0.48), body]


def make_trailer(size: tuple[float, float, float], rng: np.random.Generator) -> list[Solid]:
    """Semi-trailer: a long box on two axles at its rear, legs in front."""
    length, width, height = size
    cargo = _pick(rng, _CARGO)
    half = length / 2
    load = box((-half, half), width / 2, (1.15, height), cargo, 1)
    _, rear, left, right, _ = load.faces
    _rear_doors(rear, cargo)
    stripe = _pick(rng, _BUS_PAINT)
    for face in (left, right):
        for start in np.arange(0.0, 1.0, 0.05):  # corrugated side
            patch(face, (start, start + 0.018), (0.05, 0.97), shaded(cargo, 0.85))
        patch(face, (0.08, 0.92), (0.34, 0.58), stripe)
        for start in np.arange(0.02, 0.96, 0.12):  # reflectors
            patch(face, (start, start + 0.04), (0.0, 0.025), (0.9, 0.62, 0.1), glow=0.5)
    chassis = box((-half + 0.3, half - 0.6), width * 0.36, (0.75, 1.15), _DARK)
    legs = [box((half - 3.2, half - 3.0), width * 0.34, (0.0, 1.15), (0.28, 0.28, 0.3))]
    bumper = box((-half, -half + 0.12), width * 0.48, (0.5, 0.78), _DARK, 1)
    _bumper_lamps(bumper.faces[1])
    return [*_wheels((-half + 1.0, -half + 2.25), width, 0.5), *legs, chassis, load, bumper]


def make_construction_vehicle(size: tuple[float, float, float], rng: np.random.Generator) -> list[Solid]:
    """Excavator: crawler tracks, a turned house with cab, a boom."""
    length, width, height = size
    paint = _pick(rng, ((0.86, 0.62, 0.08), (0.88, 0.50, 0.10), (0.82, 0.68, 0.14)))
    half, rear = length / 2, -length / 2
    tracks = []
    for side in (-1, 1):
        inner, outer = 0.28 * width * side, 0.5 * width * side
        profile = [
            (rear, 0.4),
            (rear + 0.4, 0.0),
            (0.3 * half - 0.4, 0.0),
            (0.3 * half, 0.4),
            (0.3 * half - 0.3, 0.85),
            (rear + 0.3, 0.85),
        ]
        track = prism(profile, (min(inner, outer), max(inner, outer)), (0.13, 0.13, 0.13))
        for index, face in enumerate(track.faces[:2]):
            if (index == 0) == (side < 0):
                for f in np.linspace(rear + 0.55, 0.3 * half - 0.55, 5):
                    face.decals.append(disc((f, outer, 0.38), 0.2, (0.32, 0.32, 0.32)))
        tracks.append(track)
    house = frustum(
        (rear, 0.22 * half, 0.46 * width, 0.9), (rear + 0.15, 0.22 * half, 0.44 * width, 0.62 * height), paint, 1
    )
    patch(house.faces[1], (0.1, 0.9), (0.15, 0.6), _DARK)
    patch(house.faces[1], (0.05, 0.95), (0.7, 0.9), (0.12, 0.12, 0.12))
    cab = frustum(
        (-0.30 * half, 0.34 * half, 0.22 * width, 0.62 * height),
        (-0.28 * half, 0.24 * half, 0.2 * width, height),
        paint,
        2,
    )
    for face in cab.faces[:4]:
        patch(face, (0.10, 0.90), (0.10, 0.86), _GLASS)
    thick = 0.30
    lower = prism(
        [
            (0.2 * half, 0.45 * height),
            (0.2 * half + 0.4, 0.42 * height),
            (0.72 * half, 0.97 * height),
            (0.66 * half, height),
        ],
        (-thick, thick),
        paint,
        1,
    )
    upper = prism(
        [(0.60 * half, height), (0.72 * half, 0.99 * height), (half, 0.36 * height), (half - 0.3, 0.34 * height)],
        (-thick, thick),
        paint,
        1,
    )
    bucket = prism(
        [(half - 0.75, 0.55), (half - 0.5, 0.12), (half, 0.30), (half, 0.40 * height)],
        (-0.45, 0.45),
        (0.24, 0.23, 0.22),
        1,
    )
    return [*tracks, house, cab, lower, upper, bucket]

"""The ground of the demo world: asphalt, paving, grass and paint, filtered exactly over each pixel.

Shape letters: R image rows below the horizon, W columns.
"""

from functools import lru_cache

import cv2
import numpy as np

from mmopt.datasets.common.street.camera import Camera
from mmopt.datasets.common.street.light import Light
from mmopt.datasets.common.street.street import KERB_M, Street, band, stripes

__all__ = ['draw_ground', 'noise_tile']

_TILE = 512
_WHITE = np.array((0.86, 0.86, 0.84), np.float32)
_YELLOW = np.array((0.80, 0.62, 0.16), np.float32)


@lru_cache(maxsize=4)
def noise_tile(seed: int = 0, octaves: int = 5) -> np.ndarray:
    """Return tileable noise of several octaves, float32 (512, 512), mean 0 and deviation 1."""
    rng = np.random.default_rng(seed)
    total = np.zeros((_TILE, _TILE), np.float32)
    for octave in range(octaves):
        size = 8 << octave
        grid = rng.standard_normal((size, size)).astype(np.float32)
        padded = np.pad(grid, 2, mode='wrap')
        step = _TILE // size
        large = cv2.resize(padded, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        total += large[2 * step : -2 * step, 2 * step : -2 * step] * 0.85**octave
    return (total - total.mean()) / total.std()


def _noise(x: np.ndarray, z: np.ndarray, period_m: float, width_m: np.ndarray, seed: int = 0) -> np.ndarray:
    """Sample the tile so that it repeats every ``period_m``; it fades where a pixel covers too much of it."""
    scale = _TILE / period_m
    sampled = cv2.remap(
        noise_tile(seed),
        np.mod(x * scale, _TILE).astype(np.float32),
        np.mod(z * scale, _TILE).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )
    return sampled / (1 + (width_m * 40 / period_m) ** 2)


def draw_ground(
    camera: Camera, street: Street, light: Light, shadow_RW: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draw everything below the horizon but the objects.

    Args:
        shadow_RW: Share of the direct light that shadows take, in [0, 1].
        rng: Colors and wear.

    Returns:
        RGB, float32 (R, W, 3).
    """
    x, z_R1 = camera.ground_points
    z = np.broadcast_to(z_R1, x.shape)
    s, d = street.to_road(x, z)
    yaw = street.yaw(s)
    width_x, width_z = camera.ground_footprint
    sin, cos = np.abs(np.sin(yaw)), np.abs(np.cos(yaw))
    width_s = sin * width_x + cos * width_z
    width_d = cos * width_x + sin * width_z
    share = street.regions(s, d, width_s, width_d)

    asphalt = np.float32(rng.uniform(0.24, 0.40)) * np.array((0.99, 1.0, 1.03), np.float32)
    paving = _pick(rng, ((0.62, 0.59, 0.55), (0.66, 0.50, 0.42), (0.56, 0.57, 0.58)))
    grass = _pick(rng, ((0.29, 0.37, 0.18), (0.38, 0.39, 0.22), (0.25, 0.33, 0.17)))
    concrete = _pick(rng, ((0.50, 0.48, 0.46), (0.46, 0.44, 0.47)))

    rough = _noise(x, z, 2.3, width_z)
    blotch = _noise(x, z, 31.0, width_z, seed=1)
    soft = 0.55 * rough + 0.45 * blotch

    image = grass * (1 + 0.2 * soft[..., None])
    joints = np.maximum(stripes(s, 0.6, 0.035, width_s), stripes(d, 0.6, 0.035, width_d))
    _lay(image, paving * (1 + 0.05 * soft - 0.22 * joints)[..., None], share['walkway'])
    _lay(image, concrete * (1 + 0.07 * soft)[..., None], share['carpark'])
    # Tyres polish two tracks per lane; patches of another age lie across the road.
    lane = (d - street.edges[0]) / street.lane_m
    tracks = np.cos(lane * (4 * np.pi)) * np.clip(1 - 3 * width_d, 0, 1)
    patch = np.zeros_like(d)
    for _ in range(rng.integers(0, 3)):
        start, begin = rng.uniform(5, 30), rng.uniform(*street.edges)
        patch += band(s, start, start + rng.uniform(2, 12), width_s) * band(d, begin, begin + street.lane_m, width_d)
    wear = 1 + 0.05 * rough + 0.045 * blotch + 0.035 * tracks - 0.16 * np.minimum(patch, 1)
    _lay(image, asphalt * wear[..., None], share['road'])

    chipped = np.clip(0.92 + 0.12 * rough, 0.5, 1)
    for color, paint in _markings(street, s, d, width_s, width_d, share, rng):
        _lay(image, color * np.ones_like(image), paint * chipped)

    direct = np.float32(light.to_sun[1]) * (1 - shadow_RW)
    lit = np.asarray(light.sky, np.float32) * (1 - 0.45 * shadow_RW * light.shadow)[..., None]
    lit = lit + direct[..., None] * np.asarray(light.sun, np.float32)
    if light.is_dark:
        beam = np.exp(-((x / (1.5 + 0.28 * z)) ** 2)) * np.exp(-z / 24) * np.minimum(z / 9, 1)
        lit += (light.headlights * beam)[..., None] * np.array((1.0, 0.95, 0.82), np.float32)
    haze = (1 - np.exp(-z_R1 / light.haze_m))[..., None].astype(np.float32)
    image *= lit * (light.exposure * (1 - haze))
    image += np.asarray(light.horizon, np.float32) * (light.exposure * haze)
    return image


def _pick(rng: np.random.Generator, colors: tuple) -> np.ndarray:
    return (np.array(colors[rng.integers(len(colors))]) * rng.uniform(0.88, 1.1)).astype(np.float32)


def _lay(image: np.ndarray, color: np.ndarray, share: np.ndarray) -> None:
    """Lay a surface over the picture in place."""
    color -= image
    color *= share[..., None]
    image += color


def _markings(
    street: Street,
    s: np.ndarray,
    d: np.ndarray,
    width_s: np.ndarray,
    width_d: np.ndarray,
    share: dict[str, np.ndarray],
    rng: np.random.Generator,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Paint and kerbs as (color, share of the pixel)."""
    left, right = street.edges
    free = 1 - share['crossing']
    open_s = np.ones_like(s)  # where lane markings run: not on a crossing, not inside the junction
    if street.cross:
        open_s -= band(s, street.cross.start - 1, street.cross.stop + 1, width_s)
    lanes = np.zeros_like(s)
    middle = np.zeros_like(s)
    dashes = stripes(s + rng.uniform(0, 9), 9.0, 3.0, width_s)
    for (before, direction), (_, following) in zip(street.lanes, street.lanes[1:], strict=False):
        line = before + street.lane_m / 2
        if direction == following:
            lanes = np.maximum(lanes, band(d, line - 0.07, line + 0.07, width_d) * dashes)
        else:
            middle = band(d, line - 0.2, line - 0.07, width_d) + band(d, line + 0.07, line + 0.2, width_d)
    edge_lines = band(d, left + 0.3, left + 0.42, width_d) + band(d, right - 0.42, right - 0.3, width_d)
    painted = np.maximum(lanes, edge_lines) * open_s * free
    middle = middle * open_s * free

    for start, _ in street.crossings:
        stop_line = band(s, start - 1.2, start - 0.8, width_s)
        for d_lane, direction in street.lanes:
            if direction > 0:
                lane = band(d, d_lane - street.lane_m / 2 + 0.1, d_lane + street.lane_m / 2 - 0.1, width_d)
                painted = np.maximum(painted, stop_line * lane)
    # Zebras run across the main road in s and, over the arms of the cross street, in d.
    on_main = band(d, left, right, width_d)
    bars = on_main * stripes(d, 1.0, 0.52, width_d) + (1 - on_main) * stripes(s, 1.0, 0.52, width_s)
    painted = np.maximum(painted, share['crossing'] * bars)

    bays, kerb = np.zeros_like(s), np.zeros_like(s)
    for side, outward in zip(street.sides, (left - d, d - right), strict=True):
        kerb = np.maximum(kerb, band(outward, side.bays_m, side.bays_m + KERB_M, width_d))
        if side.bays_m:
            kerb = np.maximum(kerb, band(outward, 0, KERB_M, width_d) * (1 - band(s, *side.bays, width_s)))
            lines = np.maximum(stripes(s, 6.0, 0.12, width_s), band(outward, 0, 0.12, width_d))
            bays = np.maximum(bays, lines * band(outward, 0, side.bays_m, width_d))
        if side.lot_m:
            inner = side.walk_stop
            depth = min(5.0, side.lot_m / 2)
            rows = band(outward, inner, inner + depth, width_d)
            rows = np.maximum(rows, band(outward, inner + side.lot_m - depth, inner + side.lot_m, width_d))
            bays = np.maximum(bays, rows * stripes(s, 2.6, 0.12, width_s))
    kerb_color = np.array((0.66, 0.65, 0.62), np.float32)
    return [
        (kerb_color, kerb * (1 - share['road']) * (1 - share['carpark'])),
        (_WHITE, bays * share['carpark']),
        (_WHITE if rng.random() < 0.5 else _YELLOW, middle),
        (_WHITE, painted * share['road']),
    ]

"""Trees, drawn once per process as pictures with alpha, and the sky with its clouds and far hills.

Shape letters: H W picture, h w sprite.
"""

from functools import cache, lru_cache

import cv2
import numpy as np

from mmopt.datasets.common.street.camera import CAM_FRONT_HEIGHT_M, Camera
from mmopt.datasets.common.street.ground import noise_tile
from mmopt.datasets.common.street.items import Item
from mmopt.datasets.common.street.light import Light, shade
from mmopt.datasets.common.street.paint import blend

__all__ = ['NUM_TREES', 'draw_sky', 'draw_tree', 'sky_layout', 'tree_picture']

NUM_TREES = 5
_SIZE_HW = (384, 320)
_LEAVES = ((0.25, 0.36, 0.15), (0.33, 0.42, 0.18), (0.22, 0.33, 0.19), (0.35, 0.35, 0.16), (0.28, 0.38, 0.22))


@lru_cache(maxsize=NUM_TREES)
def _tree(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Albedo (h, w, 3) and alpha (h, w), uint8: a trunk, branches, clusters of leaves lit from above."""
    rng = np.random.default_rng((7, number))
    height, width = _SIZE_HW
    rgb, alpha = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8)
    middle = width // 2
    bark = np.array((0.30, 0.24, 0.19)) * 255

    def fill(points: np.ndarray, color: np.ndarray) -> None:
        for target, value in ((rgb, color.tolist()), (alpha, 255)):
            cv2.fillPoly(target, [np.round(points).astype(np.int32)], value)

    fill(np.array([(middle - 9, height), (middle + 9, height), (middle + 4, 150), (middle - 4, 150)]), bark)
    for _ in range(7):
        low, tip = rng.uniform(190, 250), np.array((middle + rng.uniform(-55, 55), rng.uniform(110, 190)))
        fill(np.array([(middle - 4, low), (middle + 4, low), tip]), bark * 0.9)
    leaf = np.array(_LEAVES[number]) * 255
    centers = [(middle + rng.normal(0, 58), 128 + rng.normal(0, 46), rng.uniform(26, 48)) for _ in range(18)]
    blobs = []
    for cx, cy, radius in centers:
        for _ in range(150):
            angle, reach = rng.uniform(0, 2 * np.pi), radius * np.sqrt(rng.random())
            x, y = cx + reach * np.cos(angle), cy + 0.8 * reach * np.sin(angle)
            # Lighter above and at the upper rim of its cluster.
            level = 0.62 + 0.30 * (1 - y / 260) - 0.34 * (y - cy) / radius + rng.normal(0, 0.10)
            blobs.append((level, x, y, rng.uniform(1.8, 4.6)))
    for level, x, y, radius in sorted(blobs):
        color = np.clip(leaf * (0.45 + 0.75 * level), 0, 255)
        for target, value in ((rgb, color.tolist()), (alpha, 255)):
            cv2.ellipse(
                target, (round(x), round(y)), (round(radius), round(0.7 * radius)), 30 * level, 0, 360, value, -1
            )
    return rgb, alpha


@cache
def _smaller_tree(number: int, halvings: int) -> np.ndarray:
    """Albedo and alpha of a tree in one (h, w, 4) picture, at half the size so many times."""
    if not halvings:
        return np.dstack(_tree(number))
    return cv2.resize(_smaller_tree(number, halvings - 1), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def tree_picture(camera: Camera, item: Item) -> tuple[int, int, np.ndarray, np.ndarray] | None:
    """Return where a tree's picture lies (top, left), its albedo (h, w, 3) and alpha (h, w); None if out of sight."""
    x, z, _ = item.pose
    tall = item.size[2]
    wide = tall * _SIZE_HW[1] / _SIZE_HW[0]
    (left, top), (right, bottom) = camera.project(np.array([(x - wide / 2, tall, z), (x + wide / 2, 0.0, z)]))
    width, height = round(right - left), round(bottom - top)
    if width < 2 or height < 2 or left > camera.image_size[1] or right < 0:
        return None
    # Averaging over the whole sprite took most of a small picture's time; what is left to average is 1 to 4 pixels.
    halvings = next((count for count in (3, 2, 1) if 2 * width <= _SIZE_HW[1] >> count - 1), 0)
    kind = cv2.INTER_AREA if width < _SIZE_HW[1] else cv2.INTER_LINEAR
    picture = cv2.resize(_smaller_tree(item.sprite, halvings), (width, height), interpolation=kind)
    return round(top), round(left), picture[..., :3], picture[..., 3]


def draw_tree(image_HW3: np.ndarray, camera: Camera, light: Light, item: Item) -> None:
    """Draw a tree as a picture that faces the camera."""
    x, z, _ = item.pose
    picture = tree_picture(camera, item)
    if picture is None:
        return
    top, left, rgb, alpha = picture
    alpha = alpha.astype(np.float32) / 255
    distance = float(np.hypot(x, z))
    normal = np.array([-0.2, 0.75, -0.6]) / np.linalg.norm((-0.2, 0.75, -0.6))
    # Shading is affine in the albedo, so two values give it for all pixels.
    dark, bright = shade(light, np.zeros(3), normal, distance), shade(light, np.full(3, 0.5), normal, distance)
    lit = rgb.astype(np.float32) / 255 * ((bright - dark) * 2).astype(np.float32)
    # Resizing has premultiplied the albedo already (the sprite is black outside), but not the haze.
    blend(image_HW3, top, left, lit + alpha[..., None] * dark.astype(np.float32), alpha)


def sky_layout(camera: Camera, rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
    """Draw where clouds lie and what the far ridges cover.

    Args:
        rng: Clouds and hills; nothing may have been drawn from it.

    Returns:
        Shift of the clouds, and the share of each pixel above the horizon that each of two ridges covers, the farther
        one first, (rows above the horizon, W).
    """
    width, matrix = camera.image_size[1], camera.intrinsics_33
    slope_v = ((matrix[1, 2] - np.arange(camera.first_ground_row)) / matrix[1, 1]).astype(np.float32)[:, None]
    shift = rng.uniform(0, 512, 2).astype(np.float32)
    covers = []
    for meters in (34.0, 17.0):
        row = int(rng.integers(512))
        columns = np.arange(width) * (200 / width)
        ridge = cv2.remap(
            noise_tile(3), columns[None].astype(np.float32), np.full((1, width), row, np.float32), cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )[0]  # fmt: skip
        top = (meters - CAM_FRONT_HEIGHT_M) / 330 * (1 + 0.16 * ridge)
        covers.append(np.clip((top[None] - slope_v) * matrix[1, 1] / 2, 0, 1))
    return shift, covers


def draw_sky(camera: Camera, light: Light, rng: np.random.Generator) -> np.ndarray:
    """Draw everything above the horizon that is farther than any building.

    Args:
        rng: Clouds and hills.

    Returns:
        RGB, float32 (rows above the horizon, W, 3).
    """
    height, width = camera.first_ground_row, camera.image_size[1]
    matrix = camera.intrinsics_33
    slope_u = ((np.arange(width) - matrix[0, 2]) / matrix[0, 0]).astype(np.float32)[None, :]
    slope_v = ((matrix[1, 2] - np.arange(height)) / matrix[1, 1]).astype(np.float32)[:, None]
    up = np.clip(slope_v / 0.42, 0, 1) ** 0.75
    zenith, horizon = np.asarray(light.zenith, np.float32), np.asarray(light.horizon, np.float32)
    sky = np.broadcast_to((horizon + (zenith - horizon) * up[..., None]), (height, width, 3)).copy()

    # Clouds lie in a plane overhead, so they crowd towards the horizon.
    depth = 1 / (slope_v + 0.10)
    shift, ridges = sky_layout(camera, rng)
    x = np.mod(slope_u * depth * 60 + shift[0], 512)
    y = np.mod(np.broadcast_to(depth * 75 + shift[1], x.shape), 512)
    noise = cv2.remap(noise_tile(2), x, y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    cover = np.clip((noise + 2.4 * light.clouds - 1.5) * 0.55, 0, 0.9)
    bright = horizon * 0.35 + (0.65 if not light.is_dark or light.name == 'dusk' else 0.15)
    tone = bright * (1 - 0.14 * np.clip(noise, -1, 2)[..., None])
    sky += (tone - sky) * cover[..., None]

    toward = np.array(light.to_sun)
    if toward[2] > 0.1 and light.name in ('sun', 'dusk'):
        spot = toward[:2] / toward[2]
        glow = np.exp(-((slope_u - spot[0]) ** 2 + (slope_v - spot[1]) ** 2) / 0.06)
        sky += 0.55 * glow[..., None] * np.asarray(light.sun, np.float32)

    # Two ridges of trees and hills, the farther one paler.
    for distance, cover in zip((0.72, 0.5), ridges, strict=True):
        green = np.array((0.26, 0.32, 0.24), np.float32) * (np.asarray(light.sky) + 0.4 * np.asarray(light.sun))
        color = (green * (1 - distance) + horizon * distance).astype(np.float32)
        sky += (color - sky) * cover[..., None]
    sky *= light.exposure
    return sky

"""Put a demo scene together and photograph it.

Shape letters: H W image, R rows below the horizon.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from mmopt.datasets.common.street.camera import Camera, clip_near
from mmopt.datasets.common.street.ground import draw_ground
from mmopt.datasets.common.street.items import Item, far_to_near
from mmopt.datasets.common.street.light import Light, sample_light
from mmopt.datasets.common.street.paint import draw_solids, to_pixels
from mmopt.datasets.common.street.scenery import sample_scenery
from mmopt.datasets.common.street.sprites import draw_sky, draw_tree
from mmopt.datasets.common.street.street import Street, sample_street
from mmopt.datasets.common.street.traffic import sample_traffic

__all__ = ['World', 'render', 'sample_world']


@dataclass(frozen=True)
class World:
    """One scene.

    Attributes:
        items: Everything that stands on the ground, in no order.
        picture_seed: Seed of colors, clouds and camera noise.
    """

    street: Street
    light: Light
    items: list[Item]
    picture_seed: int

    @cached_property
    def far_to_near(self) -> list[Item]:
        """The items in the order in which they are drawn."""
        return far_to_near(self.items)


def sample_world(seed: Sequence[int]) -> World:
    """Draw a scene that depends on ``seed`` alone."""
    rng = np.random.default_rng(seed)
    street = sample_street(rng)
    light = sample_light(rng)
    traffic = sample_traffic(street, rng)
    scenery = sample_scenery(street, traffic, rng)
    return World(street, light, [*traffic, *scenery], int(rng.integers(1 << 31)))


def render(camera: Camera, world: World) -> np.ndarray:
    """Photograph a scene: uint8 RGB (H, W, 3)."""
    rng = np.random.default_rng(world.picture_seed)
    sky = draw_sky(camera, world.light, rng)
    shadow_RW = _draw_shadows(camera, world)
    ground = draw_ground(camera, world.street, world.light, shadow_RW, rng)
    image = np.concatenate([sky, ground])
    for item in world.far_to_near:
        if item.kind == 'tree':
            draw_tree(image, camera, world.light, item)
        else:
            draw_solids(image, camera, world.light, item.solids, item.pose)
    return _expose(image, world.light, rng)


def _draw_shadows(camera: Camera, world: World) -> np.ndarray:
    """Share of the direct light that is taken from each ground pixel, float32 (R, W)."""
    top = camera.first_ground_row
    height, width = camera.image_size[0] - top, camera.image_size[1]
    cast: np.ndarray = np.zeros((height, width), np.uint8)
    contact: np.ndarray = np.zeros((height, width), np.uint8)
    shadow: np.ndarray
    to_sun = world.light.to_sun
    for item in world.items:
        corners = item.corners_42
        tall = item.size[2]
        slip = -np.array((to_sun[0], to_sun[2])) * (tall / to_sun[1])
        if item.kind == 'tree':
            # The crown, not the trunk, throws the shadow: an ellipse on the ground.
            angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
            ring = np.stack([np.cos(angle), np.sin(angle)], 1) * (0.28 * tall)
            shadow = np.array((item.pose[0], item.pose[1])) + 0.65 * slip + ring
        else:
            shadow = cv2.convexHull(np.concatenate([corners, corners + slip]).astype(np.float32))[:, 0]
        _fill_on_ground(cast, camera, shadow, top, 255)
        if item.category is not None:
            middle = corners.mean(0)
            _fill_on_ground(contact, camera, middle + (corners - middle) * 1.06, top, 255)
    cast = cv2.GaussianBlur(cast, (0, 0), 1.6 if world.light.name in ('sun', 'dusk') else 9.0)
    contact = cv2.GaussianBlur(contact, (0, 0), 3.0)
    strength = 1.6 * world.light.shadow
    return np.clip(
        cast.astype(np.float32) * (min(strength, 0.92) / 255) + contact.astype(np.float32) * (0.75 / 255), 0, 1
    )


def _fill_on_ground(mask_RW: np.ndarray, camera: Camera, polygon_N2: np.ndarray, top: int, value: int) -> None:
    points = clip_near(np.stack([polygon_N2[:, 0], np.zeros(len(polygon_N2)), polygon_N2[:, 1]], 1))
    if len(points) >= 3:
        pixels = camera.project(points) - (0, top)
        cv2.fillConvexPoly(mask_RW, to_pixels(pixels), value, cv2.LINE_AA, 4)


def _expose(image: np.ndarray, light: Light, rng: np.random.Generator) -> np.ndarray:
    """What lens and sensor add: glare, darker corners, a tone curve, noise."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    glare = cv2.GaussianBlur(np.maximum(small - 0.82, 0), (0, 0), width / 110)
    image += cv2.resize(glare, (width, height)) * (1.6 if light.is_dark else 0.5)
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)[None]
    image *= (1 - 0.13 * (0.45 * y * y + 0.55 * x * x))[..., None]
    # A soft shoulder: highlights bend instead of clipping.
    np.clip(image, 0, None, out=image)
    image *= 1.12 / (1 + 0.12 * image * image)
    # One tile of noise, moved at random: a fresh one for 4.3 million values would cost half the picture.
    grain = _grain()
    down, right = rng.integers(0, 256, 2)
    repeated = np.tile(grain, (height // 256 + 2, width // 256 + 2))[down : down + height, right : right + width]
    image *= 255
    image += (repeated * (3.2 if light.is_dark else 1.8))[..., None]
    return np.clip(image, 0, 255, out=image).astype(np.uint8)


def _grain() -> np.ndarray:
    return np.random.default_rng(5).standard_normal((256, 256)).astype(np.float32)

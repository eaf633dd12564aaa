"""Draw the articulated driver as one of three cameras sees it."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from mmopt.datasets.video.demo.figure import Driver, wheel_rim

__all__ = ['CAMERAS', 'Light', 'render']

_SHIFT = 3  # fractional bits of OpenCV's drawing coordinates: motion is smooth
_UNIT = 1 << _SHIFT


@dataclass(frozen=True)
class Light:
    """What a recording's environment looks like.

    Attributes:
        brightness: 1 by day.
        noise: Standard deviation of the sensor's noise, in gray levels.
        traffic: Vehicles behind the windows.
    """

    brightness: float
    noise: float
    traffic: int


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks at the driver's neck.

    Attributes:
        place_m: Where it is.
        focal: Focal length in image heights.
    """

    place_m: tuple[float, float, float]
    focal: float = 1.15

    def project(self, points_N3: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Return pixels (N, 2) as x and y, and depths (N,)."""
        seen_N3 = (points_N3 - np.array(self.place_m)) @ _axes(self.place_m).T
        scale = self.focal * size[0]
        pixels_N2 = seen_N3[:, :2] / seen_N3[:, 2:] * scale + np.array([size[1], size[0]]) / 2
        return pixels_N2, seen_N3[:, 2]


@cache
def _axes(place_m: tuple[float, float, float]) -> np.ndarray:
    """Return the camera's axes right, down and forward, in rows."""
    forward = np.array([0.0, 0.02, 0.1]) - place_m
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


CAMERAS = dict(
    front=Camera((0.0, 0.12, 1.0)),
    left=Camera((0.78, 0.12, 0.72)),
    right=Camera((-0.78, 0.12, 0.72)),
)


def _at(pixel: np.ndarray) -> tuple[int, int]:
    return round(float(pixel[0]) * _UNIT), round(float(pixel[1]) * _UNIT)


def render(
    points: dict[str, np.ndarray],
    driver: Driver,
    camera: Camera,
    light: Light,
    time_s: float,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw one frame.

    Args:
        points: From :func:`~mmopt.datasets.video.demo.figure.pose_points`.
        camera: One of :data:`CAMERAS`.
        light: The environment.
        time_s: Time, which moves the traffic.
        size: Height and width.
        rng: Source of the noise.

    Returns:
        uint8 RGB (H, W, 3).
    """
    height, width = size
    image = _cabin(size, camera, light, time_s)
    names = [name for name in points if name not in ('side', 'up', 'forward')]
    pixels_N2, depth_N = camera.project(np.stack([points[name] for name in names]), size)
    pixel = dict(zip(names, pixels_N2, strict=True))
    meter = camera.focal * height / float(np.mean(depth_N))  # pixels per meter at the driver

    def line(first: str, second: str, color: tuple, thickness_m: float) -> None:
        thickness = max(round(thickness_m * meter), 1)
        cv2.line(image, _at(pixel[first]), _at(pixel[second]), color, thickness, cv2.LINE_AA, _SHIFT)

    def dot(place: np.ndarray, color: tuple, radius_m: float) -> None:
        cv2.circle(image, _at(place), max(round(radius_m * meter * _UNIT), _UNIT), color, -1, cv2.LINE_AA, _SHIFT)

    chest = points['neck'] + [0, -0.62, 0.02]
    trunk = [points['left_shoulder'], points['right_shoulder'], chest + [-0.17, 0, 0], chest + [0.17, 0, 0]]
    outline, _ = camera.project(np.stack(trunk), size)
    cv2.fillPoly(image, [np.array([_at(corner) for corner in outline])], driver.shirt, cv2.LINE_AA, _SHIFT)
    line('left_shoulder', 'right_shoulder', driver.shirt, 0.09)
    line('neck', 'head', driver.skin, 0.09)
    _head(points, driver, camera, size, dot)
    rim, _ = camera.project(wheel_rim(driver), size)
    corners = np.array([_at(corner) for corner in rim])
    cv2.polylines(image, [corners], True, (25, 25, 28), max(round(0.025 * meter), 1), cv2.LINE_AA, _SHIFT)
    sleeve = tuple(int(0.8 * value) for value in driver.shirt)
    for side in sorted(('left', 'right'), key=lambda side: -depth_N[names.index(f'{side}_wrist')]):
        line(f'{side}_shoulder', f'{side}_elbow', sleeve, 0.075)
        line(f'{side}_elbow', f'{side}_wrist', sleeve, 0.06)
        dot(pixel[f'{side}_wrist'], driver.skin, 0.035)
        for finger in ('thumb', 'index', 'middle', 'ring', 'pinky'):
            line(f'{side}_wrist', f'{side}_{finger}_1', driver.skin, 0.018)
            line(f'{side}_{finger}_1', f'{side}_{finger}_4', driver.skin, 0.016)
    lit = image.astype(np.float32)
    lit *= light.brightness
    lit += rng.standard_normal((height, width, 1), dtype=np.float32) * light.noise
    return np.clip(lit, 0, 255, out=lit).astype(np.uint8)


def _head(points: dict, driver: Driver, camera: Camera, size: tuple[int, int], dot) -> None:
    """Draw hair and face as spheres, the farther one first, and of the features those that the camera sees."""
    place, up, forward = points['head'], points['up'], points['forward']
    side = points['side']
    scale = driver.scale

    to_camera = np.array(camera.place_m) - place
    to_camera /= np.linalg.norm(to_camera)
    spheres = [
        (-0.035 * forward + 0.03 * up, driver.hair, 0.108 * scale),
        (0.022 * forward - 0.015 * up, driver.skin, 0.095 * scale),
    ]
    spheres.sort(key=lambda sphere: float(sphere[0] @ to_camera))
    dark = (35, 25, 25)
    features = [
        (0.09 * forward + 0.03 * up + 0.036 * side, (245, 245, 245), 0.02),
        (0.09 * forward + 0.03 * up - 0.036 * side, (245, 245, 245), 0.02),
        (0.10 * forward + 0.03 * up + 0.036 * side, dark, 0.011),
        (0.10 * forward + 0.03 * up - 0.036 * side, dark, 0.011),
        (0.115 * forward - 0.012 * up, tuple(int(0.75 * value) for value in driver.skin), 0.016),
        (0.095 * forward - 0.055 * up + 0.015 * side, (150, 60, 60), 0.012),
        (0.095 * forward - 0.055 * up - 0.015 * side, (150, 60, 60), 0.012),
    ]
    shown = [*spheres, *((*what, radius * scale) for *what, radius in features if what[0] @ to_camera > 0.035)]
    pixels_N2, _ = camera.project(place + scale * np.stack([offset for offset, *_ in shown]), size)
    for pixel, (_, color, radius_m) in zip(pixels_N2, shown, strict=True):
        dot(pixel, color, radius_m)


def _cabin(size: tuple[int, int], camera: Camera, light: Light, time_s: float) -> np.ndarray:
    """Draw the seat and, behind the windows, sky and traffic."""
    height, width = size
    image = _windows(size).copy()
    for number in range(light.traffic):
        speed = 0.35 + 0.2 * number
        x = int(((0.37 * number + speed * time_s * (1 if camera.place_m[0] >= 0 else -1)) % 1.0) * width)
        if x < width // 5 or x > width * 4 // 5:
            color = [(190, 60, 50), (60, 70, 160), (220, 210, 120)][number % 3]
            cv2.rectangle(image, (x - 3, height // 3), (x + 3, height // 3 + 5), color, -1)
    cv2.fillPoly(image, [_seat(camera, size)], (45, 45, 52), cv2.LINE_AA, _SHIFT)
    return image


@cache
def _windows(size: tuple[int, int]) -> np.ndarray:
    """Draw what is behind every driver: a wall that darkens downwards, and a window on either side."""
    height, width = size
    image = np.empty((height, width, 3), np.uint8)
    image[:] = (np.linspace(120, 60, height)[:, None, None] * np.array([0.9, 1.0, 1.1])).astype(np.uint8)
    window_rows = slice(height // 10, height // 2)
    image[window_rows, : width // 5] = image[window_rows, -width // 5 :] = (150, 180, 215)
    return image


@cache
def _seat(camera: Camera, size: tuple[int, int]) -> np.ndarray:
    """Return the seat's outline in OpenCV's fixed-point pixels."""
    seat = np.array([[-0.2, 0.2, -0.14], [0.2, 0.2, -0.14], [0.27, -0.65, -0.12], [-0.27, -0.65, -0.12]])
    outline, _ = camera.project(seat, size)
    return np.array([_at(corner) for corner in outline])

"""What the demo's cameras see: sky, hills and houses that move past, drones, and birds that are none.

Images are float32 (H, W, 3) RGB in [0, 255]; positions are pixels, x to the right and y down.
"""

from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ['Scene', 'event_frame']

_SUPERSAMPLING = 4
# The colors of FRED's event frames: nothing, brighter, darker. RGB.
_QUIET, _BRIGHTER, _DARKER = (30, 37, 52), (255, 255, 255), (64, 126, 200)
_CONTRAST = 0.12
"""Change of log brightness that makes an event."""


def _clouds(rng: np.random.Generator, height: int, width: int, octaves: tuple[int, ...]) -> np.ndarray:
    """Return smooth noise in [0, 1]."""
    total = np.zeros((height, width), np.float32)
    for octave in octaves:
        grid = rng.random((max(height // octave, 2), max(width // octave, 2))).astype(np.float32)
        total += octave * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    total -= total.min()
    return total / total.max()


def _panorama(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Paint a background: sky with clouds, two ranges of hills, houses."""
    day = rng.uniform(0.5, 1.0)
    top, low = rng.uniform([60, 100, 150], [120, 160, 230]), rng.uniform([150, 160, 170], [230, 225, 220])
    share_H11 = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    image: np.ndarray = np.empty((height, width, 3), np.float32)
    image[:] = top * (1 - share_H11) + low * share_H11
    cover = rng.uniform(0, 0.8)
    white = np.clip((_clouds(rng, height, width, (96, 48, 24)) - 1 + cover) * 3, 0, 1)[..., None]
    image = image * (1 - white) + np.array([238, 238, 240], np.float32) * white
    columns = np.arange(width)
    for distance in (0.62, 0.78):
        ridge = height * distance + height * 0.25 * (_clouds(rng, 2, width, (160, 60))[0] - 0.5)
        below = np.arange(height)[:, None] > ridge[columns][None]
        color = rng.uniform([40, 60, 30], [110, 120, 80])
        texture = 0.6 + 0.8 * _clouds(rng, height, width, (12, 6, 3))
        image[below] = (color * texture[..., None])[below]
        for _ in range(int(rng.integers(0, 6))):
            left, wide, tall = rng.uniform(0, width), rng.uniform(12, 60), rng.uniform(10, 70)
            base = float(ridge[min(int(left), width - 1)])
            corner, opposite = (int(left), int(base - tall)), (int(left + wide), int(base + 30))
            cv2.rectangle(image, corner, opposite, rng.uniform(60, 210, 3).tolist(), -1)
    return image * np.float32(day)


@dataclass
class _Flyer:
    """Something that flies: position and speed at time 0, width, looks."""

    start: np.ndarray
    speed: np.ndarray
    sway: np.ndarray
    width: float
    tilt: float
    shade: float
    phase: float
    is_drone: bool

    def place(self, time: float) -> np.ndarray:
        """Return the center at a time in frames."""
        return self.start + self.speed * time + self.sway * np.sin(0.35 * time + self.phase)


def _drone_mask(width: float, tilt: float, phase: float) -> np.ndarray:
    """Draw a quadcopter from the side, as coverage in [0, 1]: body, arms, four blurred rotors."""
    scale = width * _SUPERSAMPLING
    side = int(scale * 1.25) + 4
    mask, middle = np.zeros((side, side), np.float32), side / 2
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])

    def at(x: float, y: float) -> tuple[int, int]:
        column, row = (int(round(v)) for v in turn @ np.array([x, y]) * scale + middle)
        return column, row

    thick = max(int(0.045 * scale), 1)
    for x in (-0.4, -0.24, 0.24, 0.4):
        cv2.line(mask, at(x * 0.3, 0.0), at(x, -0.08), 1.0, thick)
        reach = 0.1 * (0.6 + 0.4 * abs(np.sin(phase + 9 * x)))
        cv2.line(mask, at(x - reach, -0.12), at(x + reach, -0.12), 0.7, max(thick // 2, 1))
    cv2.ellipse(mask, at(0, 0), (int(0.17 * scale), int(0.09 * scale)), np.degrees(tilt), 0, 360, 1.0, -1)
    cv2.line(mask, at(-0.1, 0.05), at(-0.13, 0.17), 1.0, thick)
    cv2.line(mask, at(0.1, 0.05), at(0.13, 0.17), 1.0, thick)
    return _shrink(mask)


def _bird_mask(width: float, tilt: float, phase: float) -> np.ndarray:
    """Draw a bird: two wings that beat and a short body."""
    scale = width * _SUPERSAMPLING
    side = int(scale * 1.25) + 4
    mask, middle, lift = np.zeros((side, side), np.float32), side / 2, 0.3 * np.sin(phase)
    points = [(-0.5, -lift), (-0.2, -0.4 * lift - 0.05), (0.0, 0.03), (0.2, -0.4 * lift - 0.05), (0.5, -lift)]
    line = np.array([[middle + scale * x, middle + scale * (y + tilt * x)] for x, y in points]).round().astype(int)
    cv2.polylines(mask, [line], False, 1.0, max(int(0.07 * scale), 1))
    cv2.ellipse(mask, tuple(line[2].tolist()), (int(0.05 * scale), int(0.12 * scale)), 0, 0, 360, 1.0, -1)
    return _shrink(mask)


def _shrink(mask: np.ndarray) -> np.ndarray:
    side = max(mask.shape[0] // _SUPERSAMPLING, 2)
    return cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)


class Scene:
    """One sequence's world.

    Args:
        size: Height and width of the images.
        num_frames: How long drones shall stay near the image.
    """

    def __init__(self, rng: np.random.Generator, size: tuple[int, int], num_frames: int) -> None:
        self.size = size
        height, width = size
        margin = width // 3
        self.panorama = _panorama(rng, height + 2 * margin, width + 2 * margin)
        self.pan = rng.uniform(-1, 1, 2) * [0.009 * width, 0.003 * width]
        self.shake = rng.uniform(0, 0.0012) * width
        self.shake_phase = rng.uniform(0, 6, 2)
        self.middle = np.array([margin, margin], dtype=float)
        num_drones = int(rng.choice([1, 1, 1, 2]))
        num_birds = int(rng.integers(0, 3))
        self.flyers = [
            self._flyer(rng, num_frames, is_drone=index < num_drones) for index in range(num_drones + num_birds)
        ]

    def _flyer(self, rng: np.random.Generator, num_frames: int, *, is_drone: bool) -> _Flyer:
        height, width = self.size
        span = np.exp(rng.uniform(np.log(0.035), np.log(0.13))) * width * (1.0 if is_drone else 0.6)
        speed = rng.normal(0, 0.009 * width, 2) * [1, 0.5]
        # In sight at the middle of the sequence; may leave the image before and after.
        center = rng.uniform([0.05 * width, 0.06 * height], [0.95 * width, 0.8 * height])
        return _Flyer(
            start=center - speed * num_frames / 2,
            speed=speed,
            sway=rng.uniform(0, 0.012 * width, 2),
            width=span,
            tilt=float(rng.normal(0, 0.15)),
            shade=float(rng.choice([rng.uniform(5, 35), rng.uniform(215, 245)], p=[0.8, 0.2])) if is_drone else 30.0,
            phase=float(rng.uniform(0, 6)),
            is_drone=is_drone,
        )

    def render(self, time: float) -> tuple[np.ndarray, list[tuple[float, float, float, float, int]]]:
        """Render the scene at a time in frames.

        Args:
            time: Frames since the first.

        Returns:
            The image without noise, and x1, y1, x2, y2 and number of every drone, also where it leaves the image.
        """
        height, width = self.size
        offset = self.middle + self.pan * (time - 4) + self.shake * np.sin(2.1 * time + self.shake_phase)
        shift = np.array([[1, 0, -offset[0]], [0, 1, -offset[1]]], dtype=np.float32)
        image = cv2.warpAffine(self.panorama, shift, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        boxes = []
        for track, flyer in enumerate(self.flyers, start=1):
            draw = _drone_mask if flyer.is_drone else _bird_mask
            mask = draw(flyer.width, flyer.tilt, flyer.phase + 1.7 * time)
            corner = flyer.place(time) - np.array(mask.shape[::-1]) / 2
            left, top = np.floor(corner).astype(int).tolist()
            _blend(image, mask, left, top, flyer.shade)
            if flyer.is_drone:
                rows, columns = np.nonzero(mask > 0.15)
                boxes.append(
                    (left + columns.min(), top + rows.min(), left + columns.max() + 1, top + rows.max() + 1, track)
                )
        return image, [(float(x1), float(y1), float(x2), float(y2), track) for x1, y1, x2, y2, track in boxes]


def _blend(image: np.ndarray, mask: np.ndarray, left: int, top: int, shade: float) -> None:
    height, width = image.shape[:2]
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + mask.shape[1], width), min(top + mask.shape[0], height)
    if x1 >= x2 or y1 >= y2:
        return
    cover = 0.95 * mask[y1 - top : y2 - top, x1 - left : x2 - left, None]
    image[y1:y2, x1:x2] = image[y1:y2, x1:x2] * (1 - cover) + shade * cover


def event_frame(before: np.ndarray, now: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw where the brightness changed, as an event camera's viewer does.

    Args:
        before: The scene one frame ago, without noise.
        now: The scene.
        rng: For the camera's noise: one pixel in two thousand.

    Returns:
        uint8 (H, W, 3) RGB.
    """
    log_before, log_now = (np.log(image.mean(axis=2) + 8.0) for image in (before, now))
    change = log_now - log_before
    noise = rng.random(change.shape)
    picture = np.empty((*change.shape, 3), np.uint8)
    picture[:] = _QUIET
    picture[(change > _CONTRAST) | (noise < 0.00025)] = _BRIGHTER
    picture[(change < -_CONTRAST) | (noise > 0.99975)] = _DARKER
    return picture

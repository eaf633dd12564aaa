"""Daylight of the demo world: sun, overcast, dusk and night, and what they do to a surface."""

from dataclasses import dataclass, replace

import numpy as np

__all__ = ['Light', 'sample_light', 'shade']


@dataclass(frozen=True)
class Light:
    """Light of one picture. Colors are RGB, 1.0 = white at full exposure.

    Attributes:
        name: Kind of light.
        to_sun: Unit vector to the sun (or moon) in the world frame: x right, y up, z forward.
        sun: Color of the direct light.
        sky: Color of the light from above.
        zenith: Color of the sky overhead.
        horizon: Color of the sky at the horizon, and of haze.
        haze_m: Distance at which haze takes 63 % of the contrast.
        shadow: Share of the light that a cast shadow takes from the ground.
        clouds: How much of the sky clouds cover.
        headlights: Brightness of the car's own headlights.
        exposure: Factor on everything.
    """

    name: str
    to_sun: tuple[float, float, float]
    sun: tuple[float, float, float]
    sky: tuple[float, float, float]
    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    haze_m: float
    shadow: float
    clouds: float
    headlights: float = 0.0
    exposure: float = 1.0

    @property
    def is_dark(self) -> bool:
        """Whether lamps are on."""
        return self.headlights > 0


_KINDS = (
    Light(
        'sun', to_sun=(0.0, 0.7, 0.7), sun=(0.80, 0.74, 0.63), sky=(0.60, 0.64, 0.72),
        zenith=(0.26, 0.45, 0.74), horizon=(0.78, 0.85, 0.92), haze_m=420, shadow=0.5, clouds=0.5,
    ),
    Light(
        'overcast', to_sun=(0.0, 1.0, 0.0), sun=(0.16, 0.16, 0.16), sky=(0.78, 0.81, 0.85),
        zenith=(0.62, 0.67, 0.73), horizon=(0.84, 0.86, 0.88), haze_m=260, shadow=0.2, clouds=0.9,
    ),
    Light(
        'dusk', to_sun=(0.0, 0.3, 0.95), sun=(0.76, 0.50, 0.32), sky=(0.50, 0.46, 0.54),
        zenith=(0.28, 0.34, 0.54), horizon=(0.98, 0.70, 0.48), haze_m=300, shadow=0.42, clouds=0.6, headlights=0.15,
    ),
    Light(
        'night', to_sun=(0.0, 0.8, 0.6), sun=(0.08, 0.10, 0.14), sky=(0.24, 0.26, 0.35),
        zenith=(0.03, 0.04, 0.09), horizon=(0.17, 0.18, 0.27), haze_m=240, shadow=0.25, clouds=0.4, headlights=0.85,
    ),
)  # fmt: skip


def sample_light(rng: np.random.Generator) -> Light:
    """Draw a kind of light and vary sun direction, tint and exposure."""
    kind = _KINDS[rng.choice(len(_KINDS), p=(0.46, 0.24, 0.18, 0.12))]
    azimuth = rng.uniform(-np.pi, np.pi)
    height = np.clip(kind.to_sun[1] + rng.uniform(-0.2, 0.2), 0.22, 1.0)
    level = np.sqrt(1 - height**2)
    to_sun = (float(level * np.sin(azimuth)), float(height), float(level * np.cos(azimuth)))
    tint = 1 + rng.uniform(-0.04, 0.04, 3)
    sun, sky = (np.array(kind.sun) * tint).tolist(), (np.array(kind.sky) * tint[::-1]).tolist()
    return replace(
        kind,
        to_sun=to_sun,
        sun=(sun[0], sun[1], sun[2]),
        sky=(sky[0], sky[1], sky[2]),
        haze_m=float(kind.haze_m * rng.uniform(0.8, 1.25)),
        exposure=float(rng.uniform(0.86, 1.1)),
    )


def shade(light: Light, rgb: np.ndarray, normal: np.ndarray, distance_m: np.ndarray | float) -> np.ndarray:
    """Light flat faces.

    Args:
        rgb: Colors of the faces (..., 3).
        normal: Unit normals that point away from the object (..., 3).
        distance_m: From the camera, for headlights and haze (...).

    Returns:
        Colors to draw (..., 3), clipped to [0, 1].
    """
    distance_m = np.asarray(distance_m)[..., None]
    direct = np.maximum((normal * np.array(light.to_sun)).sum(-1, keepdims=True), 0)
    lit = np.multiply(light.sky, 0.72 + 0.28 * normal[..., 1:2]) + np.multiply(light.sun, direct)
    lit = lit + light.headlights * np.maximum(-normal[..., 2:3], 0) * np.exp(-distance_m / 26)
    haze = 1 - np.exp(-distance_m / light.haze_m)
    return np.clip(rgb * lit * light.exposure * (1 - haze) + np.multiply(light.horizon, light.exposure * haze), 0, 1)

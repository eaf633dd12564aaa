"""Photometric distortion on the device: brightness, contrast, saturation and hue of a batch, each sample its own.

Semantics of mmcv's ``PhotoMetricDistortion``: brightness, then contrast (or at the very end), then saturation and hue
in HSV, each applied with probability one half. Deviation: values stay float32 between the steps, so nothing is rounded
to whole numbers; each step still clips to [0, 255].

Shape letters: B batch, H W image, P parameters (:data:`PHOTOMETRIC_FIELDS`).
"""

import numpy as np
import torch
from torch import Tensor

__all__ = ['PHOTOMETRIC_FIELDS', 'draw_photometric', 'photometric_distortion']

PHOTOMETRIC_FIELDS = ('brightness', 'contrast_before', 'saturation', 'hue', 'contrast_after')
"""Layout of a parameter vector. Brightness is added (0-255); contrasts and saturation are factors; hue is added in
OpenCV's units of two degrees. The identity is ``(0, 1, 1, 0, 1)``."""

_IDENTITY = (0.0, 1.0, 1.0, 0.0, 1.0)
_HUE_UNIT_DEGREES = 2.0


def draw_photometric(
    rng: np.random.Generator,
    *,
    brightness_delta: float = 32.0,
    contrast_range: tuple[float, float] = (0.5, 1.5),
    saturation_range: tuple[float, float] = (0.5, 1.5),
    hue_delta: float = 18.0,
) -> np.ndarray:
    """Draw one sample's parameters; every call takes the same count of random numbers, whatever is applied.

    Args:
        rng: The sample's own generator.
        brightness_delta: Brightness is drawn from +- this.
        contrast_range: Range of the contrast factor.
        saturation_range: Range of the saturation factor.
        hue_delta: Hue is drawn from +- this, in units of two degrees.

    Returns:
        float32 vector laid out as :data:`PHOTOMETRIC_FIELDS`.
    """
    # Four coins, the order of the contrast, four values.
    coins = rng.random(5) < 0.5
    unit = rng.random(4)
    low, high = np.array(
        [[-brightness_delta, contrast_range[0], saturation_range[0], -hue_delta],
         [brightness_delta, contrast_range[1], saturation_range[1], hue_delta]]
    )  # fmt: skip
    brightness, contrast, saturation, hue = np.where(coins[:4], low + unit * (high - low), (0.0, 1.0, 1.0, 0.0))
    before, after = (contrast, 1.0) if coins[4] else (1.0, contrast)
    return np.array([brightness, before, saturation, hue, after], dtype=np.float32)


@torch.no_grad()
def photometric_distortion(image_B3HW: Tensor, params_BP: Tensor) -> Tensor:
    """Distort RGB images; a step runs on the samples whose parameter differs from the identity, and on no other.

    Args:
        image_B3HW: RGB values in [0, 255], any dtype.
        params_BP: One vector per sample. On a GPU, leave it on the CPU: which steps run is decided on the host.

    Returns:
        float32 images in [0, 255].
    """
    image = image_B3HW.float()
    if image is image_B3HW:
        image = image.clone()  # the caller's batch is never written to
    steps = zip((_brightness, _contrast, _saturation, _hue, _contrast), params_BP.unbind(1), _IDENTITY, strict=True)
    for step, values_B, identity in steps:
        chosen = [index for index, value in enumerate(values_B.tolist()) if value != identity]
        # Sample by sample: a temporary of one image stays in cache, and no sample depends on its neighbors.
        for index in chosen:
            image[index] = step(image[index], float(values_B[index])).clamp_(0.0, 255.0)
    return image


def _brightness(image_3HW: Tensor, delta: float) -> Tensor:
    return image_3HW + delta


def _contrast(image_3HW: Tensor, factor: float) -> Tensor:
    return image_3HW * factor


def _saturation(image_3HW: Tensor, factor: float) -> Tensor:
    """Scale the distance of every channel to the largest; HSV's S is capped at 1, where the smallest reaches 0."""
    smallest, largest = image_3HW.aminmax(dim=0)
    cap = largest / (largest - smallest).clamp_(min=1e-6)
    return largest - (largest - image_3HW) * cap.clamp_(max=factor)


def _hue(image_3HW: Tensor, delta: float) -> Tensor:
    """Turn the hue, with HSV's S and V kept."""
    red, green, blue = image_3HW
    smallest, largest = image_3HW.aminmax(dim=0)
    chroma = largest - smallest
    divisor = chroma.clamp(min=1e-6)
    # Hue in sextants, counted from red.
    sextant = torch.where(
        largest == red,
        (green - blue) / divisor,
        torch.where(largest == green, 2.0 + (blue - red) / divisor, 4.0 + (red - green) / divisor),
    )
    sextant = sextant + delta * _HUE_UNIT_DEGREES / 60.0
    # 5, 3, 1: a range, as the copy of a list would make a GPU wait.
    offset_311 = torch.arange(5.0, 0.0, -2.0, dtype=sextant.dtype, device=sextant.device).view(3, 1, 1)
    phase_3HW = (sextant + offset_311).remainder_(6.0)
    return largest - chroma * torch.minimum(phase_3HW, 4.0 - phase_3HW).clamp_(0.0, 1.0)

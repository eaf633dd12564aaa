"""The mask of point-wise spatial attention: attention given relative to each pixel, laid out for all pairs of pixels.

Paper: PSANet, https://hszhao.github.io/projects/psanet.

Shape letters: B pictures, H and W of the map, M = Mh * Mw places around a pixel.
"""

import torch
from torch import Tensor

__all__ = ['psa_mask', 'psa_mask_backward']


def psa_mask(relative_BMHW: Tensor, mask_size: tuple[int, int], distribute: bool) -> Tensor:
    """Lay out attention for all pairs of pixels; pairs that the mask does not reach have 0.

    Args:
        relative_BMHW: For each pixel, its attention to the places around it, row by row of the mask.
        mask_size: Mh and Mw. The pixel itself is at ((Mh - 1) // 2, (Mw - 1) // 2).
        distribute: False: [b, p, y, x] is what pixel (y, x) collects from pixel p. True: what pixel p gives to (y, x).

    Returns:
        (B, H * W, H, W).
    """
    batch, _, height, width = relative_BMHW.shape
    dy_HH, dx_WW = _shift(height, mask_size[0], relative_BMHW), _shift(width, mask_size[1], relative_BMHW)
    # [of y', of x', at y, at x]: where in the mask around (y, x) the pixel (y', x') is.
    place = (dy_HH * mask_size[1])[:, None, :, None] + dx_WW[None, :, None, :]
    reached = ((dy_HH >= 0) & (dy_HH < mask_size[0]))[:, None, :, None] & ((dx_WW >= 0) & (dx_WW < mask_size[1]))[
        None, :, None, :
    ]
    place = torch.where(reached, place, 0).view(1, -1, height, width).expand(batch, -1, -1, -1)
    collected = relative_BMHW.gather(1, place) * reached.view(-1, height, width)
    if not distribute:
        return collected
    return collected.flatten(2).transpose(1, 2).reshape(collected.shape)


def psa_mask_backward(grad_BPHW: Tensor, mask_size: tuple[int, int], distribute: bool) -> Tensor:
    """Return the gradient (B, M, H, W) of :func:`psa_mask` for its input."""
    batch, _, height, width = grad_BPHW.shape
    if distribute:
        grad_BPHW = grad_BPHW.flatten(2).transpose(1, 2).reshape(grad_BPHW.shape)
    y, x = _target(height, mask_size[0], grad_BPHW), _target(width, mask_size[1], grad_BPHW)
    exists = ((y >= 0) & (y < height))[:, None, :, None] & ((x >= 0) & (x < width))[None, :, None, :]
    pixel = torch.where(exists, y[:, None, :, None] * width + x[None, :, None, :], 0)
    pixel = pixel.view(1, -1, height, width).expand(batch, -1, -1, -1)
    return grad_BPHW.gather(1, pixel) * exists.view(-1, height, width)


def _shift(length: int, mask_length: int, like: Tensor) -> Tensor:
    """Return the place in the mask around the second pixel (along one axis) at which the first is."""
    pixel = torch.arange(length, device=like.device)
    return pixel[:, None] - pixel + (mask_length - 1) // 2


def _target(length: int, mask_length: int, like: Tensor) -> Tensor:
    """Return the pixel (along one axis) at a place of the mask (first) around a pixel (second)."""
    place, pixel = torch.arange(mask_length, device=like.device), torch.arange(length, device=like.device)
    return place[:, None] - (mask_length - 1) // 2 + pixel

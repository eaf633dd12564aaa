"""CARAFE: upsampling by weighted sums of a neighborhood, with weights for each place of the output.

Paper: https://arxiv.org/abs/1905.02188.

Shape letters: B pictures, C channels, H and W of the input, Ho and Wo of the output, G groups of channels with weights
of their own, K pixels of the neighborhood.
"""

import torch
from torch import Tensor

from mmopt.ops.mmcv.weighted_rows import weighted_rows

__all__ = ['carafe']

# Weights of one call's output that are treated at once.
_MAX_WEIGHTS = 1 << 22


def carafe(features_BCHW: Tensor, masks: Tensor, kernel_size: int, groups: int, scale: int) -> Tensor:
    """Reassemble features. Differentiable for features and weights.

    Args:
        features_BCHW: The input.
        masks: (B, G * K, H * scale, W * scale): weights of the pixels around each place, group by group, row by row.
        kernel_size: Odd: side of the neighborhood.
        groups: G.
        scale: Pixels of the output per pixel of the input, along each axis.

    Returns:
        (B, C, H * scale, W * scale), in at least float32. Pixels outside the map count as 0.
    """
    batch, channels, height, width = features_BCHW.shape
    wide = torch.promote_types(features_BCHW.dtype, torch.float32)
    # A picture's pixels, each with its groups as rows of their own.
    tables_BTC = features_BCHW.to(wide).permute(0, 2, 3, 1).reshape(batch, -1, channels // groups)
    rows_HoWoGK, exists_HoWo1K = _neighbors(height, width, kernel_size, groups, scale, masks.device)
    step = max(1, _MAX_WEIGHTS // max(masks[0].numel(), 1))
    pictures = []
    for table, weights in zip(tables_BTC.split(step), masks.split(step), strict=True):
        weights_BHoWoGK = weights.to(wide).unflatten(1, (groups, -1)).permute(0, 3, 4, 1, 2) * exists_HoWo1K
        first_B = torch.arange(len(table), device=masks.device, dtype=torch.int32) * table.shape[1]
        rows_BHoWoGK = first_B[:, None, None, None, None] + rows_HoWoGK
        num_weights = kernel_size * kernel_size
        sums = weighted_rows(
            table.flatten(0, 1), rows_BHoWoGK.view(-1, num_weights), weights_BHoWoGK.reshape(-1, num_weights)
        )
        pictures.append(sums.view(len(table), height * scale, width * scale, channels).permute(0, 3, 1, 2))
    return torch.cat(pictures)


def _neighbors(
    height: int, width: int, kernel_size: int, groups: int, scale: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return each place's rows of a picture's table (Ho, Wo, G, K), and which of them exist (Ho, Wo, 1, K)."""
    shift_K = torch.arange(kernel_size, device=device) - kernel_size // 2
    y = torch.arange(height * scale, device=device)[:, None] // scale + shift_K.repeat_interleave(kernel_size)
    x = torch.arange(width * scale, device=device)[:, None] // scale + shift_K.repeat(kernel_size)
    y, x = y[:, None], x[None]
    exists = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    pixels = torch.where(exists, y * width + x, 0)[:, :, None]
    rows = pixels * groups + torch.arange(groups, device=device)[:, None]
    return rows.int(), exists[:, :, None]

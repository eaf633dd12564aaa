"""The 3D stem of the token models, and where its tokens are.

Shape letters: B clips, C channels, T H W frames and pixels or tokens.
"""

from collections.abc import Sequence

import torch
from mmcv.cnn import build_activation_layer
from torch import Tensor, nn

from mmopt.models.common import build_norm

__all__ = ['Stem3D', 'sincos_positions']


class Stem3D(nn.Sequential):
    """Two 3D convolutions from pixels to tokens.

    Args:
        in_channels: Channels of the frames.
        out_channels: Channels of a token.
        strides: Step of either convolution in space; a token covers their product in pixels.
        time_stride: Frames that a token covers, by the second convolution's step.
        norm_cfg: Normalisation between the two; its groups must divide a quarter of ``out_channels``.
        act_cfg: Activation after it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        strides: Sequence[int],
        time_stride: int,
        norm_cfg: dict,
        act_cfg: dict,
    ) -> None:
        first, second = strides
        hidden = out_channels // 4
        super().__init__(
            # Windows overlap in the first step: edges between patches would alias.
            nn.Conv3d(
                in_channels,
                hidden,
                (3, 2 * first - 1, 2 * first - 1),
                (1, first, first),
                (1, first - 1, first - 1),
                bias=False,  # the norm takes it away or has its own
            ),
            build_norm(norm_cfg, hidden),
            build_activation_layer(act_cfg),
            nn.Conv3d(hidden, out_channels, (3, second, second), (time_stride, second, second), (1, 0, 0)),
        )


def sincos_positions(size: Sequence[int], channels: int, device: torch.device | None = None) -> Tensor:
    """Return sine and cosine of every token's time, row and column, each in a third of the channels.

    Args:
        size: Tokens (T, H, W).
        channels: Channels C, even; what three equal even parts leave goes to the time.
        device: Of the result.

    Returns:
        float32 (T, H, W, C).

    Raises:
        ValueError: If ``channels`` is odd or below 6.
    """
    if channels % 2 or channels < 6:
        raise ValueError(f'sincos_positions: channels must be even and at least 6, got {channels}.')
    space = channels // 6 * 2
    parts = []
    for axis, (length, width) in enumerate(zip(size, (channels - 2 * space, space, space), strict=True)):
        # In float64 the angles of long clips stay exact to float32.
        rate = 10000.0 ** -(torch.arange(width // 2, dtype=torch.float64) / (width // 2))
        angle = torch.arange(length, dtype=torch.float64)[:, None] * rate
        line = torch.cat((angle.sin(), angle.cos()), dim=1).float().to(device)
        shape = [1, 1, 1, width]
        shape[axis] = length
        parts.append(line.view(shape).expand(*size, width))
    return torch.cat(parts, dim=-1)

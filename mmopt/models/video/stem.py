"""The 3D stem of the token models, and where its tokens are.

Shape letters: B clips, C channels, T H W frames and pixels or tokens.
"""

from collections.abc import Sequence

import torch
from mmcv.cnn import build_activation_layer
from torch import Tensor, nn

from mmopt.models.common import build_norm
from mmopt.utils.transfer import send

__all__ = ['Stem3D', 'sincos_positions']


class Stem3D(nn.Sequential):
    """3D convolutions from pixels to tokens, a norm and an activation between them.

    The last one's windows touch; those of the others overlap, because edges between patches would alias.

    Args:
        in_channels: Channels of the frames.
        out_channels: Channels of a token.
        strides: Step of every convolution in space, two or more; a token covers their product in pixels. More and
            smaller steps learn faster from little (Xiao et al., https://arxiv.org/abs/2106.14881).
        time_stride: Frames that a token covers, by the last convolution's step.
        norm_cfg: Normalization between; its groups must divide a quarter of ``out_channels``.
        act_cfg: Activation after it.

    Raises:
        ValueError: If there are fewer than two steps.
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
        if len(strides) < 2:
            raise ValueError(f'Stem3D: strides must be two steps or more, got {tuple(strides)}.')
        *firsts, last = strides
        layers: list[nn.Module] = []
        width = in_channels
        for place, step in enumerate(firsts):
            # A quarter of the channels at first, half from then on.
            hidden = out_channels // (4 if place == 0 else 2)
            time = 3 if place == 0 else 1
            layers += [
                nn.Conv3d(
                    width,
                    hidden,
                    (time, 2 * step - 1, 2 * step - 1),
                    (1, step, step),
                    (time // 2, step - 1, step - 1),
                    bias=False,  # the norm takes it away or has its own
                ),
                build_norm(norm_cfg, hidden),
                build_activation_layer(act_cfg),
            ]
            width = hidden
        layers.append(nn.Conv3d(width, out_channels, (3, last, last), (time_stride, last, last), (1, 0, 0)))
        super().__init__(*layers)


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
    widths = (channels - 2 * space, space, space)
    lines = []
    for length, width in zip(size, widths, strict=True):
        # In float64 the angles of long clips stay exact to float32.
        rate = 10000.0 ** -(torch.arange(width // 2, dtype=torch.float64) / (width // 2))
        angle = torch.arange(length, dtype=torch.float64)[:, None] * rate
        lines.append(torch.cat((angle.sin(), angle.cos()), dim=1).float())
    if device is not None:
        lines = send(lines, device)
    parts = []
    for axis, (line, width) in enumerate(zip(lines, widths, strict=True)):
        shape = [1, 1, 1, width]
        shape[axis] = len(line)
        parts.append(line.view(shape).expand(*size, width))
    return torch.cat(parts, dim=-1)

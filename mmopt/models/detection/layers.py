"""Blocks of YOLOv5, which has no paper: a convolution with norm and activation, cross-stage blocks, pyramid pooling.

Cross-stage partial networks: https://arxiv.org/abs/1911.11929; pyramid pooling: https://arxiv.org/abs/1406.4729.

Shape letters: B batch, C channels, H W map.
"""

import torch
from mmcv.cnn import build_activation_layer
from torch import Tensor, nn

from mmopt.models.common.norm import build_norm

__all__ = ['ACT_CFG', 'NORM_CFG', 'ConvBlock', 'CrossStage', 'PyramidPool', 'scale_depth', 'scale_width']

NORM_CFG = dict(type='BN', eps=1e-3, momentum=0.03)
ACT_CFG = dict(type='SiLU')


def scale_width(channels: int, width: float) -> int:
    """Return the channels at a width factor: rounded up to a multiple of 8."""
    return -int(-channels * width // 8) * 8


def scale_depth(num_blocks: int, depth: float) -> int:
    """Return the number of blocks at a depth factor, at least 1."""
    return max(round(num_blocks * depth), 1)


class ConvBlock(nn.Module):
    """Convolution without bias, norm, activation.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the kernel.
        padding: Pixels of zeros around; None keeps the size at stride 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        padding: int | None = None,
        *,
        norm_cfg: dict,
        act_cfg: dict,
    ) -> None:
        super().__init__()
        padding = kernel_size // 2 if padding is None else padding
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        self.norm = build_norm(norm_cfg, out_channels)
        self.act = build_activation_layer(act_cfg)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x_BCHW)))


class _Bottleneck(nn.Module):
    """1x1, then 3x3, with or without a residual."""

    def __init__(self, channels: int, *, residual: bool, **cfgs) -> None:
        super().__init__()
        self.reduce = ConvBlock(channels, channels, 1, **cfgs)
        self.conv = ConvBlock(channels, channels, 3, **cfgs)
        self.residual = residual

    def forward(self, x_BCHW: Tensor) -> Tensor:
        out = self.conv(self.reduce(x_BCHW))
        return x_BCHW + out if self.residual else out


class CrossStage(nn.Module):
    """Two 1x1 branches of half the width, bottlenecks on one of them, concatenation, 1x1: YOLOv5's C3.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        num_blocks: Bottlenecks.
        residual: Whether they add their input.
        **cfgs: ``norm_cfg`` and ``act_cfg``.
    """

    def __init__(self, in_channels: int, out_channels: int, num_blocks: int, *, residual: bool = True, **cfgs) -> None:
        super().__init__()
        half = out_channels // 2
        self.main = ConvBlock(in_channels, half, 1, **cfgs)
        self.short = ConvBlock(in_channels, half, 1, **cfgs)
        self.blocks = nn.Sequential(*(_Bottleneck(half, residual=residual, **cfgs) for _ in range(num_blocks)))
        self.join = ConvBlock(2 * half, out_channels, 1, **cfgs)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.join(torch.cat((self.blocks(self.main(x_BCHW)), self.short(x_BCHW)), dim=1))


class PyramidPool(nn.Module):
    """Three max pools of 5x5 in a row, all four maps joined: windows of 5, 9 and 13. YOLOv5's SPPF.

    Args:
        channels: Channels of input and output.
        **cfgs: ``norm_cfg`` and ``act_cfg``.
    """

    def __init__(self, channels: int, **cfgs) -> None:
        super().__init__()
        self.reduce = ConvBlock(channels, channels // 2, 1, **cfgs)
        self.join = ConvBlock(channels // 2 * 4, channels, 1, **cfgs)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        maps = [self.reduce(x_BCHW)]
        for _ in range(3):
            maps.append(nn.functional.max_pool2d(maps[-1], 5, stride=1, padding=2))
        return self.join(torch.cat(maps, dim=1))

"""YOLOv5's neck: coarse maps go up to the fine ones, then fine ones back down.

Path aggregation: https://arxiv.org/abs/1803.01534.

Shape letters: B batch, C channels, H W map.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmopt.models.detection.layers import ACT_CFG, NORM_CFG, ConvBlock, CrossStage, scale_depth
from mmopt.registry import MODELS

__all__ = ['PathAggregation']


@MODELS.register_module()
class PathAggregation(BaseModule):
    """Join maps of neighboring strides, upwards and then downwards; channels stay what they are.

    Args:
        in_channels: Channels of the maps, finest first.
        depth: Factor on the three bottlenecks of each block.
        norm_cfg: Every norm; YOLOv5's BatchNorm by default.
        act_cfg: Every activation; SiLU by default.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        depth: float = 1.0,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        cfgs: dict[str, Any] = dict(norm_cfg=norm_cfg or NORM_CFG, act_cfg=act_cfg or ACT_CFG)
        num_blocks = scale_depth(3, depth)
        self.out_channels = tuple(in_channels)
        pairs = list(zip(in_channels, in_channels[1:], strict=False))
        self.reduce = nn.ModuleList(ConvBlock(coarse, fine, 1, **cfgs) for fine, coarse in pairs)
        self.up = nn.ModuleList(CrossStage(2 * fine, fine, num_blocks, residual=False, **cfgs) for fine, _ in pairs)
        self.shrink = nn.ModuleList(ConvBlock(fine, fine, 3, stride=2, **cfgs) for fine, _ in pairs)
        self.down = nn.ModuleList(
            CrossStage(2 * fine, coarse, num_blocks, residual=False, **cfgs) for fine, coarse in pairs
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return maps of the same shapes as ``maps``, finest first."""
        x_BCHW, reduced = maps[-1], []
        for level in reversed(range(len(self.up))):
            reduced.append(self.reduce[level](x_BCHW))
            upsampled = nn.functional.interpolate(reduced[-1], size=maps[level].shape[-2:], mode='nearest')
            x_BCHW = torch.cat((upsampled, maps[level]), dim=1)
            x_BCHW = self.up[level](x_BCHW)
        outputs = [x_BCHW]
        for shrink, down in zip(self.shrink, self.down, strict=True):
            outputs.append(down(torch.cat((shrink(outputs[-1]), reduced.pop()), dim=1)))
        return tuple(outputs)

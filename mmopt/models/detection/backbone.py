"""YOLOv5's backbone, and two of them for an image and an event frame of the same moment.

Shape letters: B batch, C channels, H W map.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmopt.models.detection.layers import (
    ACT_CFG,
    NORM_CFG,
    ConvBlock,
    CrossStage,
    PyramidPool,
    scale_depth,
    scale_width,
)
from mmopt.registry import MODELS

__all__ = ['CSPDarknet', 'FusionBackbone']

_STAGES = ((128, 3), (256, 6), (512, 9), (1024, 3))
"""Channels and bottlenecks of each stage at width 1 and depth 1."""


@MODELS.register_module()
class CSPDarknet(BaseModule):
    """Maps of stride 8, 16 and 32.

    Sizes s, m, l, x: depth 0.33, 0.67, 1, 1.33 and width 0.5, 0.75, 1, 1.25.

    Args:
        depth: Factor on the bottlenecks of each stage.
        width: Factor on the channels.
        in_channels: Channels of the image.
        norm_cfg: Every norm; YOLOv5's BatchNorm by default.
        act_cfg: Every activation; SiLU by default.
    """

    def __init__(
        self,
        depth: float = 1.0,
        width: float = 1.0,
        in_channels: int = 3,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        cfgs: dict[str, Any] = dict(norm_cfg=norm_cfg or NORM_CFG, act_cfg=act_cfg or ACT_CFG)
        channels = scale_width(64, width)
        self.stem = ConvBlock(in_channels, channels, 6, stride=2, padding=2, **cfgs)
        stages: list[nn.Sequential] = []
        for wide, num_blocks in _STAGES:
            out_channels = scale_width(wide, width)
            stages.append(
                nn.Sequential(
                    ConvBlock(channels, out_channels, 3, stride=2, **cfgs),
                    CrossStage(out_channels, out_channels, scale_depth(num_blocks, depth), **cfgs),
                )
            )
            channels = out_channels
        stages[-1].append(PyramidPool(channels, **cfgs))
        self.stages = nn.ModuleList(stages)
        self.out_channels = tuple(scale_width(wide, width) for wide, _ in _STAGES[1:])
        self.strides = (8, 16, 32)

    def forward(self, image_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of stride 8, 16 and 32."""
        x_BCHW = self.stem(image_BCHW)
        maps = []
        for stage in self.stages:
            x_BCHW = stage(x_BCHW)
            maps.append(x_BCHW)
        return tuple(maps[1:])


@MODELS.register_module()
class FusionBackbone(BaseModule):
    """One backbone per modality; their maps are joined level by level by a 1x1 convolution.

    Args:
        backbones: Configs, in the order of the input's channels; all give maps of the same strides.
        in_channels: Channels of each modality in the input.
        norm_cfg: Norm of the joints; YOLOv5's by default.
        act_cfg: Their activation; SiLU by default.

    Raises:
        ValueError: If there are not as many backbones as ``in_channels``, or their strides differ.
    """

    def __init__(
        self,
        backbones: Sequence[dict],
        in_channels: Sequence[int] = (3, 3),
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(backbones) != len(in_channels):
            raise ValueError(f'FusionBackbone: {len(backbones)} backbones for in_channels={tuple(in_channels)}.')
        self.in_channels = tuple(in_channels)
        built = [MODELS.build(cfg) for cfg in backbones]
        self.backbones = nn.ModuleList(built)
        first = built[0]
        if any(backbone.strides != first.strides for backbone in built):
            raise ValueError(f'FusionBackbone: strides differ: {[backbone.strides for backbone in built]}.')
        self.strides, self.out_channels = first.strides, first.out_channels
        cfgs: dict[str, Any] = dict(norm_cfg=norm_cfg or NORM_CFG, act_cfg=act_cfg or ACT_CFG)
        self.joints = nn.ModuleList(
            ConvBlock(sum(channels), out_channels, 1, **cfgs)
            for *channels, out_channels in zip(
                *(backbone.out_channels for backbone in built), first.out_channels, strict=True
            )
        )

    def forward(self, image_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Return the joined maps.

        Args:
            image_BCHW: The modalities, one after the other along the channels.

        Returns:
            One map per level.

        Raises:
            ValueError: If the channels are not those of the modalities.
        """
        if image_BCHW.shape[1] != sum(self.in_channels):
            raise ValueError(
                f'FusionBackbone: the input has {image_BCHW.shape[1]} channels, in_channels={self.in_channels} needs '
                f'{sum(self.in_channels)}: load both modalities (LoadImagePair).'
            )
        parts = image_BCHW.split(self.in_channels, dim=1)
        levels = zip(*(backbone(part) for backbone, part in zip(self.backbones, parts, strict=True)), strict=True)
        return tuple(joint(torch.cat(maps, dim=1)) for joint, maps in zip(self.joints, levels, strict=True))

"""BiSeNetV2: a shallow branch for detail, a narrow one for meaning, and an aggregation in which each weighs the other.

Yu et al., "BiSeNet V2: Bilateral Network with Guided Aggregation for Real-time Semantic Segmentation", IJCV 2021,
https://arxiv.org/abs/2004.02147 (table 1 and figures 4-6). Where the figures leave an activation open, there is one, as
in the public reproductions: after the depth-wise expansion of a stride-1 gather-and-expansion layer, after the last
convolution of context embedding and of the aggregation.

Shape letters: B batch, C channels, H W image or feature map (ceil(image / stride)).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from mmopt.models.common.norm import build_norm
from mmopt.registry import MODELS

__all__ = ['BiSeNetV2', 'BilateralFeatures']


class BilateralFeatures(NamedTuple):
    """What the backbone gives.

    Attributes:
        fused_BCHW: The aggregated features, stride 8.
        stages: The semantic branch before context embedding: stem, S3, S4, S5 at strides 4, 8, 16, 32.
        fine_BCHW: First stage of the detail branch, stride 2: what a point head reads.
    """

    fused_BCHW: Tensor
    stages: tuple[Tensor, Tensor, Tensor, Tensor]
    fine_BCHW: Tensor


class _Layers:
    """Make convolutions with one norm and one activation for a whole network."""

    def __init__(self, norm_cfg: dict, act_cfg: dict) -> None:
        self.norm_cfg = norm_cfg
        self.act_cfg = act_cfg

    def conv(
        self, in_channels: int, channels: int, kernel: int = 3, stride: int = 1, *, groups: int = 1, act: bool = True
    ) -> nn.Sequential:
        block = nn.Sequential()
        block.conv = nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        block.norm = build_norm(self.norm_cfg, channels)
        if act:
            block.act = self.act()
        return block

    def act(self) -> nn.Module:
        return build_activation_layer(self.act_cfg)


class _Stem(nn.Module):
    """Quarter the size twice over: by a strided convolution and by pooling, concatenated."""

    def __init__(self, channels: int, layers: _Layers) -> None:
        super().__init__()
        self.first = layers.conv(3, channels, stride=2)
        self.convs = nn.Sequential(layers.conv(channels, channels // 2, 1), layers.conv(channels // 2, channels, 3, 2))
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.fuse = layers.conv(2 * channels, channels)

    def forward(self, image_B3HW: Tensor) -> Tensor:
        feat = self.first(image_B3HW)
        return self.fuse(torch.cat((self.convs(feat), self.pool(feat)), dim=1))


class _GatherExpand(nn.Module):
    """Gather 3x3, expand depth-wise, project 1x1; with stride 2 a second depth-wise convolution and a shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int, expansion: int, layers: _Layers) -> None:
        super().__init__()
        middle = in_channels * expansion
        self.gather = layers.conv(in_channels, in_channels)
        if stride == 1:
            self.expand = layers.conv(in_channels, middle, groups=in_channels)
            self.shortcut: nn.Module = nn.Identity()
        else:
            self.expand = nn.Sequential(
                layers.conv(in_channels, middle, stride=stride, groups=in_channels, act=False),
                layers.conv(middle, middle, groups=middle),
            )
            self.shortcut = nn.Sequential(
                layers.conv(in_channels, in_channels, stride=stride, groups=in_channels, act=False),
                layers.conv(in_channels, channels, 1, act=False),
            )
        self.project = layers.conv(middle, channels, 1, act=False)
        self.act = layers.act()

    def forward(self, feat_BCHW: Tensor) -> Tensor:
        return self.act(self.project(self.expand(self.gather(feat_BCHW))) + self.shortcut(feat_BCHW))


class _ContextEmbedding(nn.Module):
    """Add the image's mean to every place.

    A single image has one mean per channel and no statistics of it: BatchNorm then takes its running ones, as at test
    time, where torch would stop.
    """

    def __init__(self, channels: int, layers: _Layers) -> None:
        super().__init__()
        self.norm = build_norm(layers.norm_cfg, channels)
        self.embed = layers.conv(channels, channels, 1)
        self.fuse = layers.conv(channels, channels)

    def forward(self, feat_BCHW: Tensor) -> Tensor:
        mean_BC11 = feat_BCHW.mean((2, 3), keepdim=True)
        if self.training and len(feat_BCHW) == 1 and isinstance(self.norm, _BatchNorm):
            return self.fuse(feat_BCHW + self._embed_one(mean_BC11))
        return self.fuse(feat_BCHW + self.embed(self.norm(mean_BC11)))

    def _embed_one(self, mean_BC11: Tensor) -> Tensor:
        norms: tuple[Any, ...] = (self.norm, self.embed.norm)
        was_training = [norm.training for norm in norms]
        for norm in norms:
            norm.eval()
        try:
            return self.embed(self.norm(mean_BC11))
        finally:
            for norm, mode in zip(norms, was_training, strict=True):
                norm.train(mode)


class _GuidedAggregation(nn.Module):
    """Each branch weighs the other, once at the size of either."""

    def __init__(self, channels: int, layers: _Layers) -> None:
        super().__init__()

        def separable() -> nn.Sequential:
            return nn.Sequential(
                layers.conv(channels, channels, groups=channels, act=False),
                nn.Conv2d(channels, channels, 1, bias=False),
            )

        self.detail_keep = separable()
        self.detail_down = nn.Sequential(
            layers.conv(channels, channels, stride=2, act=False), nn.AvgPool2d(3, 2, padding=1, ceil_mode=False)
        )
        self.semantic_up = layers.conv(channels, channels, act=False)
        self.semantic_keep = separable()
        self.fuse = layers.conv(channels, channels)

    def forward(self, detail_BCHW: Tensor, semantic_BCHW: Tensor) -> Tensor:
        size = detail_BCHW.shape[-2:]
        guide = F.interpolate(self.semantic_up(semantic_BCHW), size, mode='bilinear', align_corners=False)
        fine = self.detail_keep(detail_BCHW) * guide.sigmoid()
        coarse = self.detail_down(detail_BCHW) * self.semantic_keep(semantic_BCHW).sigmoid()
        return self.fuse(fine + F.interpolate(coarse, size, mode='bilinear', align_corners=False))


@MODELS.register_module()
class BiSeNetV2(BaseModule):
    """Both branches and their aggregation, for images of any size.

    Args:
        detail_channels: Channels of the detail branch's stages at strides 2, 4, 8; the last is also the width of
            context embedding and aggregation.
        semantic_channels: Channels of the stem and of S3, S4, S5.
        expansion: Factor of the gather-and-expansion layers.
        norm_cfg: Every normalization layer; its default is BatchNorm, as published.
        act_cfg: Every activation.

    Raises:
        ValueError: If the last channels of the two branches differ: they are multiplied with each other.
    """

    def __init__(
        self,
        detail_channels: Sequence[int] = (64, 64, 128),
        semantic_channels: Sequence[int] = (16, 32, 64, 128),
        expansion: int = 6,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if len(detail_channels) != 3 or len(semantic_channels) != 4 or detail_channels[-1] != semantic_channels[-1]:
            raise ValueError(
                f'BiSeNetV2: needs 3 detail_channels and 4 semantic_channels that end alike (the branches are '
                f'multiplied), got {tuple(detail_channels)} and {tuple(semantic_channels)}.'
            )
        layers = _Layers(norm_cfg or dict(type='BN'), act_cfg or dict(type='ReLU', inplace=True))
        self.detail_channels = tuple(detail_channels)
        self.semantic_channels = tuple(semantic_channels)
        first, second, third = detail_channels
        self.detail = nn.ModuleList(
            [
                nn.Sequential(layers.conv(3, first, stride=2), layers.conv(first, first)),
                nn.Sequential(
                    layers.conv(first, second, stride=2), layers.conv(second, second), layers.conv(second, second)
                ),
                nn.Sequential(
                    layers.conv(second, third, stride=2), layers.conv(third, third), layers.conv(third, third)
                ),
            ]
        )
        stem, s3, s4, s5 = semantic_channels
        self.semantic = nn.ModuleList([_Stem(stem, layers)])
        for stage_in, stage_out, depth in ((stem, s3, 2), (s3, s4, 2), (s4, s5, 4)):
            blocks = [_GatherExpand(stage_in, stage_out, 2, expansion, layers)]
            blocks += [_GatherExpand(stage_out, stage_out, 1, expansion, layers) for _ in range(depth - 1)]
            self.semantic.append(nn.Sequential(*blocks))
        self.context = _ContextEmbedding(s5, layers)
        self.aggregate = _GuidedAggregation(s5, layers)
        self._init_convolutions()

    def _init_convolutions(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')

    def forward(self, image_B3HW: Tensor) -> BilateralFeatures:
        """Return the fused features and what heads beside the main one read."""
        detail = image_B3HW
        details = [detail := stage(detail) for stage in self.detail]
        semantic = image_B3HW
        stages = [semantic := stage(semantic) for stage in self.semantic]
        return BilateralFeatures(self.aggregate(detail, self.context(semantic)), tuple(stages), details[0])

"""Pyramid head: two stages of bottlenecks on the bird's-eye-view grid, the second at twice the size.

After Roddick and Cipolla, "Predicting Semantic Map Representations from Images using Pyramid Occupancy Networks",
CVPR 2020, https://arxiv.org/abs/2003.13402 (the top-down network), as DiffBEV configures it.

Shape letters: B batch, C channels, P classes, Z X grid cells.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmopt.models.common.norm import build_norm
from mmopt.models.common.patch_transpose import PatchTranspose2d
from mmopt.registry import MODELS

__all__ = ['NUSCENES_PRIORS', 'PyramidHead']

NUSCENES_PRIORS = (
    0.44679, 0.02407, 0.14491, 0.02994, 0.02086, 0.00477, 0.00156, 0.00189, 0.00084, 0.00119, 0.00019, 0.00012, 0.00031,
    0.00176,
)  # fmt: skip
"""Share of the cells that each of the 14 nuScenes classes covers in the training split."""


class _Bottleneck(nn.Module):
    """1x1 to p, 3x3 (or a transposed 4x4 that doubles the size), 1x1 to 4p, each with a norm; and a shortcut."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, *, upsample: bool, norm_cfg: dict, act_cfg: dict) -> None:
        super().__init__()
        out_channels = self.expansion * channels

        def norm(width: int) -> nn.Module:
            return build_norm(norm_cfg, width)

        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.norm1 = norm(channels)
        self.conv2: nn.Module
        if upsample:
            self.conv2 = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1, bias=False)
        else:
            self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = norm(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.norm3 = norm(out_channels)
        self.act = build_activation_layer(act_cfg)
        self.shortcut: nn.Module = nn.Identity()
        if upsample:
            self.shortcut = nn.Sequential()
            self.shortcut.conv = PatchTranspose2d(in_channels, out_channels, 2, bias=False)
            self.shortcut.norm = norm(out_channels)
        elif in_channels != out_channels:
            self.shortcut = nn.Sequential()
            self.shortcut.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
            # Named, and not number 1 of a sequence, so that the no-decay key 'norm' finds it.
            self.shortcut.norm = norm(out_channels)

    def forward(self, grid_BCZX: Tensor) -> Tensor:
        branch = self.act(self.norm1(self.conv1(grid_BCZX)))
        branch = self.act(self.norm2(self.conv2(branch)))
        return self.act(self.norm3(self.conv3(branch)) + self.shortcut(grid_BCZX))


@MODELS.register_module()
class PyramidHead(BaseModule):
    """Turn the grid into one logit per class and cell.

    The classifier begins with weight zero and the bias ``log(p / (1 - p))`` of the priors, so the first step gives a
    gradient to the classifier alone, and no class drowns in the background.

    Args:
        in_channels: Channels of the grid.
        channels: Inner channels p of every stage; a stage gives 4 p.
        num_blocks: Bottlenecks of every stage.
        upsample: Whether a stage's first block doubles the size of the grid.
        priors: Share of the cells that each class covers, between 0 and 1; their number is the number of classes.
        norm_cfg: Every normalization layer.
        act_cfg: Every activation.

    Raises:
        ValueError: If the stages disagree in length or a prior is not between 0 and 1.
    """

    def __init__(
        self,
        in_channels: int = 64,
        channels: Sequence[int] = (128, 64),
        num_blocks: Sequence[int] = (4, 4),
        upsample: Sequence[bool] = (False, True),
        *,
        priors: Sequence[float] = NUSCENES_PRIORS,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if not len(channels) == len(num_blocks) == len(upsample):
            raise ValueError(
                f'PyramidHead: channels {tuple(channels)}, num_blocks {tuple(num_blocks)} and '
                f'upsample {tuple(upsample)} must have one entry per stage.'
            )
        wrong = [prior for prior in priors if not 0.0 < prior < 1.0]
        if wrong or not priors:
            raise ValueError(f'PyramidHead: every prior must lie between 0 and 1 both excluded; got {wrong or priors}.')
        norm_cfg = norm_cfg or dict(type='GN', num_groups=16)
        act_cfg = act_cfg or dict(type='ReLU', inplace=True)
        widths = [in_channels, *(_Bottleneck.expansion * width for width in channels)]
        self.stages = nn.ModuleList()
        for (stage_in, stage_out), inner, count, doubles in zip(
            pairwise(widths), channels, num_blocks, upsample, strict=True
        ):
            blocks = [
                _Bottleneck(
                    stage_out if index else stage_in,
                    inner,
                    upsample=doubles and index == 0,
                    norm_cfg=norm_cfg,
                    act_cfg=act_cfg,
                )
                for index in range(count)
            ]
            self.stages.append(nn.Sequential(*blocks))
        self.classifier = nn.Conv2d(widths[-1], len(priors), 1)
        # Not persistent: a checkpoint must not overrule the config.
        self.register_buffer('priors_P', torch.tensor(priors, dtype=torch.float32), persistent=False)
        self._init_classifier()

    def _init_classifier(self) -> None:
        nn.init.zeros_(self.classifier.weight)
        assert self.classifier.bias is not None
        with torch.no_grad():
            self.classifier.bias.copy_(self.priors_P.logit())

    def forward(self, grid_BCZX: Tensor) -> Tensor:
        """Return logits ``(B, P, 2 Z, 2 X)`` (with the default stages)."""
        for stage in self.stages:
            grid_BCZX = stage(grid_BCZX)
        return self.classifier(grid_BCZX)

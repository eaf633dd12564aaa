"""PointRend: classify single points where the coarse prediction is uncertain.

Kirillov et al., "PointRend: Image Segmentation as Rendering", CVPR 2020, https://arxiv.org/abs/1912.08193. Points are
(x, y) in [0, 1] of the image, pixel centers at (i + 0.5) / size.

Shape letters: B batch, C channels, K classes, N points, H W image, h w feature map.
"""

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from mmopt.registry import MODELS

__all__ = ['PointHead', 'labels_at', 'sample_at', 'uncertainty']


def sample_at(feat_BChw: Tensor, points_BN2: Tensor) -> Tensor:
    """Read features at points, bilinearly; returns (B, C, N)."""
    grid = 2.0 * points_BN2[:, :, None] - 1.0
    return F.grid_sample(feat_BChw, grid.to(feat_BChw.dtype), align_corners=False)[..., 0]


def labels_at(label_BHW: Tensor, points_BN2: Tensor) -> Tensor:
    """Read the label of the pixel that holds each point; returns (B, N)."""
    height, width = label_BHW.shape[-2:]
    column_BN = (points_BN2[..., 0] * width).long().clamp_(0, width - 1)
    row_BN = (points_BN2[..., 1] * height).long().clamp_(0, height - 1)
    return label_BHW.flatten(1).gather(1, row_BN * width + column_BN)


def uncertainty(logits_BKN: Tensor) -> Tensor:
    """Return how close the two best classes are, (B, N); larger is less certain, 0 at most."""
    best = logits_BKN.topk(2, dim=1).values
    return best[:, 1] - best[:, 0]


@MODELS.register_module()
class PointHead(BaseModule):
    """A multi-layer perceptron on fine features and coarse logits of single points.

    Args:
        in_channels: Channels of the fine features.
        num_classes: Classes K, at least 2.
        channels: Hidden channels.
        num_layers: Hidden layers; each sees the coarse logits again.
        num_points: Points per image in training.
        oversample: So many times as many are drawn, the uncertain ones chosen among them.
        importance: Share of uncertain points; the others are uniform.
        subdivision_points: Points that each doubling of the size replaces at test time.

    Raises:
        ValueError: If there is only one class: no second one to be uncertain about.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        channels: int = 256,
        num_layers: int = 3,
        num_points: int = 2048,
        oversample: int = 3,
        importance: float = 0.75,
        subdivision_points: int = 8192,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if num_classes < 2:
            raise ValueError(f'PointHead: needs at least 2 classes to compare, got num_classes={num_classes}.')
        self.num_classes = num_classes
        widths = [in_channels] + [channels] * num_layers
        self.layers = nn.ModuleList([nn.Conv1d(width + num_classes, channels, 1) for width in widths[:-1]])
        self.classifier = nn.Conv1d(channels + num_classes, num_classes, 1)
        nn.init.normal_(self.classifier.weight, std=1e-3)
        assert self.classifier.bias is not None
        nn.init.zeros_(self.classifier.bias)
        self.num_points = num_points
        self.oversample = oversample
        self.num_uncertain = int(importance * num_points)
        self.subdivision_points = subdivision_points

    def forward(self, fine_BCN: Tensor, coarse_BKN: Tensor) -> Tensor:
        """Return logits (B, K, N) of the points."""
        feat = fine_BCN
        for layer in self.layers:
            feat = F.relu(layer(torch.cat((feat, coarse_BKN), dim=1)))
        return self.classifier(torch.cat((feat, coarse_BKN), dim=1))

    @torch.no_grad()
    def draw_points(self, coarse_BKhw: Tensor) -> Tensor:
        """Draw training points (B, N, 2): most where the coarse logits are uncertain.

        Sample by sample, so that the parts of a batch draw what the whole batch would.
        """
        drawn = []
        for coarse_Khw in coarse_BKhw.float():
            many_1N2 = torch.rand(1, self.oversample * self.num_points, 2, device=coarse_Khw.device)
            order_N = uncertainty(sample_at(coarse_Khw[None], many_1N2))[0].topk(self.num_uncertain).indices
            uniform_N2 = torch.rand(self.num_points - self.num_uncertain, 2, device=coarse_Khw.device)
            drawn.append(torch.cat((many_1N2[0, order_N], uniform_N2)))
        return torch.stack(drawn)

    def point_logits(self, fine_BChw: Tensor, coarse_BKhw: Tensor, points_BN2: Tensor) -> Tensor:
        """Return the head's logits (B, K, N) at points."""
        return self(sample_at(fine_BChw, points_BN2), sample_at(coarse_BKhw, points_BN2))

    def refine(self, fine_BChw: Tensor, coarse_BKhw: Tensor, size: tuple[int, int]) -> Tensor:
        """Double the logits again and again and replace their most uncertain points, until they have the image's size.

        Args:
            size: Height and width of the image.

        Returns:
            Logits (B, K, H, W).
        """
        logits = coarse_BKhw
        while tuple(logits.shape[-2:]) != tuple(size):
            height, width = (min(2 * now, whole) for now, whole in zip(logits.shape[-2:], size, strict=True))
            logits = F.interpolate(logits, (height, width), mode='bilinear', align_corners=False)
            flat_BKN = logits.flatten(2)
            count = min(self.subdivision_points, height * width)
            index_BN = uncertainty(flat_BKN.float()).topk(count, dim=1).indices
            points_BN2 = torch.stack(((index_BN % width + 0.5) / width, (index_BN // width + 0.5) / height), dim=-1)
            refined = self.point_logits(fine_BChw, coarse_BKhw, points_BN2).to(flat_BKN.dtype)
            index_BKN = index_BN[:, None].expand(-1, flat_BKN.shape[1], -1)
            logits = flat_BKN.scatter(2, index_BKN, refined).view_as(logits)
        return logits

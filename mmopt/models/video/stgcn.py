"""Graph convolutions over keypoints and time.

Paper: Yan et al., "Spatial Temporal Graph Convolutional Networks for Skeleton-Based Action Recognition",
https://arxiv.org/abs/1801.07455, with the spatial partition (a point, its neighbor toward the body, those away from
it) and learned edge weights. Deviations: time is never shortened, so that features meet those of the videos; points
that were not found are filled in, and all are counted from one of them.

Shape letters: B clips, T frames, K keypoints, C channels, P = 3 partitions.
"""

from collections.abc import Sequence

import torch
from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmopt.models.common import build_norm
from mmopt.registry import MODELS
from mmopt.structures.driver_skeleton import DRIVER_EDGES, DRIVER_KEYPOINTS

__all__ = ['STGCN', 'partition_graph']


def partition_graph(edges: Sequence[tuple[int, int]], num_points: int) -> Tensor:
    """Return who listens to whom, in three parts.

    Args:
        edges: Pairs (outer, inner): the second is nearer to the body's center.
        num_points: Keypoints K.

    Returns:
        (3, K, K): ``[p, i, j]`` is what point i takes from point j: itself, the inner neighbor, the outer ones; each
        row that is not empty sums to 1.

    Raises:
        ValueError: If an edge names a point that is not there.
    """
    if not edges or min(map(min, edges)) < 0 or max(map(max, edges)) >= num_points:
        raise ValueError(f'STGCN: edges must join points 0 to {num_points - 1}, got {list(edges)}.')
    graph_PKK = torch.zeros(3, num_points, num_points)
    graph_PKK[0] = torch.eye(num_points)
    for outer, inner in edges:
        graph_PKK[1, outer, inner] = 1
        graph_PKK[2, inner, outer] = 1
    return graph_PKK / graph_PKK.sum(dim=2, keepdim=True).clamp(min=1)


def _complete(points_BTKC: Tensor, center: int | None) -> Tensor:
    """Put points that were not found at the mean of where the clip has them, and count all from one of them.

    Left at 0, a wrist missing in one frame in fifty is many standard deviations from where it always is: such jumps
    outweigh all that moves. A point that a clip never shows is 0.
    """
    found_BTK1 = points_BTKC.any(dim=-1, keepdim=True)
    count_B1K1 = found_BTK1.sum(dim=1, keepdim=True)
    mean_B1KC = points_BTKC.sum(dim=1, keepdim=True) / count_B1K1.clamp(min=1)
    points_BTKC = torch.where(found_BTK1, points_BTKC, mean_B1KC)
    if center is not None:
        points_BTKC = (points_BTKC - mean_B1KC[:, :, center, None]) * (count_B1K1 > 0)
    return points_BTKC


class _Block(nn.Module):
    graph_PKK: Tensor

    def __init__(
        self,
        in_channels: int,
        channels: int,
        graph_PKK: Tensor,
        kernel_size: int,
        drop_rate: float,
        norm_cfg: dict,
        act_cfg: dict,
    ) -> None:
        super().__init__()
        # Not persistent: it follows from the edges.
        self.register_buffer('graph_PKK', graph_PKK, persistent=False)
        self.edge_weight_PKK = nn.Parameter(torch.ones_like(graph_PKK))
        self.graph_conv = nn.Conv2d(in_channels, channels * len(graph_PKK), 1)
        self.norm1 = build_norm(norm_cfg, channels)
        self.time_conv = nn.Conv2d(channels, channels, (kernel_size, 1), padding=(kernel_size // 2, 0))
        self.norm2 = build_norm(norm_cfg, channels)
        self.act = build_activation_layer(act_cfg)
        self.drop = nn.Dropout(drop_rate)
        self.shortcut = nn.Identity() if in_channels == channels else nn.Conv2d(in_channels, channels, 1)

    def forward(self, x_BCTK: Tensor) -> Tensor:
        parts_BPCTK = self.graph_conv(x_BCTK).unflatten(1, (len(self.graph_PKK), -1))
        weight_PKK = (self.graph_PKK * self.edge_weight_PKK).to(parts_BPCTK.dtype)
        gathered_BCTK = torch.einsum('bpctj,pij->bcti', parts_BPCTK, weight_PKK)
        moved_BCTK = self.norm2(self.time_conv(self.act(self.norm1(gathered_BCTK))))
        return self.act(self.drop(moved_BCTK) + self.shortcut(x_BCTK))


@MODELS.register_module()
class STGCN(BaseModule):
    """Encode keypoints (B, T, K, in_channels) as features (B, T, C).

    Args:
        channels: Channels after each block; the last is C.
        num_points: Keypoints K.
        edges: Pairs (outer, inner) of points; None: the driver's 52.
        in_channels: Numbers per keypoint.
        center: Point from whose mean place in the clip all others are counted, so that a seat or a camera that was
            moved changes nothing; None: they stay where they are.
        kernel_size: Frames that a block looks at; odd.
        drop_rate: Dropout in each block.
        norm_cfg: Every normalization layer of the blocks.
        act_cfg: Every activation.

    Raises:
        ValueError: If ``kernel_size`` is even, or graph or ``center`` do not fit the number of points.
    """

    def __init__(
        self,
        channels: Sequence[int] = (64, 64, 64, 128, 128, 256),
        num_points: int = len(DRIVER_KEYPOINTS),
        edges: Sequence[tuple[int, int]] | None = None,
        in_channels: int = 3,
        center: int | None = DRIVER_KEYPOINTS.index('neck'),
        kernel_size: int = 9,
        drop_rate: float = 0.1,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if kernel_size % 2 == 0:
            raise ValueError(f'STGCN: kernel_size must be odd, so that it is centered, got {kernel_size}.')
        if edges is None and num_points != len(DRIVER_KEYPOINTS):
            raise ValueError(f'STGCN: num_points={num_points} needs edges=[(outer, inner), ...] of its own.')
        if center is not None and not 0 <= center < num_points:
            raise ValueError(f'STGCN: center={center} must be one of the points 0 to {num_points - 1}, or None.')
        norm_cfg, act_cfg = norm_cfg or dict(type='BN'), act_cfg or dict(type='ReLU')
        graph_PKK = partition_graph(DRIVER_EDGES if edges is None else edges, num_points)
        self.num_points, self.in_channels, self.center = num_points, in_channels, center
        # Brings pixels, meters or whatever the keypoints are in to the same scale, point by point.
        self.input_norm = nn.BatchNorm1d(in_channels * num_points)
        widths = [in_channels, *channels]
        self.blocks = nn.ModuleList(
            _Block(narrow, wide, graph_PKK, kernel_size, drop_rate, norm_cfg, act_cfg)
            for narrow, wide in zip(widths, widths[1:], strict=False)
        )
        self.out_channels = widths[-1]

    def forward(self, points_BTKC: Tensor) -> Tensor:
        """Encode keypoints.

        Args:
            points_BTKC: Keypoints; one that is 0 was not found and is put where the clip's other frames have it.

        Returns:
            Features (B, T, C), averaged over the keypoints.

        Raises:
            ValueError: If the points are not those of the graph.
        """
        if points_BTKC.shape[2:] != (self.num_points, self.in_channels):
            raise ValueError(
                f'The keypoints are {tuple(points_BTKC.shape[2:])} (points, numbers), the model has '
                f'num_points={self.num_points}, in_channels={self.in_channels}: set these and edges.'
            )
        flat_BKCT = _complete(points_BTKC, self.center).flatten(2).transpose(1, 2)
        x_BCTK = self.input_norm(flat_BKCT).unflatten(1, points_BTKC.shape[2:]).permute(0, 2, 3, 1)
        for block in self.blocks:
            x_BCTK = block(x_BCTK)
        return x_BCTK.mean(dim=3).transpose(1, 2)

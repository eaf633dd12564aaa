"""Mamba blocks over the space-time tokens of a clip.

Papers: Gu and Dao, "Mamba", https://arxiv.org/abs/2312.00752; both directions share projections and differ in
convolution and scan, as in Zhu et al., "Vision Mamba", https://arxiv.org/abs/2401.09417. Deviations: the stem and the
pooling of :mod:`mmopt.models.video.transformer`; tokens run frame by frame, row by row.

Shape letters: B clips, L tokens, C channels, D = expand * C inner channels, N states, R rank of the step size.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmopt.models.common import build_norm
from mmopt.models.video.tokens import TokenEncoder
from mmopt.ops.scan import selective_scan
from mmopt.registry import MODELS

__all__ = ['VideoMamba']

_STEP_RANGE = (1e-3, 1e-1)  # the paper's range of initial step sizes


class _Direction(nn.Module):
    """One causal pass: depthwise convolution, then the selective scan with parameters of its own."""

    def __init__(self, inner: int, num_states: int, kernel_size: int, scan_chunk: int) -> None:
        super().__init__()
        self.rank = math.ceil(inner / 32)
        self.scan_chunk = scan_chunk
        self.conv = nn.Conv1d(inner, inner, kernel_size, padding=kernel_size - 1, groups=inner)
        self.select = nn.Linear(inner, self.rank + 2 * num_states, bias=False)
        self.step = nn.Linear(self.rank, inner)
        self.log_rate_DN = nn.Parameter(torch.arange(1.0, num_states + 1).log().repeat(inner, 1))
        self.skip_D = nn.Parameter(torch.ones(inner))
        nn.init.uniform_(self.step.weight, -(self.rank**-0.5), self.rank**-0.5)
        low, high = (math.log(value) for value in _STEP_RANGE)
        step_D = torch.exp(torch.rand(inner) * (high - low) + low)
        with torch.no_grad():
            self.step.bias.copy_(step_D + torch.log(-torch.expm1(-step_D)))  # softplus of it is step_D

    def forward(self, x_BLD: Tensor) -> Tensor:
        length = x_BLD.shape[1]
        x_BLD = F.silu(self.conv(x_BLD.transpose(1, 2))[..., :length]).transpose(1, 2)
        num_states = self.log_rate_DN.shape[1]
        step_BLR, write_BLN, read_BLN = self.select(x_BLD).split((self.rank, num_states, num_states), dim=-1)
        # Step sizes enter an exponential: float32, whatever the autocast type.
        step_BLD = F.softplus(self.step(step_BLR).float())
        rate_DN = -torch.exp(self.log_rate_DN.float())
        return selective_scan(x_BLD, step_BLD, rate_DN, write_BLN, read_BLN, self.skip_D, chunk=self.scan_chunk)


class _Block(nn.Module):
    def __init__(
        self,
        channels: int,
        expand: int,
        num_states: int,
        kernel_size: int,
        scan_chunk: int,
        drop_rate: float,
        bidirectional: bool,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        inner = expand * channels
        self.norm = build_norm(norm_cfg, channels)
        self.in_proj = nn.Linear(channels, 2 * inner, bias=False)
        self.directions = nn.ModuleList(
            _Direction(inner, num_states, kernel_size, scan_chunk) for _ in range(1 + bidirectional)
        )
        self.out_proj = nn.Linear(inner, channels, bias=False)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x_BLC: Tensor) -> Tensor:
        inner_BLD, gate_BLD = self.in_proj(self.norm(x_BLC)).chunk(2, dim=-1)
        scanned_BLD = self.directions[0](inner_BLD)
        if len(self.directions) > 1:
            scanned_BLD = scanned_BLD + self.directions[1](inner_BLD.flip(1)).flip(1)
        return x_BLC + self.drop(self.out_proj((scanned_BLD * F.silu(gate_BLD)).to(gate_BLD.dtype)))


@MODELS.register_module()
class VideoMamba(TokenEncoder):
    """Encode a clip (B, 3, T, H, W) as features (B, T / time_stride, C), in time and memory linear in its tokens.

    Args:
        channels: Channels C of a token.
        depth: Blocks.
        expand: Inner channels D per channel.
        num_states: States N per inner channel.
        kernel_size: Tokens of the causal convolution.
        scan_chunk: Tokens whose states are held at once; see :func:`mmopt.ops.scan.selective_scan`.
        bidirectional: Scan the other way round too: a first token has seen nothing yet.
        strides: Steps of the stem's convolutions in space; 4 x 4 makes a token of 16 x 16 pixels.
        time_stride: Frames per token.
        drop_rate: Dropout after each block.
        in_channels: Channels of a frame.
        norm_cfg: Normalization of tokens.
        stem_norm_cfg: Normalization in the stem.
        act_cfg: Activation of the stem; those of the blocks are the paper's SiLU.
    """

    def __init__(
        self,
        channels: int = 256,
        depth: int = 6,
        expand: int = 2,
        num_states: int = 16,
        kernel_size: int = 4,
        scan_chunk: int = 128,
        bidirectional: bool = True,
        strides: Sequence[int] = (4, 4),
        time_stride: int = 1,
        drop_rate: float = 0.1,
        in_channels: int = 3,
        norm_cfg: dict | None = None,
        stem_norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        norm_cfg, act_cfg = norm_cfg or dict(type='LN'), act_cfg or dict(type='SiLU')
        blocks = [
            _Block(channels, expand, num_states, kernel_size, scan_chunk, drop_rate, bidirectional, norm_cfg)
            for _ in range(depth)
        ]
        super().__init__(
            blocks, channels, in_channels, strides, time_stride, norm_cfg, stem_norm_cfg, act_cfg, init_cfg
        )

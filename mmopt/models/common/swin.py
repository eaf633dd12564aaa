"""Swin Transformer backbone.

Paper: Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", ICCV 2021,
https://arxiv.org/abs/2103.14030
Deviations: any image size (padded where a window or a merge needs it, as in the official detection code); window
indices, shift masks and relative positions are cached, never rebuilt per step.

Shape letters: B images, H W map, C channels, T = B H W tokens, K windows of the batch, N tokens per window, S heads.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmcv.cnn import build_activation_layer
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mmopt.models.common.norm import build_norm
from mmopt.ops.windows import (
    WindowLayout,
    merge_windows,
    partition_windows,
    relative_position_index,
    window_attention,
    window_layout,
)
from mmopt.registry import MODELS

__all__ = ['SwinTransformer', 'convert_official_swin']


class _DropPath(nn.Module):
    """Drop a residual branch per sample and scale up the kept ones."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, branch_TC: Tensor, batch_size: int) -> Tensor:
        if not self.training or not self.probability:
            return branch_TC
        keep = 1.0 - self.probability
        kept_B11 = torch.empty(batch_size, 1, 1, device=branch_TC.device).bernoulli_(keep).div_(keep)
        return (branch_TC.view(batch_size, -1, branch_TC.shape[-1]) * kept_B11.to(branch_TC.dtype)).view_as(branch_TC)


class _WindowAttention(nn.Module):
    position_index_NN: Tensor

    def __init__(
        self,
        channels: int,
        num_heads: int,
        window_size: int,
        *,
        qkv_bias: bool,
        attn_drop_rate: float,
        drop_rate: float,
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.attn_drop_rate = attn_drop_rate
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window_size - 1) ** 2, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        # Not persistent: it follows from the window size.
        self.register_buffer('position_index_NN', relative_position_index(window_size), persistent=False)
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)
        self.proj_drop = nn.Dropout(drop_rate)

    def forward(self, tokens_TC: Tensor, layout: WindowLayout) -> Tensor:
        N = self.window_size**2
        qkv_KNC = self.qkv(partition_windows(tokens_TC, layout)).view(-1, N, 3 * tokens_TC.shape[-1])
        bias_SNN = self.relative_position_bias_table[self.position_index_NN].permute(2, 0, 1)
        dropout = self.attn_drop_rate if self.training else 0.0
        out_KNC = window_attention(qkv_KNC, bias_SNN, layout.bias, dropout)
        # The projection works token by token, so padding need not go through it.
        return self.proj_drop(self.proj(merge_windows(out_KNC.flatten(0, 1), layout)))


class _Mlp(nn.Module):
    def __init__(self, channels: int, hidden: int, *, act_cfg: dict, drop_rate: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.act = build_activation_layer(act_cfg)
        self.fc2 = nn.Linear(hidden, channels)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, tokens_TC: Tensor) -> Tensor:
        return self.drop(self.fc2(self.drop(self.act(self.fc1(tokens_TC)))))


class _Block(nn.Module):
    def __init__(
        self,
        channels: int,
        num_heads: int,
        window_size: int,
        shift: int,
        *,
        mlp_ratio: float,
        qkv_bias: bool,
        drop_rate: float,
        attn_drop_rate: float,
        drop_path_rate: float,
        norm_cfg: dict,
        act_cfg: dict,
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.shift = shift
        self.norm1 = build_norm(norm_cfg, channels)
        self.attn = _WindowAttention(
            channels,
            num_heads,
            window_size,
            qkv_bias=qkv_bias,
            attn_drop_rate=attn_drop_rate,
            drop_rate=drop_rate,
        )
        self.drop_path = _DropPath(drop_path_rate)
        self.norm2 = build_norm(norm_cfg, channels)
        self.mlp = _Mlp(channels, int(channels * mlp_ratio), act_cfg=act_cfg, drop_rate=drop_rate)

    def forward(self, tokens_TC: Tensor, size: tuple[int, int, int]) -> Tensor:
        # In a graph the batch is open, and the sides are symbols of one value.
        one = (1, int(size[1]), int(size[2]), self.window_size, self.shift, tokens_TC.device)
        if not torch.is_grad_enabled():
            window_layout(*one)  # the cached one: made by a tracer, it would hold the tracer's tensors
        exports = torch.compiler.is_exporting()
        layout = window_layout(*one) if exports else window_layout(*size, *one[3:])
        tokens_TC = tokens_TC + self.drop_path(self.attn(self.norm1(tokens_TC), layout), size[0])
        return tokens_TC + self.drop_path(self.mlp(self.norm2(tokens_TC)), size[0])


class _PatchEmbed(nn.Module):
    """Cut the image into patches and project each; the convolution's stride is its kernel size."""

    def __init__(self, in_channels: int, channels: int, patch_size: int, norm_cfg: dict | None) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(in_channels, channels, kernel_size=patch_size, stride=patch_size)
        self.norm = build_norm(norm_cfg, channels) if norm_cfg else nn.Identity()

    def forward(self, image_BCHW: Tensor) -> tuple[Tensor, int, int]:
        height, width = image_BCHW.shape[-2:]
        image_BCHW = F.pad(image_BCHW, (0, -width % self.patch_size, 0, -height % self.patch_size))
        map_BHWC = self.proj(image_BCHW).permute(0, 2, 3, 1)
        return self.norm(map_BHWC.flatten(0, 2)), *map_BHWC.shape[1:3]


class _PatchMerging(nn.Module):
    """Join 2 x 2 tokens into one of twice the channels."""

    def __init__(self, channels: int, norm_cfg: dict) -> None:
        super().__init__()
        self.norm = build_norm(norm_cfg, 4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, tokens_TC: Tensor, size: tuple[int, int, int]) -> tuple[Tensor, int, int]:
        batch_size, height, width = size
        map_BHWC = F.pad(tokens_TC.view(*size, -1), (0, 0, 0, width % 2, 0, height % 2))
        height, width = map_BHWC.shape[1] // 2, map_BHWC.shape[2] // 2
        # Official order of the four: column first, so that official weights fit as they are.
        quads = map_BHWC.view(batch_size, height, 2, width, 2, -1).permute(0, 1, 3, 4, 2, 5)
        return self.reduction(self.norm(quads.flatten(3).flatten(0, 2))), height, width


class _Stage(nn.Module):
    def __init__(self, blocks: Sequence[_Block], downsample: _PatchMerging | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample


@MODELS.register_module()
class SwinTransformer(BaseModule):
    """Swin backbone; the defaults are Swin-T.

    Parameters have the official names (``layers.0.blocks.0.attn.qkv.weight``), except that the norm after each output
    stage is ``norm<stage>``.

    Args:
        embed_dims: Channels of the first stage; each later one doubles them.
        depths: Blocks of every stage.
        num_heads: Attention heads of every stage.
        window_size: Side of a window, in tokens.
        mlp_ratio: Hidden channels of an MLP per channel.
        patch_size: Side of a patch, in pixels.
        in_channels: Channels of the image.
        qkv_bias: Whether queries, keys and values have a bias.
        patch_norm: Whether the patch embedding is normalized.
        drop_rate: Dropout of projections and MLPs.
        attn_drop_rate: Dropout of attention weights.
        drop_path_rate: Probability of dropping the last block's branches; earlier ones rise to it linearly from 0.
        out_indices: Stages whose output is returned, after a norm of their own. Stages behind the last are not built.
        norm_cfg: Every normalization layer; it must take tokens ``(T, C)``.
        act_cfg: Activation of the MLPs.
        with_cp: Recompute every block in the backward pass instead of keeping its activations.
        position_size: Network input ``(height, width)`` in pixels: adds a learned embedding of each patch's place, the
            original's ``ape`` option, here begun with sines. Without it only padding tells where in the image a
            patch lies; a large data set teaches depth from that, a small one does not.
        pretrained: Path of an official checkpoint.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)`` says the same.

    Raises:
        ValueError: If stage options disagree in length, an output stage does not exist, or weights are named twice.
    """

    _is_init: bool  # of BaseModule

    def __init__(
        self,
        embed_dims: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        window_size: int = 7,
        mlp_ratio: float = 4.0,
        patch_size: int = 4,
        in_channels: int = 3,
        *,
        qkv_bias: bool = True,
        patch_norm: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        out_indices: Sequence[int] = (3,),
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        with_cp: bool = False,
        position_size: tuple[int, int] | None = None,
        pretrained: str | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if len(depths) != len(num_heads):
            raise ValueError(f'SwinTransformer: depths {depths} and num_heads {num_heads} differ in length.')
        if not out_indices or not set(out_indices) <= set(range(len(depths))):
            raise ValueError(f'SwinTransformer: out_indices {out_indices} must be stages 0 to {len(depths) - 1}.')
        if pretrained and init_cfg:
            raise ValueError('SwinTransformer: give the weights as pretrained= or as init_cfg=, not both.')
        super().__init__(init_cfg=dict(type='Pretrained', checkpoint=pretrained) if pretrained else init_cfg)
        norm_cfg = norm_cfg or dict(type='LN')
        act_cfg = act_cfg or dict(type='GELU')
        self.out_indices = tuple(sorted(out_indices))
        self.with_cp = with_cp
        self.patch_embed = _PatchEmbed(in_channels, embed_dims, patch_size, norm_cfg if patch_norm else None)
        self.pos_drop = nn.Dropout(drop_rate)
        self.absolute_pos_embed = None
        if position_size is not None:
            height, width = position_size
            grid = (math.ceil(height / patch_size), math.ceil(width / patch_size))
            self.absolute_pos_embed = nn.Parameter(_sines(grid, embed_dims)[None])
        # Not torch's: a model may be built on the meta device, where numbers have no values.
        rates = np.linspace(0, drop_path_rate, sum(depths)).tolist()
        self.layers = nn.ModuleList()
        self.out_channels = tuple(embed_dims * 2**stage for stage in self.out_indices)
        for stage in range(self.out_indices[-1] + 1):
            channels = embed_dims * 2**stage
            blocks = [
                _Block(
                    channels,
                    num_heads[stage],
                    window_size,
                    shift=window_size // 2 if index % 2 else 0,
                    mlp_ratio=mlp_ratio,
                    qkv_bias=qkv_bias,
                    drop_rate=drop_rate,
                    attn_drop_rate=attn_drop_rate,
                    drop_path_rate=rates[sum(depths[:stage]) + index],
                    norm_cfg=norm_cfg,
                    act_cfg=act_cfg,
                )
                for index in range(depths[stage])
            ]
            is_last = stage == self.out_indices[-1]
            self.layers.append(_Stage(blocks, None if is_last else _PatchMerging(channels, norm_cfg)))
            if stage in self.out_indices:
                self.add_module(f'norm{stage}', build_norm(norm_cfg, channels))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def init_weights(self) -> None:
        """Load the official weights if any were named; otherwise the constructor's initialization stands."""
        if self.init_cfg is None or self._is_init:
            return
        path = self.init_cfg['checkpoint']
        state = convert_official_swin(torch.load(path, map_location='cpu', weights_only=True), self.out_indices[-1])
        own = self.state_dict()
        wrong = [key for key, value in state.items() if key in own and own[key].shape != value.shape]
        if wrong:
            key, shape = wrong[0], tuple(state[wrong[0]].shape)
            raise ValueError(
                f'{path}: {len(wrong)} tensors have another shape than this SwinTransformer; the first is {key}: '
                f'{shape} in the file, {tuple(own[key].shape)} here. Choose the weights of this size and window.'
            )
        missing, unexpected = self.load_state_dict(state, strict=False)
        if len(missing) == len(own):
            raise ValueError(f'{path}: holds no weight of a SwinTransformer; its keys begin with {list(state)[:3]}.')
        print_log(f'{path}: loaded {len(own) - len(missing)} of {len(own)} tensors into SwinTransformer.', 'current')
        if missing or unexpected:
            print_log(f'{path}: not in the file: {missing}; not in the model: {unexpected}.', 'current')
        self._is_init = True

    def forward(self, image_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of the output stages, each ``(B, C, H, W)`` with channels-last memory."""
        tokens_TC, height, width = self.patch_embed(image_BCHW)
        if self.absolute_pos_embed is not None:
            if height * width != self.absolute_pos_embed.shape[1]:
                raise ValueError(
                    f'SwinTransformer: position_size was given for {self.absolute_pos_embed.shape[1]} patches, the '
                    f'image {tuple(image_BCHW.shape[2:])} has {height}x{width}: give the size of the network input.'
                )
            tokens_TC = tokens_TC + self.absolute_pos_embed.expand(image_BCHW.shape[0], -1, -1).reshape_as(tokens_TC)
        tokens_TC = self.pos_drop(tokens_TC)
        outputs = []
        stage: Any
        for index, stage in enumerate(self.layers):
            size = (image_BCHW.shape[0], height, width)
            for block in stage.blocks:
                if self.with_cp and tokens_TC.requires_grad:
                    tokens_TC = checkpoint(block, tokens_TC, size, use_reentrant=False)
                else:
                    tokens_TC = block(tokens_TC, size)
            if index in self.out_indices:
                normed_TC = getattr(self, f'norm{index}')(tokens_TC)
                outputs.append(normed_TC.view(*size, -1).permute(0, 3, 1, 2))
            if stage.downsample is not None:
                tokens_TC, height, width = stage.downsample(tokens_TC, size)
        return tuple(outputs)


def _sines(grid: tuple[int, int], channels: int) -> Tensor:
    """Return quarter waves of rows and columns, ``(H W, C)``: neighboring places are alike, distant ones are not."""
    rows_H, columns_W = torch.linspace(0, 1, grid[0]), torch.linspace(0, 1, grid[1])
    waves = torch.arange(1, channels // 4 + 1) * torch.pi / 2
    row_HWC = (rows_H[:, None] * waves)[:, None].expand(-1, grid[1], -1)
    column_HWC = (columns_W[:, None] * waves)[None].expand(grid[0], -1, -1)
    parts = [row_HWC.sin(), row_HWC.cos(), column_HWC.sin(), column_HWC.cos()]
    return 0.5 * nn.functional.pad(torch.cat(parts, dim=-1), (0, channels % 4)).flatten(0, 1)


def convert_official_swin(checkpoint_dict: Mapping, last_stage: int) -> dict[str, Tensor]:
    """Rename the tensors of an official checkpoint (``swin_tiny_patch4_window7_224.pth``) to this module's names.

    Args:
        checkpoint_dict: What the file holds: the tensors, or a dict with them under ``model`` or ``state_dict``.
        last_stage: The last stage of the model; the official final norm belongs to stage 3.

    Returns:
        The tensors of the backbone. The classifier and the buffers that follow from the window size are left out.
    """
    state = checkpoint_dict.get('model', checkpoint_dict.get('state_dict', checkpoint_dict))
    converted = {}
    for key, value in state.items():
        name = key.removeprefix('backbone.')
        if name.startswith('head.') or name.endswith(('relative_position_index', 'attn_mask')):
            continue
        stage = int(name.split('.')[1]) if name.startswith('layers.') else None
        if stage is not None and (stage > last_stage or (stage == last_stage and '.downsample.' in name)):
            continue
        if name.startswith('norm.'):
            name = f'norm3.{name.removeprefix("norm.")}'
            if last_stage != 3:
                continue
        converted[name] = value
    return converted

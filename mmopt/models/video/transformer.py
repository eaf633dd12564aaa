"""A Transformer over the space-time tokens of a clip.

Papers: Dosovitskiy et al., "An Image is Worth 16x16 Words", https://arxiv.org/abs/2010.11929; attention over
space and time as in Arnab et al., "ViViT", https://arxiv.org/abs/2103.15691 (model 1). Deviations: a 3D
convolutional stem, fixed positions of sines and cosines (so that any image size runs), features per time step instead
of a class token.

Shape letters: B clips, L tokens, C channels.
"""

from collections.abc import Sequence

from mmcv.cnn import build_activation_layer
from torch import Tensor, nn
from torch.nn import functional as F

from mmopt.models.common import build_norm
from mmopt.models.video.tokens import TokenEncoder
from mmopt.registry import MODELS

__all__ = ['VideoTransformer']


class _Block(nn.Module):
    def __init__(
        self, channels: int, num_heads: int, mlp_ratio: float, drop_rate: float, norm_cfg: dict, act_cfg: dict
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1 = build_norm(norm_cfg, channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.norm2 = build_norm(norm_cfg, channels)
        hidden = int(channels * mlp_ratio)
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden), build_activation_layer(act_cfg), nn.Linear(hidden, channels)
        )
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x_BLC: Tensor) -> Tensor:
        query, key, value = self.qkv(self.norm1(x_BLC)).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x_BLC = x_BLC + self.drop(self.proj(attended))
        return x_BLC + self.drop(self.mlp(self.norm2(x_BLC)))


@MODELS.register_module()
class VideoTransformer(TokenEncoder):
    """Encode a clip (B, 3, T, H, W) as features (B, T / time_stride, C).

    Args:
        channels: Channels C of a token.
        depth: Blocks.
        mlp_ratio: Hidden channels of an MLP per channel.
        strides: Steps of the stem's convolutions in space; 4 x 4 makes a token of 16 x 16 pixels.
        time_stride: Frames per token.
        drop_rate: Dropout after attention and MLP.
        in_channels: Channels of a frame.
        norm_cfg: Normalization of tokens.
        stem_norm_cfg: Normalization in the stem.
        act_cfg: Activation of stem and MLPs.

    Raises:
        ValueError: If the heads do not divide the channels.
    """

    def __init__(
        self,
        channels: int = 384,
        depth: int = 6,
        num_heads: int = 6,
        mlp_ratio: float = 4.0,
        strides: Sequence[int] = (4, 4),
        time_stride: int = 1,
        drop_rate: float = 0.1,
        in_channels: int = 3,
        norm_cfg: dict | None = None,
        stem_norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if channels % num_heads:
            raise ValueError(f'VideoTransformer: num_heads={num_heads} must divide channels={channels}.')
        norm_cfg, act_cfg = norm_cfg or dict(type='LN'), act_cfg or dict(type='GELU')
        blocks = [_Block(channels, num_heads, mlp_ratio, drop_rate, norm_cfg, act_cfg) for _ in range(depth)]
        super().__init__(
            blocks, channels, in_channels, strides, time_stride, norm_cfg, stem_norm_cfg, act_cfg, init_cfg
        )

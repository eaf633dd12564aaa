"""What the Transformer and the Mamba encoder have in common: stem, positions, blocks, final norm.

Shape letters: B clips, C channels, T H W tokens, L = T H W.
"""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmopt.models.common import build_norm
from mmopt.models.video.stem import Stem3D, sincos_positions

__all__ = ['TokenEncoder']

# Tokens leave the stem with a standard deviation of 0.3, of which a fifth differs between clips of one scene. Positions
# of 0.7 left 2 % of the pooled features to the clip, these leave 7 %.
_POSITION_SCALE = 0.1


class TokenEncoder(BaseModule):
    """Cut clips into tokens, add their positions, run blocks, average each time step's tokens.

    Args:
        blocks: Modules that map tokens (B, L, C) to such.
        channels: Channels C of a token.
        in_channels: Channels of a frame.
        strides: See :class:`~mmopt.models.video.stem.Stem3D`.
        time_stride: Frames per token.
        norm_cfg: Of the final norm.
        stem_norm_cfg: Normalization of the stem; None: instance norm: a batch of one clip does not disturb it, and it
            takes away each channel's mean, beside which what moves would be faint.
        act_cfg: Activation of the stem.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        channels: int,
        in_channels: int,
        strides: Sequence[int],
        time_stride: int,
        norm_cfg: dict,
        stem_norm_cfg: dict | None,
        act_cfg: dict,
        init_cfg: dict | None,
    ) -> None:
        super().__init__(init_cfg)
        self.stem = Stem3D(
            in_channels, channels, strides, time_stride, stem_norm_cfg or dict(type='IN3d', affine=True), act_cfg
        )
        self.blocks = nn.ModuleList(blocks)
        self.norm = build_norm(norm_cfg, channels)
        self.stem_channels = self.out_channels = channels

    def encode(self, map_BCTHW: Tensor) -> Tensor:
        """Encode what the stem made.

        Args:
            map_BCTHW: The stem's map.

        Returns:
            Features (B, T, C).
        """
        size = map_BCTHW.shape[2:]
        positions_THWC = sincos_positions(size, map_BCTHW.shape[1], map_BCTHW.device).to(map_BCTHW.dtype)
        x_BLC = (map_BCTHW.permute(0, 2, 3, 4, 1) + _POSITION_SCALE * positions_THWC).flatten(1, 3)
        for block in self.blocks:
            x_BLC = block(x_BLC)
        return self.norm(x_BLC).unflatten(1, (size[0], -1)).mean(dim=2)

    def forward(self, video_BCTHW: Tensor) -> Tensor:
        """Encode clips; see :meth:`encode`."""
        return self.encode(self.stem(video_BCTHW))

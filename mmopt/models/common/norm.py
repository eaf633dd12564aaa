"""Normalization layers by config."""

from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from mmopt.ops.group_norm import group_norm

__all__ = ['GroupNorm', 'build_norm']


class GroupNorm(nn.GroupNorm):
    """``nn.GroupNorm`` with a backward that is fast on a CPU; see :mod:`mmopt.ops.group_norm`."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.affine:
            return super().forward(input)
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


def build_norm(cfg: dict, num_channels: int) -> nn.Module:
    """Build a normalization layer as mmcv does, except that ``GN`` is :class:`GroupNorm`.

    Args:
        cfg: ``type`` (a registered name or a class), ``requires_grad`` and the layer's own arguments.
        num_channels: Channels to normalize.

    Returns:
        The layer.
    """
    layer = build_norm_layer(cfg, num_channels)[1]
    if type(layer) is not nn.GroupNorm:
        return layer
    fast = GroupNorm(layer.num_groups, layer.num_channels, layer.eps, layer.affine)
    fast.load_state_dict(layer.state_dict())
    for own, theirs in zip(fast.parameters(), layer.parameters(), strict=True):
        own.requires_grad = theirs.requires_grad
    return fast

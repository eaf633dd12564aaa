"""Weights of DiffBEV's Lift-Splat-Shoot (https://github.com/JiayuZou2020/DiffBEV), by the names of this package.

The modules are the same. DiffBEV's backbone is mmseg's, whose patch merging takes the four patches of a square in
another order (:class:`torch.nn.Unfold`): two kinds of weights are permuted as well as renamed.
"""

import re
from collections.abc import Mapping

from torch import Tensor

__all__ = ['convert_diffbev']

_RENAMED = (
    (re.compile(r'^backbone\.patch_embed\.projection\.'), 'backbone.patch_embed.proj.'),
    (re.compile(r'^backbone\.stages\.'), 'backbone.layers.'),
    (re.compile(r'^(backbone\..*\.attn)\.w_msa\.'), r'\1.'),
    (re.compile(r'^(backbone\..*)\.ffn\.layers\.0\.0\.'), r'\1.mlp.fc1.'),
    (re.compile(r'^(backbone\..*)\.ffn\.layers\.1\.'), r'\1.mlp.fc2.'),
    (re.compile(r'^transformer\.depthnet\.'), 'neck.depthnet.'),
    (re.compile(r'^decode_head\.topdown\.(\d+)\.(\d+)\.downsample\.0\.'), r'head.stages.\1.\2.shortcut.conv.'),
    (re.compile(r'^decode_head\.topdown\.(\d+)\.(\d+)\.downsample\.1\.'), r'head.stages.\1.\2.shortcut.norm.'),
    (re.compile(r'^decode_head\.topdown\.(\d+)\.(\d+)\.bn(\d)\.'), r'head.stages.\1.\2.norm\3.'),
    (re.compile(r'^decode_head\.topdown\.'), 'head.stages.'),
    (re.compile(r'^decode_head\.classifier\.'), 'head.classifier.'),
)
# What follows from the config: indices of the attention's table, and the geometry of the grid.
_COMPUTED = re.compile(r'\.relative_position_index$|^transformer\.(dx|bx|nx|frustum)$')
_MERGED = re.compile(r'^backbone\.layers\.\d+\.downsample\.(norm|reduction)\.')


def convert_diffbev(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename, and where need be permute, the entries of a checkpoint of DiffBEV.

    Args:
        state: Its state dict. One without DiffBEV's names comes back as it is.

    Returns:
        The state dict by our names; what no rule names keeps its name.
    """
    if not any(name.startswith(('transformer.depthnet.', 'decode_head.topdown.')) for name in state):
        return dict(state)
    converted = {}
    for name, value in state.items():
        if _COMPUTED.search(name):
            continue
        for pattern, ours in _RENAMED:
            name = pattern.sub(ours, name)
        converted[name] = _in_our_order(value) if _MERGED.match(name) else value
    return converted


def _in_our_order(value: Tensor) -> Tensor:
    """Put the inputs of patch merging (their last axis) from channel-major, row first to patch-major, column first."""
    patches = value.unflatten(-1, (-1, 4)).transpose(-1, -2)
    return patches[..., [0, 2, 1, 3], :].flatten(-2)

"""The 16-bit label image of the BEV task: one bit per map.

Bit c < 14 is class c. Bit 14 is *ignore*; it is inverted on decoding, so that the last map marks the cells that count.

Shape letters: N maps, Z rows (nearest first), X columns (leftmost first).
"""

import torch
from torch import Tensor

__all__ = ['IGNORE_BIT', 'NUM_MAPS', 'decode_label_bits', 'encode_label_bits']

NUM_MAPS = 15
"""Maps after decoding: 14 classes and the cells that count."""

IGNORE_BIT = 14


def decode_label_bits(bits: Tensor) -> Tensor:
    """Unpack label images into maps.

    Args:
        bits: Integer images ``(..., Z, X)`` as they lie on disk.

    Returns:
        Boolean maps ``(..., 15, Z, X)``; the last one is true where a cell counts.
    """
    shifts_N11 = torch.arange(NUM_MAPS, device=bits.device, dtype=torch.int32)[:, None, None]
    maps = (bits.to(torch.int32).unsqueeze(-3) >> shifts_N11).bitwise_and_(1)
    maps[..., IGNORE_BIT, :, :] ^= 1
    return maps.bool()


def encode_label_bits(maps: Tensor) -> Tensor:
    """Pack maps into label images: the inverse of :func:`decode_label_bits`.

    Args:
        maps: Boolean maps ``(..., N, Z, X)``: the 14 classes, and, if N is 15, the cells that count. With 14 maps every
            cell counts.

    Returns:
        int32 images ``(..., Z, X)``.

    Raises:
        ValueError: If N is neither 14 nor 15.
    """
    num_maps = maps.shape[-3]
    if num_maps not in (NUM_MAPS - 1, NUM_MAPS):
        raise ValueError(
            f'encode_label_bits: expected 14 class maps, or 15 with the valid map last, got {num_maps} '
            f'in a tensor of shape {tuple(maps.shape)}.'
        )
    flags = maps.to(torch.int32)
    if num_maps == NUM_MAPS:
        flags = torch.cat((flags[..., :IGNORE_BIT, :, :], 1 - flags[..., IGNORE_BIT:, :, :]), dim=-3)
    shifts_N11 = torch.arange(num_maps, device=maps.device, dtype=torch.int32)[:, None, None]
    # By its name: exporters know no operator <<.
    return torch.bitwise_left_shift(flags, shifts_N11).sum(dim=-3, dtype=torch.int32)

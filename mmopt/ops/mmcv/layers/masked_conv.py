"""Convolution at some places only: the patches there as columns, and columns put back to their places.

Shape letters: C channels, H and W of the map, K taps of the kernel, N places.
"""

from torch import Tensor
from torch.nn.functional import pad

__all__ = ['columns_at', 'scatter_columns']


def columns_at(
    map_CHW: Tensor, row_N: Tensor, column_N: Tensor, kernel_size: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """Return the patches around some places as columns (C * K, N), channel by channel, row by row of the kernel.

    Places are those of the output of a convolution with stride 1; outside of the map, 0 is read.
    """
    height, width = kernel_size
    # With zeros on all sides, as far as a patch at a pixel of the map can reach.
    padded = pad(map_CHW, (padding[1], width, padding[0], height))
    patches = padded.unfold(1, height, 1).unfold(2, width, 1)[:, row_N, column_N]
    return patches.permute(0, 2, 3, 1).flatten(0, 2)


def scatter_columns(columns_CN: Tensor, row_N: Tensor, column_N: Tensor, output_CHW: Tensor) -> None:
    """Write columns to their places of a map; all others keep what they have."""
    output_CHW[:, row_N, column_N] = columns_CN

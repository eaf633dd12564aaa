"""Columns of a convolution at some places against the convolution everywhere."""

import torch
from torch.nn.functional import conv2d

from mmopt.ops.mmcv.layers.masked_conv import columns_at, scatter_columns


def test_columns_times_weight_are_the_convolution_there_on_200_random_cases():
    for seed in range(200):
        rng = torch.Generator().manual_seed(seed)
        kernel = (1 + seed % 3, 1 + seed // 3 % 3)
        padding = (kernel[0] // 2, kernel[1] // 2)
        height, width = torch.randint(1, 7, (2,), generator=rng).tolist()
        picture = torch.randn(2, height, width, generator=rng)
        weight = torch.randn(3, 2, *kernel, generator=rng)
        everywhere = conv2d(picture[None], weight, padding=padding)[0]
        out_height, out_width = everywhere.shape[1:]
        mask = torch.rand(min(height, out_height), min(width, out_width), generator=rng) > 0.5
        row, column = mask.nonzero(as_tuple=True)
        columns = columns_at(picture, row, column, kernel, padding)
        output = torch.zeros_like(everywhere)
        scatter_columns(weight.flatten(1) @ columns, row, column, output)
        expected = torch.zeros_like(everywhere)
        expected[:, row, column] = everywhere[:, row, column]
        torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)

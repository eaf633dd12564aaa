"""Deformable attention against a literal reference: each sample of each query by itself, in float64 with autograd."""

import torch
from torch import Tensor

from mmopt.ops.mmcv.layers.deform_attention import deformable_attention
from tests.ops.mmcv.reference import assert_equal_with_gradients, read_at


def reference(value: Tensor, shapes: list[tuple[int, int]], places: Tensor, attention: Tensor) -> Tensor:
    batch, queries, heads, levels, samples = attention.shape
    output = []
    for b in range(batch):
        for q in range(queries):
            for head in range(heads):
                for c in range(value.shape[3]):
                    total, first = value.new_zeros(()), 0
                    for level, (height, width) in enumerate(shapes):
                        plane = value[b, first : first + height * width, head, c].view(height, width)
                        first += height * width
                        for s in range(samples):
                            x, y = places[b, q, head, level, s] * places.new_tensor([width, height]) - 0.5
                            total = total + read_at(plane, y, x) * attention[b, q, head, level, s]
                    output.append(total)
    return torch.stack(output).view(batch, queries, -1)


def test_results_and_gradients_equal_the_reference_on_200_random_cases():
    for seed in range(200):
        rng = torch.Generator().manual_seed(seed)
        shapes = [(1 + seed % 3, 2), (2, 1 + seed // 2 % 3)][: 1 + seed % 2]
        batch, queries, heads, samples = 1 + seed // 3 % 2, 1, 1 + seed // 4 % 2, 1 + seed % 2
        num_values = sum(height * width for height, width in shapes)
        value = torch.randn(batch, num_values, heads, 2, generator=rng, dtype=torch.float64)
        attention = torch.rand(batch, queries, heads, len(shapes), samples, generator=rng, dtype=torch.float64)
        places = torch.rand(*attention.shape, 2, generator=rng, dtype=torch.float64) * 1.6 - 0.3
        inputs = [tensor.requires_grad_() for tensor in (value, places, attention)]
        singles = [tensor.detach().float().requires_grad_() for tensor in inputs]
        sizes = torch.tensor(shapes)
        first = torch.cat([sizes.new_zeros(1), sizes.prod(dim=1).cumsum(0)[:-1]])
        actual = deformable_attention(singles[0], sizes, first, *singles[1:])
        assert_equal_with_gradients(actual, reference(value, shapes, places, attention), singles, inputs, seed)

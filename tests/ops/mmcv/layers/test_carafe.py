"""CARAFE against a literal reference: each pixel of each neighborhood by itself, in float64 with autograd."""

import torch
from torch import Tensor

from mmopt.ops.mmcv.layers import carafe as module
from mmopt.ops.mmcv.layers.carafe import carafe
from tests.ops.mmcv.reference import assert_equal_with_gradients


def reference(features: Tensor, masks: Tensor, kernel_size: int, groups: int, scale: int) -> Tensor:
    batch, channels, height, width = features.shape
    output = []
    for b in range(batch):
        for c in range(channels):
            group = c // (channels // groups)
            for ho in range(height * scale):
                for wo in range(width * scale):
                    total = features.new_zeros(())
                    for i in range(kernel_size):
                        for j in range(kernel_size):
                            y, x = ho // scale + i - kernel_size // 2, wo // scale + j - kernel_size // 2
                            if 0 <= y < height and 0 <= x < width:
                                weight = masks[b, (group * kernel_size + i) * kernel_size + j, ho, wo]
                                total = total + features[b, c, y, x] * weight
                    output.append(total)
    return torch.stack(output).view(batch, channels, height * scale, width * scale)


def test_results_and_gradients_equal_the_reference_on_200_random_cases():
    for seed in range(200):
        rng = torch.Generator().manual_seed(seed)
        kernel_size, groups, scale = (1, 3)[seed % 2], 1 + seed // 2 % 2, 1 + seed // 4 % 2
        height, width = 1 + seed % 2, 1 + seed // 3 % 2
        features = torch.randn(1 + seed // 5 % 2, 2, height, width, generator=rng, dtype=torch.float64)
        shape = len(features), groups * kernel_size**2, height * scale, width * scale
        masks = torch.randn(*shape, generator=rng, dtype=torch.float64)
        inputs = [features.requires_grad_(), masks.requires_grad_()]
        singles = [tensor.detach().float().requires_grad_() for tensor in inputs]
        actual = carafe(*singles, kernel_size, groups, scale)
        assert_equal_with_gradients(actual, reference(*inputs, kernel_size, groups, scale), singles, inputs, seed)


def test_pictures_one_by_one_are_the_batch(monkeypatch):
    features, masks = torch.randn(3, 8, 5, 6), torch.rand(3, 2 * 25, 10, 12)
    whole = carafe(features, masks, 5, 2, 2)
    monkeypatch.setattr(module, '_MAX_WEIGHTS', 1)
    torch.testing.assert_close(carafe(features, masks, 5, 2, 2), whole)

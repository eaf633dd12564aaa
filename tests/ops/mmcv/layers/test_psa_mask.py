"""The mask of PSANet against the loop over pixels and places of the mask."""

import pytest
import torch

from mmopt.ops.mmcv.layers.psa_mask import psa_mask, psa_mask_backward


def reference(relative, mask_size, distribute):
    batch, _, height, width = relative.shape
    output = torch.zeros(batch, height * width, height, width)
    for h in range(height):
        for w in range(width):
            for i in range(mask_size[0]):
                for j in range(mask_size[1]):
                    y, x = h + i - (mask_size[0] - 1) // 2, w + j - (mask_size[1] - 1) // 2
                    if 0 <= y < height and 0 <= x < width:
                        value = relative[:, i * mask_size[1] + j, h, w]
                        if distribute:
                            output[:, h * width + w, y, x] = value
                        else:
                            output[:, y * width + x, h, w] = value
    return output


@pytest.mark.parametrize('distribute', [False, True])
def test_layout_and_gradients_equal_the_reference_on_200_random_cases(distribute):
    for seed in range(200):
        rng = torch.Generator().manual_seed(seed)
        height, width, *mask_size = torch.randint(1, 5, (4,), generator=rng).tolist()
        relative = torch.randn(1 + seed % 2, mask_size[0] * mask_size[1], height, width, generator=rng)
        expected = reference(relative.requires_grad_(), mask_size, distribute)
        assert torch.equal(psa_mask(relative.detach(), mask_size, distribute), expected)
        grad = torch.randn(expected.shape, generator=rng)
        (expected_grad,) = torch.autograd.grad(expected, relative, grad)
        assert torch.equal(psa_mask_backward(grad, mask_size, distribute), expected_grad)

"""Turned filters against the loop over their numbers."""

import torch

from mmopt.ops.mmcv.layers.active_rotated_filter import turned_filters, turned_filters_backward


def test_filters_and_gradients_equal_the_loop_on_200_random_cases():
    for seed in range(200):
        rng = torch.Generator().manual_seed(seed)
        planes_out, planes_in, numbers, rotations = torch.randint(1, 5, (4,), generator=rng).tolist()
        filters = torch.randn(planes_out, planes_in, numbers, generator=rng)
        place = torch.stack([torch.randperm(numbers, generator=rng) for _ in range(rotations)], dim=1)
        grad = torch.randn(planes_out, rotations, planes_in, numbers, generator=rng)
        expected, expected_grad = torch.zeros_like(grad), torch.zeros_like(filters)
        for number in range(numbers):
            for rotation in range(rotations):
                there = place[number, rotation]
                expected[:, rotation, :, there] = filters[:, :, number]
                expected_grad[:, :, number] += grad[:, rotation, :, there]
        assert torch.equal(turned_filters(filters, place), expected)
        torch.testing.assert_close(turned_filters_backward(grad, place), expected_grad)

"""Shifts along time against the loop over frames."""

import torch

from mmopt.ops.mmcv.layers.tin_shift import tin_shift


def test_shifts_and_gradients_equal_the_loop_on_200_random_cases():
    for seed in range(200):
        rng = torch.Generator().manual_seed(seed)
        batch, frames, groups, per_group = 1 + seed % 3, 1 + seed % 5, 1 + seed // 2 % 3, 1 + seed % 2
        clips = torch.randn(batch, frames, groups * per_group, 2, generator=rng)
        shift = torch.randint(-frames, frames + 1, (batch, groups), generator=rng).int()
        grad = torch.randn(clips.shape, generator=rng)
        expected, expected_grad = torch.zeros_like(clips), torch.zeros_like(clips)
        for b in range(batch):
            for c in range(groups * per_group):
                for t in range(frames):
                    later = t + int(shift[b, c // per_group])
                    if 0 <= later < frames:
                        expected[b, later, c] = clips[b, t, c]
                        expected_grad[b, t, c] = grad[b, later, c]
        assert torch.equal(tin_shift(clips, shift), expected)
        assert torch.equal(tin_shift(grad, -shift), expected_grad)

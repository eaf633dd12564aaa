"""Feature refinement against the loop over pixels and points, in float64 with autograd."""

import math

import torch

from mmopt.ops.mmcv.regions.rotated_feature_align import rotated_feature_align
from tests.ops.mmcv.reference import assert_equal_with_gradients, read_at


def reference(features, boxes, scale, points):
    batch, channels, height, width = features.shape
    refined = []
    for b in range(batch):
        for c in range(channels):
            for h in range(height):
                for w in range(width):
                    total = features[b, c, h, w]
                    center_y, center_x, box_width, box_height, angle = boxes[b, h, w].tolist()
                    for i, j in ((0, 0), (1, 1), (-1, 1), (-1, -1), (1, -1))[:points]:
                        along, across = i * box_width / 2, j * box_height / 2
                        y = (center_y + along * math.sin(angle) + across * math.cos(angle)) * scale
                        x = (center_x + along * math.cos(angle) - across * math.sin(angle)) * scale
                        if -1 <= y <= height and -1 <= x <= width:
                            y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
                            total = total + read_at(features[b, c], torch.tensor(y).double(), torch.tensor(x).double())
                    refined.append(total)
    return torch.stack(refined).view(features.shape)


def test_refined_features_and_gradients_equal_the_reference_on_200_random_cases():
    for seed in range(200):
        rng = torch.Generator().manual_seed(seed)
        height, width = torch.randint(1, 4, (2,), generator=rng).tolist()
        features = torch.randn(1 + seed % 2, 1, height, width, generator=rng, dtype=torch.float64).requires_grad_()
        shape = len(features), height, width
        boxes = torch.cat(
            [
                torch.rand(*shape, 2, generator=rng) * 8 - 1,
                torch.rand(*shape, 2, generator=rng) * 4,
                torch.randn(*shape, 1, generator=rng),
            ],
            dim=3,
        )
        single, points = features.detach().float().requires_grad_(), (1, 5)[seed % 2]
        actual = rotated_feature_align(single, boxes, 0.5, points)
        assert_equal_with_gradients(actual, reference(features, boxes, 0.5, points), [single], [features], seed)

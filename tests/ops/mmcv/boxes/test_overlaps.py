"""Overlaps against the formula, pair by pair."""

import torch

from mmopt.ops.mmcv.boxes.overlaps import box_overlaps, paired_box_overlaps


def reference(one: list[float], other: list[float], over_first: bool, offset: int) -> float:
    width = max(min(one[2], other[2]) - max(one[0], other[0]) + offset, 0)
    height = max(min(one[3], other[3]) - max(one[1], other[1]) + offset, 0)
    area, other_area = ((box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (one, other))
    whole = area if over_first else area + other_area - width * height
    return width * height / whole if whole else 0.0


def test_overlaps_equal_the_reference_on_200_random_cases():
    for seed in range(200):
        rng = torch.Generator().manual_seed(seed)
        num, others = seed % 4, 1 + seed % 3
        corners = torch.randint(0, 6, (num + others, 2), generator=rng)
        boxes = torch.cat([corners, corners + torch.randint(0, 4, corners.shape, generator=rng)], dim=1).float()
        kind = {'over_first': seed % 2 == 1, 'offset': seed // 2 % 2}
        expected = [[reference(one, other, **kind) for other in boxes[num:].tolist()] for one in boxes[:num].tolist()]
        expected = torch.tensor(expected).view(num, others)
        overlaps = box_overlaps(boxes[:num], boxes[num:], **kind)
        torch.testing.assert_close(overlaps, expected, rtol=1e-6, atol=1e-6)
        several = min(num, others)
        paired = paired_box_overlaps(boxes[:several], boxes[num : num + several], **kind)
        torch.testing.assert_close(paired, expected.diagonal()[:several], rtol=1e-6, atol=1e-6)

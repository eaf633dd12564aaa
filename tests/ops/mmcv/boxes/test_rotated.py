"""Overlaps of rotated boxes against polygons that are clipped edge by edge, in float64."""

import math

import pytest
import torch

from mmopt.ops.mmcv.boxes.rotated import paired_rotated_overlaps, rotated_overlaps
from mmopt.ops.nms import nms


def corners_of(box: list[float]) -> list[tuple[float, float]]:
    x, y, width, height, angle = box
    cos, sin = math.cos(angle), math.sin(angle)
    around = [(-width / 2, -height / 2), (width / 2, -height / 2), (width / 2, height / 2), (-width / 2, height / 2)]
    return [(x + i * cos - j * sin, y + i * sin + j * cos) for i, j in around]


def shared_area(one: list[float], other: list[float]) -> float:
    """Return the area of one box's polygon, cut along each edge of the other (Sutherland and Hodgman)."""
    polygon, cutter = corners_of(one), corners_of(other)
    for (x0, y0), (x1, y1) in zip(cutter, cutter[1:] + cutter[:1], strict=True):
        inside = [(x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) for x, y in polygon]
        cut = []
        for k, (x, y) in enumerate(polygon):
            before, side_before, side = polygon[k - 1], inside[k - 1], inside[k]
            if side_before * side < 0:
                t = side_before / (side_before - side)
                cut.append((before[0] + t * (x - before[0]), before[1] + t * (y - before[1])))
            if side >= 0:
                cut.append((x, y))
        polygon = cut
        if not polygon:
            return 0.0
    pairs = zip(polygon, polygon[1:] + polygon[:1], strict=True)
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)) / 2


def reference(one: list[float], other: list[float], over_first: bool = False) -> float:
    shared = shared_area(one, other)
    return shared / (one[2] * one[3] if over_first else one[2] * one[3] + other[2] * other[3] - shared)


def random_boxes(num: int, rng: torch.Generator) -> torch.Tensor:
    center = torch.rand(num, 2, generator=rng) * 20
    size = torch.rand(num, 2, generator=rng) * 15 + 0.2
    return torch.cat([center, size, (torch.rand(num, 1, generator=rng) - 0.5) * 8], dim=1)


def test_overlaps_equal_the_reference_on_200_random_cases():
    for seed in range(200):
        rng = torch.Generator().manual_seed(seed)
        boxes, others = random_boxes(seed % 4, rng), random_boxes(1 + seed % 3, rng)
        if seed % 5 == 0 and len(boxes):
            others[0] = boxes[0]
        over_first = seed % 2 == 1
        expected = [[reference(one, other, over_first) for other in others.tolist()] for one in boxes.tolist()]
        expected = torch.tensor(expected).view(len(boxes), len(others))
        torch.testing.assert_close(rotated_overlaps(boxes, others, over_first), expected, rtol=1e-5, atol=1e-5)
        several = min(len(boxes), len(others))
        paired = paired_rotated_overlaps(boxes[:several], others[:several], over_first)
        torch.testing.assert_close(paired, expected.diagonal()[:several], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ('one', 'other', 'iou'),
    [
        ([0, 0, 2, 2, 0], [0, 0, 2, 2, math.pi / 2], 1.0),
        ([0, 0, 2, 2, 0], [0, 0, 2, 2, math.pi / 4], (8 * math.sqrt(2) - 8) / (16 - 8 * math.sqrt(2))),
        ([0, 0, 4, 2, 0.3], [0, 0, 4, 2, 0.3 + math.pi], 1.0),
        ([0, 0, 2, 2, 0], [2, 0, 2, 2, 0], 0.0),
        ([0, 0, 2, 2, 0], [1, 0, 2, 2, 0], 1 / 3),
        ([500, 500, 1000, 1000, 0.1], [500, 500, 1, 1, 0.7], 1e-6),
        ([0, 0, 2, 2, 0], [0, 0, 0, 2, 0], 0.0),
        ([0, 0, 2, 2, 0], [0, 0, 2, 2, 1e-38], 1.0),
    ],
)
def test_hand_computed_overlaps(one, other, iou):
    overlaps = rotated_overlaps(torch.tensor([one], dtype=torch.float), torch.tensor([other], dtype=torch.float))
    assert overlaps.item() == pytest.approx(iou, rel=1e-4, abs=1e-6)


def test_half_precision_overlaps_are_those_of_the_rounded_boxes():
    boxes = random_boxes(5, torch.Generator().manual_seed(0)).half()
    torch.testing.assert_close(rotated_overlaps(boxes, boxes), rotated_overlaps(boxes.float(), boxes.float()))


def test_rotated_boxes_suppress_as_in_the_greedy_loop():
    rng = torch.Generator().manual_seed(0)
    boxes, scores = random_boxes(60, rng), torch.rand(60, generator=rng)
    left, kept = scores.argsort(descending=True).tolist(), []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [n for n in left if reference(boxes[best].tolist(), boxes[n].tolist()) <= 0.2]
    assert nms(boxes, scores, 0.2, None, rotated_overlaps).tolist() == kept
